// Where arm64 kernel text returns to user mode, the trap that goes there, and what the trap has to
// do in the place of the instruction that it replaced.
//
// The trap is a `brk` over the `eret` itself, and the VMM emulates the return. With
// KVM_GUESTDBG_USE_SW_BP KVM hands each `brk` of the guest over as KVM_EXIT_DEBUG, before the guest
// has taken an exception: ELR_EL1, SPSR_EL1 and all else are what the `eret` would have found.
//
// Why the `eret` and not an instruction before it:
// - It is the last one. An instruction earlier leaves a gap in which a kernel with interrupts on
//   could change a table after it was judged, and a jump to the `eret` would pass the trap by.
// - It does not depend on what is before it, which differs by configuration, errata and CPU (Linux
//   6.12, arch/arm64/kernel/entry.S, kernel_exit and tramp_exit: `add sp`, `nop`, `dmb sy`,
//   `dsb nsh`, `mrs x29, far_el1`). Alternatives never patch the `eret`: the live text of a 6.12
//   guest had the same nine with cortex-a57, a72, a76 and max, with and without page-table
//   isolation, and Debian's 6.1 has other instructions before it. So traps may be planted before or
//   after alternatives are patched, even in the image before it starts.
// - Nothing of an `eret` is lost but the guest's own single-step, see below. KVM enters the guest
// by an `eret` of its own, which clears the
//   exclusive monitor, sets the event register, synchronises context, cuts the address's tag and
//   takes pending interrupts, as the guest's would have (Arm ARM DDI 0487,
//   AArch64.ExceptionReturn).
//
// Run so, planted before the first instruction, in the KVM of Linux 6.1 in QEMU's cortex-a76 (VHE)
// and cortex-a57 (nVHE, with and without page-table isolation in the guest): processes, threads,
// signals, AArch32 programs and the guest's own `brk` worked, in 5,300 to 5,600 returns to EL0 and
// 660 to 750 to EL1 each. Never run on hardware.
//
// A hardware breakpoint would do too, but takes one of the guest's away; KVM answers an `hvc` in
// x0.
//
// Every `eret` gets a trap, not only those of kernel_exit 0 and tramp_exit. Kernel-only ones
// (kernel_exit 1) look alike, and which level one returns to is in SPSR_EL1: one that was left out
// could take a hostile kernel to user mode unseen. Returns to EL1 are emulated too and judge
// nothing. Measured on 6.12 in QEMU, boot, 200 fork+exec, 0.3 s of sleep and a busy loop: 9,520
// returns to EL0 and 1,215 to EL1, so the traps that judge nothing are 11 % of all (13 % in a
// second run, with page-table isolation). The hypervisor stub's and init_kernel_el's run at EL2 or
// before user mode; a trap there costs nothing.
//
// What it can't do: returns that are not an `eret` of the text that was searched (modules, SDEI,
// which leaves by a call to firmware and which no KVM guest has); `eretaa` and `eretab`, which
// Linux does not use, are reported and not planted. While guest debug is on, KVM suppresses the
// guest's own single-step (Linux 6.12, arch/arm64/kvm/debug.c, kvm_arm_setup_debug: MDSCR_EL1.SS is
// cleared), so PTRACE_SINGLESTEP in the guest runs on instead of stopping. The guest's own `brk`
// comes to the VMM, which hands it back (exception.h). The guest can read the traps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "arch/address.h"

namespace sealvisor::arch::arm64 {

/// Immediate of the trap. None that Linux uses up to 7.3 (arch/arm64/include/asm/brk-imm.h: 0x004
/// to 0x007, 0x100, 0x400 to 0x7ff, 0x800, 0x900 to 0x9ff, 0x5500 to 0x55ff, 0x8000 and up for
/// control-flow integrity); user space is free to use it, which is why a hit counts only at a site.
inline constexpr std::uint16_t kTrapImmediate = 0x5EA1;
/// `brk #kTrapImmediate`: Arm ARM, "BRK": 1101 0100 001 imm16 00000.
inline constexpr std::uint32_t kTrapWord = 0xD4200000U | std::uint32_t{kTrapImmediate} << 5;
inline constexpr std::size_t kTrapBytes = 4;

/// Whether an exit's syndrome is that of the trap: EC 0x3C (BRK of AArch64), the immediate in ISS
/// 15:0. Arm ARM, "ESR_EL2". `esr`: kvm_run's debug.arch.hsr.
[[nodiscard]] constexpr bool is_trap(std::uint64_t esr) {
  return (esr >> 26 & 0x3F) == 0x3C && (esr & 0xFFFF) == kTrapImmediate;
}

struct UserReturns {
  /// Each `eret`: the trap goes over it. In address order.
  std::vector<Gva> sites{};
  /// Each `eretaa` and `eretab`: not to be planted. In address order.
  std::vector<Gva> authenticated{};
  bool too_many = false;  ///< The search gave up: there are more.

  friend bool operator==(const UserReturns&, const UserReturns&) = default;
};

/// The word under a trap: `eret`.
inline constexpr std::uint32_t kEretWord = 0xD69F03E0U;

/// Searches `text`, which is mapped at `first`; bytes that do not fill a word at the end are left
/// out. Precondition: first is a multiple of 4 and the text does not wrap.
///
/// Data in executable text that has the value of an `eret` would be found too; planting would
/// change it. The 6.12 kernels of the recipes have none. A frame that is executable at two
/// addresses must be searched at both before it is planted at either: the second search would find
/// traps.
///
/// In a Linux with page-table isolation the user returns are at tramp_exit's alias in the fixmap,
/// under the trampoline's own root: at such a hit TTBR1_EL1 is not the kernel's (TTBR0_EL1 is the
/// user's, as always there).
///
/// The search gives up once it has more than `most` in both lists.
[[nodiscard]] UserReturns find_user_returns(
    std::span<const std::byte> text, Gva first,
    std::size_t most = std::numeric_limits<std::size_t>::max());

/// Registers at a trap.
struct EretState {
  std::uint64_t pstate = 0;
  std::uint64_t elr_el1 = 0;
  std::uint64_t spsr_el1 = 0;
  bool has_user32 = false;  ///< The guest has AArch32 at EL0: ID_AA64PFR0_EL1.EL0 is 2.
};

struct EretResult {
  enum class Target : std::uint8_t {
    User,       ///< EL0: judge first.
    Kernel,     ///< EL1.
    Illegal,    ///< Stays where it is with PSTATE.IL set: the next instruction is an exception.
    Undefined,  ///< Not at EL1, where `eret` is no instruction; nothing to write.
  };
  Target target = Target::Undefined;
  std::uint64_t pc = 0;
  std::uint64_t pstate = 0;

  friend bool operator==(const EretResult&, const EretResult&) = default;
};

/// What `eret` at EL1 does: Arm ARM, AArch64.ExceptionReturn, SetPSTATEFromPSR and
/// IllegalExceptionReturn. Whatever the guest left in the registers has a result. Write pc and
/// pstate, in this order or the other; no other register changes.
///
/// PSTATE.SS of the result is 0: the guest's own single-step is suppressed anyway, see above. Not
/// modelled: PSTATE.EXLOCK of FEAT_GCS (id_registers.h hides it).
[[nodiscard]] EretResult emulate_eret(const EretState& state);

}  // namespace sealvisor::arch::arm64
