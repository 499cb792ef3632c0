// What the arm64 guest reaches when it leaves its memory. Needs no vCPU, so it builds and is tested
// on every host.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "arch/arm64/boot.h"
#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/device/pl011.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/interrupt_lines.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/kvm/serial_line.h"

namespace sealvisor::engine::kvm::arm64 {

/// Where QEMU's virt machine has it (hw/arm/virt.c, base_memmap).
inline constexpr arch::arm64::DeviceRange kUart{arch::Gpa{0x09000000}, Pl011::kBlockBytes};
inline constexpr std::uint32_t kUartSpi = 1;

class Bus {
 public:
  /// All must outlive this. `uart_irq`: as `lines` names it. `doorbell`: first byte of its page.
  Bus(InterruptLines& lines, std::uint32_t uart_irq, const GuestRam& ram, Counters& counters,
      arch::Gpa doorbell)
      : lines_(lines), ram_(ram), counters_(counters), doorbell_(doorbell), serial_(uart_irq) {}

  /// `run`: of an exit with KVM_EXIT_MMIO; gets what a load finds.
  [[nodiscard]] Result<MachineExit> on_mmio(kvm_run& run);

  /// Bytes for the guest's serial line, as SerialLine takes them.
  [[nodiscard]] std::size_t input_room() const { return serial_.room(); }
  [[nodiscard]] Status type(std::string_view bytes) { return serial_.type(lines_, bytes); }
  [[nodiscard]] std::string take_console() { return serial_.take_output(); }

 private:
  InterruptLines& lines_;
  const GuestRam& ram_;
  Counters& counters_;
  arch::Gpa doorbell_;
  SerialLine<Pl011> serial_;
};

}  // namespace sealvisor::engine::kvm::arm64
