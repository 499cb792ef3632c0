// What a debug exit of the arm64 guest means, and what is done about it. Takes plain values where
// KVM's structures are of one architecture, so it builds and is tested on every host.
#pragma once

#include <cstdint>
#include <span>

#include "arch/address.h"
#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/kvm/register_file.h"

namespace sealvisor::engine::kvm::arm64 {

/// kvm_run's debug.arch: arch/arm64/include/uapi/asm/kvm.h, kvm_debug_exit_arch.
struct DebugStop {
  std::uint32_t esr = 0;  ///< hsr.
  std::uint64_t far = 0;  ///< Of a watchpoint.
};

/// What decides about a stop.
struct DebugContext {
  std::span<const arch::Gva> sites{};  ///< Where the traps are, in order.
  bool stepping = false;               ///< Each instruction is stepped.
  bool has_user32 = false;             ///< As EretState and ExceptionState have them.
  bool has_mte = false;
  bool has_nmi = false;
};

/// A trap at a site: see on_trap(). A step while stepping: ExitKind::Stepped. All else is the
/// guest's own: see hand_back().
[[nodiscard]] Result<MachineExit> on_debug(const DebugStop& stop, const DebugContext& context,
                                           Registers& registers, Counters& counters);

/// Does the `eret` under the trap: ExitKind::UserReturn if it leads to user mode; Broken if it is
/// no instruction there.
[[nodiscard]] Result<MachineExit> on_trap(bool has_user32, Registers& registers,
                                          Counters& counters);

/// Gives the guest its exception. Broken: it is in no mode that could take one.
[[nodiscard]] Result<MachineExit> hand_back(const DebugStop& stop, const DebugContext& context,
                                            Registers& registers);

}  // namespace sealvisor::engine::kvm::arm64
