// Where the running kernel's code is: what its own tables let it execute.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/any_format.h"

namespace sealvisor::engine::kvm {

/// A piece of code, contiguous in both address spaces.
struct TextRange {
  arch::Gva gva{};
  arch::Gpa gpa{};
  std::uint64_t bytes = 0;
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

/// Translations of the upper half under `root` that the kernel may execute, in address order;
/// neighbours are one range. What the leaf says counts (x86-64 XD, arm64 PXN): a restriction higher
/// up would only make the answer too large.
[[nodiscard]] std::vector<TextRange> kernel_text(const arch::AnyFormat& format,
                                                 const arch::TableReader& memory, arch::Frame root);

/// Bytes in all of `ranges`.
[[nodiscard]] std::uint64_t total_bytes(const std::vector<TextRange>& ranges);

}  // namespace sealvisor::engine::kvm
