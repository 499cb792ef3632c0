#include "arch/arm64/exception.h"

#include <fmt/format.h>

#include "arch/arm64/bits.h"
#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {

namespace {

constexpr unsigned kClassShift = 26;
constexpr std::uint64_t kClassMask = 0x3FULL << kClassShift;
/// VBAR_EL1 bits 10:0 are RES0.
constexpr std::uint64_t kVectorBase = ~std::uint64_t{0x7FF};
/// The synchronous vector of each of the four sources. Arm ARM, "Vector offsets from vector table
/// base address".
constexpr std::uint64_t kFromEl1t = 0x000;
constexpr std::uint64_t kFromEl1h = 0x200;
constexpr std::uint64_t kFromEl0 = 0x400;
constexpr std::uint64_t kFromUser32 = 0x600;

/// KVM's syndrome as EL1 would see it.
std::uint64_t seen_from_el1(std::uint64_t esr, bool same_level) {
  switch (class_of(esr)) {
    case ExceptionClass::BreakpointLower:
    case ExceptionClass::StepLower:
    case ExceptionClass::WatchpointLower:
      // Each "same" class is the "lower" one plus 1.
      return same_level ? (esr & ~kClassMask) | ((esr & kClassMask) + (1ULL << kClassShift)) : esr;
    default:
      return esr;
  }
}

std::uint64_t pstate_at_entry(const ExceptionState& state) {
  // IL, SS, UAO and BTYPE become 0. What AArch32 has besides (Q, GE, IT, E, T) is gone.
  std::uint64_t pstate = kModeEl1h | kMaskAll;
  pstate |= state.pstate & (kConditionFlags | kDataIndependent | kPrivilegedAccessNever);
  if ((state.sctlr_el1 & kSctlrKeepPan) == 0) pstate |= kPrivilegedAccessNever;
  if ((state.sctlr_el1 & kSctlrSsbsAtEntry) != 0) pstate |= kSpeculativeSafe;
  if (state.has_mte) pstate |= kTagCheckOverride;
  if (state.has_nmi && (state.sctlr_el1 & kSctlrNmiOpen) == 0) pstate |= kMaskAllNmi;
  return pstate;
}

}  // namespace

Result<ExceptionEntry> enter_exception(const ExceptionState& state) {
  const std::uint64_t mode = state.pstate & kModeMask;
  std::uint64_t offset = 0;
  switch (mode) {
    case kModeEl1t:
      offset = kFromEl1t;
      break;
    case kModeEl1h:
      offset = kFromEl1h;
      break;
    case kModeEl0:
      offset = kFromEl0;
      break;
    case kModeUser32:
      offset = kFromUser32;
      break;
    default:
      return Error{
          ExitCode::GuestFailed,
          fmt::format("vCPU: has pstate {:#x}, expected a mode of EL0 or EL1", state.pstate)};
  }
  return ExceptionEntry{.pc = (state.vbar_el1 & kVectorBase) + offset,
                        .pstate = pstate_at_entry(state),
                        .elr_el1 = state.pc,
                        .spsr_el1 = state.pstate & ~kSoftwareStep,
                        .esr_el1 = seen_from_el1(state.esr, is_el1(mode))};
}

}  // namespace sealvisor::arch::arm64
