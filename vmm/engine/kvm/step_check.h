// Counts entries to user mode by single step, in samples of a run. It rests on the vCPU's mode
// alone, so it finds a return to user mode that has no trap.
#pragma once

#include <cstdint>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/machine.h"

namespace sealvisor::engine::kvm {

class StepCheck {
 public:
  /// A sample is due at once and after each kEvery-th trap. It ends after kEntries entries, or
  /// kInstructions stops of the vCPU if it is long in the kernel: a page fault takes thousands.
  static constexpr std::uint64_t kEvery = 293;
  static constexpr std::uint64_t kInstructions = 6000;
  static constexpr std::uint64_t kEntries = 4;
  /// Samples without an entry that are taken again at once.
  static constexpr std::uint64_t kMostEmpty = 10;

  /// A trap told an entry to user mode.
  void on_trap() { due_ = ++traps_ % kEvery == 0 || due_; }
  /// Whether a sample is to begin.
  [[nodiscard]] bool due() const { return due_ && !stepping_; }
  /// It begins here: from now on each stop is to be told. `user_mode`: the vCPU's mode.
  void begin(bool user_mode);

  [[nodiscard]] bool stepping() const { return stepping_; }
  /// The vCPU stopped in a sample, with a trap or for something else, and is in user mode now or
  /// not. Returns false if user mode was entered and no trap told it.
  [[nodiscard]] bool on_stop(bool trapped, bool user_mode);

  [[nodiscard]] const StepCount& counts() const { return counts_; }

 private:
  StepCount counts_;
  std::uint64_t traps_ = 0;
  bool due_ = true;
  bool stepping_ = false;
  std::uint64_t instructions_left_ = 0;
  std::uint64_t entries_left_ = 0;
  std::uint64_t empty_ = 0;
  bool user_mode_ = false;  ///< At the last stop.
};

}  // namespace sealvisor::engine::kvm
