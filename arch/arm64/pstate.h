// PSTATE as AArch64 saves it in SPSR_ELx, which is also how KVM_REG_ARM_CORE_REG(regs.pstate) has
// it. Arm ARM DDI 0487, "SPSR_EL1, Saved Program Status Register (EL1)".
#pragma once

#include <cstdint>

namespace sealvisor::arch::arm64 {

// M, 4:0: M[4] is 1 for AArch32. In AArch64 M[3:2] is the exception level and M[0] says that it
// uses its own stack pointer.
inline constexpr std::uint64_t kModeMask = 0x1F;
inline constexpr std::uint64_t kModeEl0 = 0x00;   // EL0t
inline constexpr std::uint64_t kModeEl1t = 0x04;  // EL1 with SP_EL0
inline constexpr std::uint64_t kModeEl1h = 0x05;  // EL1 with SP_EL1
inline constexpr std::uint64_t kModeUser32 = 0x10;
inline constexpr std::uint64_t kMode32 = 0x10;  // M[4]

/// Whether it is AArch64 at EL1, by whichever stack pointer.
[[nodiscard]] constexpr bool is_el1(std::uint64_t pstate) {
  const std::uint64_t mode = pstate & kModeMask;
  return mode == kModeEl1t || mode == kModeEl1h;
}

inline constexpr std::uint64_t kThumb = 1ULL << 5;  // T of AArch32
inline constexpr std::uint64_t kMaskFiq = 1ULL << 6;
inline constexpr std::uint64_t kMaskIrq = 1ULL << 7;
inline constexpr std::uint64_t kMaskSError = 1ULL << 8;
inline constexpr std::uint64_t kMaskDebug = 1ULL << 9;  // D; bit E of AArch32
inline constexpr std::uint64_t kMaskAll = kMaskFiq | kMaskIrq | kMaskSError | kMaskDebug;
inline constexpr std::uint64_t kBranchType = 3ULL << 10;             // BTYPE, FEAT_BTI
inline constexpr std::uint64_t kSpeculativeSafe = 1ULL << 12;        // SSBS; bit 23 of AArch32
inline constexpr std::uint64_t kMaskAllNmi = 1ULL << 13;             // ALLINT, FEAT_NMI
inline constexpr std::uint64_t kIllegal = 1ULL << 20;                // IL
inline constexpr std::uint64_t kSoftwareStep = 1ULL << 21;           // SS
inline constexpr std::uint64_t kPrivilegedAccessNever = 1ULL << 22;  // PAN
inline constexpr std::uint64_t kUserAccessOverride = 1ULL << 23;     // UAO
inline constexpr std::uint64_t kDataIndependent = 1ULL << 24;        // DIT, in AArch32 too
inline constexpr std::uint64_t kTagCheckOverride = 1ULL << 25;       // TCO, FEAT_MTE
inline constexpr std::uint64_t kConditionFlags = 0xFULL << 28;       // N, Z, C, V

}  // namespace sealvisor::arch::arm64
