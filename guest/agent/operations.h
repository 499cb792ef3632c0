// What each operation of guest/scenario asks the kernel, as one raw system call.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/agent/smaps.h"
#include "guest/protocol/doorbell.h"
#include "guest/scenario/scenario.h"

namespace sealvisor::agent {

/// What an operation is aimed at.
struct Target {
  std::uintptr_t start = 0;  ///< Range of the form, page-aligned.
  std::uintptr_t end = 0;
  std::uintptr_t mapping_start = 0;  ///< First byte of the whole mapping.
  int protection = 0;                ///< PROT_* that the mapping has.
  std::uintptr_t place = 0;          ///< Reserved address space (PROT_NONE) to move to.

  [[nodiscard]] std::uintptr_t size() const { return end - start; }
};

/// What an operation did, as the kernel says.
struct Outcome {
  long result = 0;               ///< As returned: -errno on failure.
  std::uintptr_t new_start = 0;  ///< mremap that succeeded: where the range is now; else 0.
  std::uintptr_t new_size = 0;   ///< Bytes there.
};

/// The range of `form` for `mapping`. Fills and reserves what the form and the move need, so this
/// comes before anything is observed. Skip::No: `target` is good.
[[nodiscard]] protocol::Skip prepare(const SystemMapping& mapping, scenario::Operation operation,
                                     scenario::Form form, Target& target);

/// True if the operation asks for a permission to write.
[[nodiscard]] constexpr bool asks_for_write(scenario::Operation operation) {
  return operation == scenario::Operation::MprotectW ||
         operation == scenario::Operation::MprotectRW ||
         operation == scenario::Operation::MprotectRWX ||
         operation == scenario::Operation::MprotectWX;
}

/// Performs `operation`. Nothing but the one system call.
[[nodiscard]] Outcome perform(scenario::Operation operation, const Target& target);

}  // namespace sealvisor::agent
