#include "arch/arm64/instructions.h"

namespace sealvisor::arch::arm64 {

namespace {

using Kind = InstructionFacts::Kind;

/// An MSR (register) or SYS instruction without its Rt, Arm ARM, "System instructions":
/// 1101 0101 00 L op0:2 op1:3 CRn:4 CRm:4 op2:3 Rt:5, L = 0 for a write.
constexpr std::uint32_t system(std::uint32_t op0, std::uint32_t op1, std::uint32_t crn,
                               std::uint32_t crm, std::uint32_t op2) {
  return 0xD5000000U | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5;
}

// Register and operation encodings: Arm ARM, the "Accessing" part of each one's description.
constexpr std::uint32_t kTtbr0El1 = system(3, 0, 2, 0, 0);
constexpr std::uint32_t kTtbr1El1 = system(3, 0, 2, 0, 1);
constexpr std::uint32_t kTcrEl1 = system(3, 0, 2, 0, 2);
constexpr std::uint32_t kTcr2El1 = system(3, 0, 2, 0, 3);
constexpr std::uint32_t kSctlrEl1 = system(3, 0, 1, 0, 0);
constexpr std::uint32_t kDcZva = system(1, 3, 7, 4, 1);
/// Zeroes data like DC ZVA and sets tags; DC GVA (op2 = 3) sets tags only and is not here.
constexpr std::uint32_t kDcGzva = system(1, 3, 7, 4, 4);

/// TLBI is SYS with CRn 8, or 9 for the nXS forms (FEAT_XS); TLBIP is the same with SYSP, which has
/// bit 22 set (FEAT_D128).
constexpr std::uint32_t kTlbiMask = 0xFFB8F000U;
constexpr std::uint32_t kTlbi = system(1, 0, 8, 0, 0);
constexpr std::uint32_t kTlbiNxs = system(1, 0, 9, 0, 0);

}  // namespace

InstructionFacts classify(std::uint32_t word) {
  // ERET, ERETAA and ERETAB: Arm ARM, "Unconditional branch (register)", opc 0100.
  if (word == 0xD69F03E0U || word == 0xD69F0BFFU || word == 0xD69F0FFFU) {
    return {Kind::ExceptionReturn};
  }
  // Every system instruction begins so; nearly all others end here.
  if ((word >> 24) != 0xD5) return {};
  const auto reg = static_cast<std::uint8_t>(word & 0x1F);
  switch (word & ~std::uint32_t{0x1F}) {
    case kTtbr0El1:
      return {Kind::RootLoad, reg, false};
    case kTtbr1El1:
      return {Kind::RootLoad, reg, true};
    case kTcrEl1:
    case kTcr2El1:
    case kSctlrEl1:
      return {Kind::ControlRegister};
    case kDcZva:
    case kDcGzva:
      return {Kind::ZeroBlock, reg};
    default:
      break;
  }
  const std::uint32_t sys = word & kTlbiMask;
  if (sys == kTlbi || sys == kTlbiNxs) return {Kind::TlbInvalidate};
  return {};
}

bool never_stores(std::uint32_t word) {
  // Top-level encodings by op0, bits 28:25 (Arm ARM, "A64 instruction set encoding"): 100x data
  // processing (immediate), 101x branches, exceptions and system, x101 data processing (register),
  // x111 (SIMD and FP). SVE (0010), SME (0000) and loads and stores (x1x0) are others.
  switch ((word >> 25) & 0xF) {
    case 0b1000:
    case 0b1001:
    case 0b0101:
    case 0b1101:
    case 0b0111:
    case 0b1111:
      return true;
    case 0b1010:
    case 0b1011:
      // System instructions include dc zva.
      return (word >> 24) != 0xD5;
    default:
      break;
  }
  // Arm ARM, "Loads and Stores". Load register (literal): xx 011 V 00.
  if ((word & 0x3B000000U) == 0x18000000U) return true;
  // Load/store pair: xx 101 V, L in bit 22.
  if ((word & 0x3A000000U) == 0x28000000U) return (word >> 22 & 1) == 1;
  // Load/store register: xx 111 V, opc in bits 23:22; V = 0 and opc != 0 loads or prefetches.
  if ((word & 0x3E000000U) != 0x38000000U || (word >> 22 & 3) == 0) return false;
  const bool unsigned_immediate = (word >> 24 & 1) == 1;
  // Else by bit 21 and bits 11:10: atomics are 1 00, and loads with pointer authentication 1 x1.
  return unsigned_immediate || (word >> 21 & 1) == 0 || (word >> 10 & 3) == 2;
}

}  // namespace sealvisor::arch::arm64
