// The inputs of the guest's interrupt controller.
#pragma once

#include <cstdint>

#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

class InterruptLines {
 public:
  virtual ~InterruptLines() = default;
  /// `line`: as KVM_IRQ_LINE names it on this architecture.
  [[nodiscard]] virtual Status set_irq(std::uint32_t line, bool level) = 0;

 protected:
  InterruptLines() = default;
  InterruptLines(const InterruptLines&) = default;
  InterruptLines& operator=(const InterruptLines&) = default;
  InterruptLines(InterruptLines&&) = default;
  InterruptLines& operator=(InterruptLines&&) = default;
};

}  // namespace sealvisor::engine::kvm
