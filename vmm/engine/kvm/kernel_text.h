// Where the running kernel's code is: what its own tables let it execute.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/any_format.h"
#include "arch/boot_plan.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

/// A piece of code, contiguous in both address spaces.
struct TextRange {
  arch::Gva gva{};
  arch::Gpa gpa{};
  std::uint64_t bytes = 0;
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

/// More code than any kernel has; guests with less RAM may not map more than that as code.
inline constexpr std::uint64_t kMostText = 128 << 20;
/// Returns, or bytes that look like one, that all code of a kernel may have: each costs a
/// disassembly, and real kernels have some hundred.
inline constexpr std::size_t kMostReturns = 8192;
/// Tables that a kernel's half may have: one for every 2 MiB if it maps RAM in pages, eight times
/// that, and some for all else.
[[nodiscard]] constexpr std::uint64_t most_tables(arch::RamLayout ram) {
  return 4096 + ram.bytes / (std::uint64_t{256} << 10);
}

/// Translations of the upper half under `root` that the kernel may execute, as far as they are
/// `ram`, in address order; neighbours are one range. What the leaf says counts (x86-64 XD, arm64
/// PXN): a restriction higher up would only make the answer too large. A frame that is mapped twice
/// is there twice: arm64's trampoline is code at both addresses.
///
/// The tables are the guest's, which may have made them so that a plain walk never ends. Each table
/// is read once for each level that it is linked at, and a second link to one with code below it is
/// refused. Errors, GuestFailed, which begin "the kernel's tables": that; more than most_tables();
/// more code than RAM or kMostText.
[[nodiscard]] Result<std::vector<TextRange>> kernel_text(const arch::AnyFormat& format,
                                                         const arch::TableReader& memory,
                                                         arch::Frame root, arch::RamLayout ram);

/// Bytes in all of `ranges`.
[[nodiscard]] std::uint64_t total_bytes(const std::vector<TextRange>& ranges);

/// The code has more than kMostReturns returns.
[[nodiscard]] Error too_many_returns();

}  // namespace sealvisor::engine::kvm
