#include "vmm/engine/kvm/step_check.h"

namespace sealvisor::engine::kvm {

StepCheck::Meaning StepCheck::on_stop(ExitKind kind, bool user_mode) {
  const bool trapped = kind == ExitKind::UserReturn;
  if (trapped) ++returns_;
  Meaning meaning;
  if (stepping_) {
    ++counts_.instructions;
    if (user_mode && !user_mode_) {
      ++counts_.entries;
      --entries_left_;
      meaning.untrapped = !trapped;
      if (meaning.untrapped) ++counts_.untrapped;
    }
    if (--left_ == 0 || entries_left_ == 0) stepping_ = false;
  } else if (!begun_ || (trapped && returns_ % kEvery == 0)) {
    begun_ = true;
    stepping_ = true;
    left_ = kInstructions;
    entries_left_ = kEntries;
  }
  user_mode_ = user_mode;
  meaning.step = stepping_;
  return meaning;
}

}  // namespace sealvisor::engine::kvm
