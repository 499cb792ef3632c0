// How many instructions a guest ran, where the CPU counts them and the host lets us ask.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "vmm/base/fd.h"

namespace sealvisor::engine::kvm {

/// Counts instructions that guests of the calling thread retire, from open() on, and none of the
/// host's own (perf_event_open(2), PERF_COUNT_HW_INSTRUCTIONS with exclude_host).
class InstructionCounter {
 public:
  /// nullopt: the CPU has no such counter, as an emulated one, or the host does not let this user
  /// have it (/proc/sys/kernel/perf_event_paranoid). Precondition: the thread is not confined.
  [[nodiscard]] static std::optional<InstructionCounter> open();

  /// nullopt: it did not count all the time, for other counters had their turns.
  [[nodiscard]] std::optional<std::uint64_t> read() const;

 private:
  explicit InstructionCounter(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace sealvisor::engine::kvm
