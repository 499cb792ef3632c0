// Counts entries to user mode by single step, in samples of a run. It rests on the vCPU's mode
// alone, so it finds a return to user mode that has no trap.
#pragma once

#include <cstdint>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/machine.h"

namespace sealvisor::engine::kvm {

class StepCheck {
 public:
  /// A sample begins at the first stop and at each kEvery-th trap. It ends after kEntries entries,
  /// or kInstructions stops of the vCPU if it is long in the kernel: a page fault takes thousands.
  static constexpr std::uint64_t kEvery = 293;
  static constexpr std::uint64_t kInstructions = 6000;
  static constexpr std::uint64_t kEntries = 4;

  /// What a stop meant.
  struct Meaning {
    bool step = false;       ///< The machine is to step from here on.
    bool untrapped = false;  ///< User mode was entered and no trap told it.
  };

  /// The vCPU stopped for `kind`, and is in user mode now, or not. Every stop is to be told as long
  /// as the last answer was to step; of others, the first one and all of kind UserReturn.
  [[nodiscard]] Meaning on_stop(ExitKind kind, bool user_mode);

  [[nodiscard]] bool stepping() const { return stepping_; }
  /// Whether a stop of another kind than UserReturn is to be told too.
  [[nodiscard]] bool wants_all() const { return stepping_ || !begun_; }
  [[nodiscard]] const StepCount& counts() const { return counts_; }

 private:
  StepCount counts_;
  std::uint64_t returns_ = 0;
  bool begun_ = false;
  bool stepping_ = false;
  std::uint64_t left_ = 0;  ///< Stops of the sample that are to come.
  std::uint64_t entries_left_ = 0;
  bool user_mode_ = false;  ///< At the last stop.
};

}  // namespace sealvisor::engine::kvm
