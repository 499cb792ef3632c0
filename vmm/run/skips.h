// Why an agent may leave a cell out, and why not: its word is held against what is known.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "guest/protocol/doorbell.h"
#include "guest/scenario/operation.h"

namespace sealvisor::run {

/// What is known about a cell that is skipped.
struct SkipFacts {
  const scenario::Operation* operation = nullptr;
  scenario::Form form{};
  std::size_t pages = 0;    ///< Of the mapping, as the monitor identified it; 0: it did not.
  bool our_guest = false;   ///< A kernel and an agent of ours: these have room for each operation.
  bool must_exist = false;  ///< Our kernel is known to have the mapping.
  bool enclosed = false;    ///< Other system mappings lie right in front of it and right behind.
  /// Whether the kernel has a function of that name; empty: its symbols are not known.
  std::function<bool(std::string_view)> kernel_has{};
};

/// The reason in words.
[[nodiscard]] std::string skip_text(protocol::Skip reason);

/// What speaks against it; empty: nothing.
[[nodiscard]] std::string objection_to(protocol::Skip reason, const SkipFacts& facts);

}  // namespace sealvisor::run
