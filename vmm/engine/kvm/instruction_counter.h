// How many instructions a guest ran, where the CPU counts them and the host lets us ask.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

/// Counts instructions that guests of the calling thread retire, from open() on, and none of the
/// host's own (perf_event_open(2), PERF_COUNT_HW_INSTRUCTIONS with exclude_host).
class InstructionCounter {
 public:
  /// Error, exit code HostLacks: the CPU has no such counter, as an emulated one, or the host does
  /// not let this user have it. Precondition: the thread is not confined.
  [[nodiscard]] static Result<InstructionCounter> open();
  /// `fd`: of a perf event with PERF_FORMAT_TOTAL_TIME_ENABLED and PERF_FORMAT_TOTAL_TIME_RUNNING.
  explicit InstructionCounter(Fd fd) : fd_(std::move(fd)) {}

  /// nullopt: it did not count all the time, for other counters had their turns.
  [[nodiscard]] std::optional<std::uint64_t> read() const;

 private:
  Fd fd_;
};

/// Why perf_event_open() gave no counter, by its errno. perf_event_open(2), "ERRORS".
[[nodiscard]] Error no_counter(int error);

}  // namespace sealvisor::engine::kvm
