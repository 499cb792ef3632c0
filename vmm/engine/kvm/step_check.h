// Counts entries to user mode by single step, in samples of a run. It rests on the vCPU's mode
// alone, so it finds a return to user mode that has no trap.
#pragma once

#include <cstdint>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/machine.h"

namespace sealvisor::engine::kvm {

class StepCheck {
 public:
  /// A sample begins at each kEvery-th trap and is of kInstructions stops of the vCPU.
  static constexpr std::uint64_t kEvery = 397;
  static constexpr std::uint64_t kInstructions = 4000;

  /// What a stop meant.
  struct Meaning {
    bool step = false;       ///< The machine is to step from here on.
    bool untrapped = false;  ///< User mode was entered and no trap told it.
  };

  /// The vCPU stopped for `kind`, and is in user mode now, or not. Every stop is to be told as long
  /// as the last answer was to step; of others, at least those of kind UserReturn.
  [[nodiscard]] Meaning on_stop(ExitKind kind, bool user_mode);

  [[nodiscard]] bool stepping() const { return left_ != 0; }
  [[nodiscard]] const StepCount& counts() const { return counts_; }

 private:
  StepCount counts_;
  std::uint64_t returns_ = 0;
  std::uint64_t left_ = 0;  ///< Stops of the sample that are to come.
  bool user_mode_ = false;  ///< At the last stop.
};

}  // namespace sealvisor::engine::kvm
