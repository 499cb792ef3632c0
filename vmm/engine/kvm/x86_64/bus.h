// What the x86-64 guest reaches when it leaves its memory: ports and pages without RAM. Needs no
// vCPU, so it builds and is tested on every host.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/device/uart8250.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/interrupt_lines.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/kvm/serial_line.h"

namespace sealvisor::engine::kvm::x86_64 {

/// Where no PC has anything, and KVM neither: the port of the planted traps.
inline constexpr std::uint8_t kTrapPort = 0xe6;

/// `in`, `out`, `ins` or `outs`.
struct PortAccess {
  std::uint16_t port = 0;
  bool out = false;
  std::uint8_t size = 0;        ///< Bytes of one: 1, 2 or 4.
  std::uint32_t count = 0;      ///< More than one with a rep prefix.
  std::span<std::byte> data{};  ///< size * count bytes: from the guest, or for it.
};

/// Of an exit with KVM_EXIT_IO: api.rst, "The kvm_run structure". `shared` begins with `run`.
/// nullopt: there is no data, or it is not in `shared`.
[[nodiscard]] std::optional<PortAccess> port_access(const kvm_run& run,
                                                    std::span<std::byte> shared);

/// Whether the vCPU, which stopped at `rip` for an `out` to kTrapPort, did one of the planted ones.
/// `planted`: their addresses, in order.
[[nodiscard]] bool is_planted(std::span<const std::uint64_t> planted, std::uint64_t rip);

class Bus {
 public:
  /// All must outlive this. `doorbell`: first byte of its page.
  Bus(InterruptLines& lines, const GuestRam& ram, const Guard& guard, Counters& counters,
      arch::Gpa doorbell)
      : lines_(lines), ram_(ram), guard_(guard), counters_(counters), doorbell_(doorbell) {}

  /// From now on an `out` to kTrapPort by one of these instructions, at any order, is a return to
  /// user mode.
  void set_planted(std::vector<std::uint64_t> planted);
  /// `rip`: where the vCPU stopped.
  [[nodiscard]] Result<MachineExit> on_port(const PortAccess& access, std::uint64_t rip);
  /// `run`: of an exit with KVM_EXIT_MMIO; gets what a load finds.
  [[nodiscard]] MachineExit on_mmio(kvm_run& run, std::uint64_t rip);

  /// Bytes for the guest's serial line, as SerialLine takes them.
  [[nodiscard]] std::size_t input_room() const { return serial_.room(); }
  [[nodiscard]] Status type(std::string_view bytes) { return serial_.type(lines_, bytes); }
  [[nodiscard]] std::string take_console() { return serial_.take_output(); }

 private:
  [[nodiscard]] Status on_serial(const PortAccess& access);

  static constexpr std::uint32_t kSerialIrq = 4;

  InterruptLines& lines_;
  const GuestRam& ram_;
  const Guard& guard_;
  Counters& counters_;
  arch::Gpa doorbell_;
  SerialLine<Uart8250> serial_{kSerialIrq};
  std::vector<std::uint64_t> planted_;  // sorted gvas
};

}  // namespace sealvisor::engine::kvm::x86_64
