#include "vmm/engine/kvm/step_check.h"

namespace sealvisor::engine::kvm {

void StepCheck::begin(bool user_mode) {
  due_ = false;
  stepping_ = true;
  instructions_left_ = kInstructions;
  entries_left_ = kEntries;
  user_mode_ = user_mode;
}

bool StepCheck::on_stop(bool trapped, bool user_mode) {
  const bool entered = user_mode && !user_mode_;
  user_mode_ = user_mode;
  ++counts_.instructions;
  --instructions_left_;
  if (entered) {
    ++counts_.entries;
    --entries_left_;
    if (!trapped) ++counts_.untrapped;
  }
  if (instructions_left_ == 0 || entries_left_ == 0) stepping_ = false;
  // Where no return has a trap none makes the next sample due.
  if (instructions_left_ == 0 && entries_left_ == kEntries && empty_++ < kMostEmpty) due_ = true;
  return !entered || trapped;
}

}  // namespace sealvisor::engine::kvm
