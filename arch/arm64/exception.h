// Taking an exception to EL1 in the guest's stead.
//
// While guest debug is on, KVM gives every debug exception of the guest to the VMM, the guest's own
// too, and leaves handing them back to it (Linux, Documentation/virt/kvm/api.rst,
// KVM_SET_GUEST_DEBUG; arch/arm64/kvm/handle_exit.c, kvm_handle_guest_debug). What is not ours is
// handed back by writing the registers that the CPU would have written.
#pragma once

#include <cstdint>

#include "vmm/base/result.h"

namespace sealvisor::arch::arm64 {

/// Exception classes, ESR_ELx.EC. Arm ARM DDI 0487, "ESR_EL1". "Lower" is from EL0, as EL1 sees it;
/// KVM sees all of a guest as lower.
enum class ExceptionClass : std::uint8_t {
  Unknown = 0x00,  ///< An instruction that is undefined.
  BreakpointLower = 0x30,
  BreakpointSame = 0x31,
  StepLower = 0x32,
  StepSame = 0x33,
  WatchpointLower = 0x34,
  WatchpointSame = 0x35,
  Bkpt32 = 0x38,  ///< `bkpt` of AArch32; the same from each level.
  Brk64 = 0x3C,   ///< `brk`; the same from each level.
};
[[nodiscard]] constexpr ExceptionClass class_of(std::uint64_t esr) {
  return static_cast<ExceptionClass>(esr >> 26 & 0x3F);
}

/// Registers of the vCPU when the exception came.
struct ExceptionState {
  std::uint64_t pc = 0;  ///< Where to return to: of a `brk` its own address.
  std::uint64_t pstate = 0;
  std::uint64_t vbar_el1 = 0;
  std::uint64_t sctlr_el1 = 0;
  std::uint64_t esr = 0;  ///< As KVM gives it: kvm_run's debug.arch.hsr.
  bool has_mte = false;   ///< PSTATE.TCO exists: ID_AA64PFR1_EL1.MTE is 2 or more.
  bool has_nmi = false;   ///< PSTATE.ALLINT exists: ID_AA64PFR1_EL1.NMI is not 0.
};

/// What to write. A watchpoint's FAR_EL1 is kvm_run's debug.arch.far; no other debug exception
/// changes FAR_EL1 in a way that software may rely on.
struct ExceptionEntry {
  std::uint64_t pc = 0;
  std::uint64_t pstate = 0;
  std::uint64_t elr_el1 = 0;
  std::uint64_t spsr_el1 = 0;
  std::uint64_t esr_el1 = 0;

  friend bool operator==(const ExceptionEntry&, const ExceptionEntry&) = default;
};

/// A synchronous exception to EL1: Arm ARM, AArch64.TakeException (vector offset and PSTATE), and
/// the descriptions of SCTLR_EL1.SPAN, .DSSBS and .SPINTMASK. Linux has the same for its own
/// injections in arch/arm64/kvm/hyp/exception.c, enter_exception64.
///
/// SPSR_EL1 is pstate as it is, from AArch32 too: SPSR_EL2, in which KVM finds the guest's PSTATE,
/// and SPSR_EL1 have the same layout for it. Except SS, which is 0: the guest's own single-step is
/// suppressed while guest debug is on, so a set bit is the host's.
/// The class in ESR_EL1 is the one that EL1 would see: KVM's "lower" ones become "same" from EL1.
///
/// Error (exit code GuestFailed): pstate is of no mode that a guest with AArch64 at EL1 and without
/// EL2 can be in.
/// Not modelled: FEAT_GCS's EXLOCK, FEAT_EBEP's PM, FEAT_SEBEP, none of which KVM offers unasked
/// (id_registers.h hides GCS).
[[nodiscard]] Result<ExceptionEntry> enter_exception(const ExceptionState& state);

/// ESR_EL1 of an undefined instruction of 4 bytes: EC 0, IL, ISS 0.
inline constexpr std::uint64_t kUndefinedSyndrome = 1ULL << 25;

}  // namespace sealvisor::arch::arm64
