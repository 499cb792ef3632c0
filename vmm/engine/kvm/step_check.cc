#include "vmm/engine/kvm/step_check.h"

namespace sealvisor::engine::kvm {

StepCheck::Meaning StepCheck::on_stop(ExitKind kind, bool user_mode) {
  const bool trapped = kind == ExitKind::UserReturn;
  Meaning meaning;
  if (stepping()) {
    ++counts_.instructions;
    if (user_mode && !user_mode_) {
      ++counts_.entries;
      meaning.untrapped = !trapped;
      if (meaning.untrapped) ++counts_.untrapped;
    }
    --left_;
  } else if (trapped && ++returns_ % kEvery == 0) {
    left_ = kInstructions;
  }
  user_mode_ = user_mode;
  meaning.step = stepping();
  return meaning;
}

}  // namespace sealvisor::engine::kvm
