// Names of arm64 registers for KVM_GET_ONE_REG and KVM_SET_ONE_REG, as plain numbers. Needs no KVM
// header, so what uses it builds on every host.
//
// Source: Linux, Documentation/virt/kvm/api.rst, "KVM_SET_ONE_REG": arm64 core registers are
// 0x60x0 0000 0010 <index>, the index that of a 32-bit array over struct kvm_regs
// (arch/arm64/include/uapi/asm/kvm.h); arm64 system registers are
// 0x6030 0000 0013 <op0:2 op1:3 crn:4 crm:4 op2:3>. Numbers of system registers: Arm ARM DDI 0487,
// the "Accessing" part of each one's description.
#pragma once

#include <cstdint>

namespace sealvisor::engine::kvm::arm64 {

namespace encoding {

inline constexpr std::uint64_t kArm64 = 0x6000'0000'0000'0000;
inline constexpr std::uint64_t kSize64 = 0x0030'0000'0000'0000;   // 2^3 bytes
inline constexpr std::uint64_t kSize128 = 0x0040'0000'0000'0000;  // 2^4 bytes
inline constexpr std::uint64_t kCore = 0x0010ULL << 16;
inline constexpr std::uint64_t kSystem = 0x0013ULL << 16;

}  // namespace encoding

/// A 64-bit member of struct kvm_regs by its offset in bytes.
[[nodiscard]] constexpr std::uint64_t core(std::uint64_t offset) {
  return encoding::kArm64 | encoding::kSize64 | encoding::kCore | offset / 4;
}

/// A system register.
[[nodiscard]] constexpr std::uint64_t system(std::uint64_t op0, std::uint64_t op1,
                                             std::uint64_t crn, std::uint64_t crm,
                                             std::uint64_t op2) {
  return encoding::kArm64 | encoding::kSize64 | encoding::kSystem | op0 << 14 | op1 << 11 |
         crn << 7 | crm << 3 | op2;
}

// struct kvm_regs: 31 general registers, sp (that of EL0), pc, pstate; then sp_el1, elr_el1 and
// spsr[5], whose first is SPSR_EL1.
/// x0 to x30. Precondition: number <= 30.
[[nodiscard]] constexpr std::uint64_t x(std::uint64_t number) { return core(8 * number); }
inline constexpr std::uint64_t kSpEl0 = core(248);
inline constexpr std::uint64_t kPc = core(256);
inline constexpr std::uint64_t kPstate = core(264);
inline constexpr std::uint64_t kSpEl1 = core(272);
inline constexpr std::uint64_t kElrEl1 = core(280);
inline constexpr std::uint64_t kSpsrEl1 = core(288);

/// v0 to v31, 16 bytes each: user_fpsimd_state, 16-byte aligned, follows spsr[5]. Precondition:
/// number <= 31.
[[nodiscard]] constexpr std::uint64_t v(std::uint64_t number) {
  return encoding::kArm64 | encoding::kSize128 | encoding::kCore | (336 + 16 * number) / 4;
}

// Translation and control.
inline constexpr std::uint64_t kMpidrEl1 = system(3, 0, 0, 0, 5);
inline constexpr std::uint64_t kSctlrEl1 = system(3, 0, 1, 0, 0);
inline constexpr std::uint64_t kTtbr0El1 = system(3, 0, 2, 0, 0);
inline constexpr std::uint64_t kTtbr1El1 = system(3, 0, 2, 0, 1);
inline constexpr std::uint64_t kTcrEl1 = system(3, 0, 2, 0, 2);
inline constexpr std::uint64_t kTcr2El1 = system(3, 0, 2, 0, 3);  // FEAT_TCR2
inline constexpr std::uint64_t kMairEl1 = system(3, 0, 10, 2, 0);
inline constexpr std::uint64_t kContextidrEl1 = system(3, 0, 13, 0, 1);
inline constexpr std::uint64_t kTpidrEl1 = system(3, 0, 13, 0, 4);
// Exceptions and debug.
inline constexpr std::uint64_t kEsrEl1 = system(3, 0, 5, 2, 0);
inline constexpr std::uint64_t kFarEl1 = system(3, 0, 6, 0, 0);
inline constexpr std::uint64_t kVbarEl1 = system(3, 0, 12, 0, 0);
inline constexpr std::uint64_t kMdscrEl1 = system(2, 0, 0, 2, 2);
/// The guest's virtual counter, and what its timer compares with it. KVM's names for them have the
/// numbers of CNTV_CVAL_EL0 and CNTVCT_EL0: arch/arm64/include/uapi/asm/kvm.h says that they were
/// swapped by mistake.
inline constexpr std::uint64_t kTimerCount = system(3, 3, 14, 3, 2);
inline constexpr std::uint64_t kTimerCompare = system(3, 3, 14, 0, 2);
// What the CPU has.
inline constexpr std::uint64_t kIdAa64Pfr0El1 = system(3, 0, 0, 4, 0);
inline constexpr std::uint64_t kIdAa64Pfr1El1 = system(3, 0, 0, 4, 1);
inline constexpr std::uint64_t kIdAa64Dfr0El1 = system(3, 0, 0, 5, 0);
inline constexpr std::uint64_t kIdAa64Isar0El1 = system(3, 0, 0, 6, 0);
inline constexpr std::uint64_t kIdAa64Isar1El1 = system(3, 0, 0, 6, 1);
inline constexpr std::uint64_t kIdAa64Isar2El1 = system(3, 0, 0, 6, 2);
inline constexpr std::uint64_t kIdAa64Mmfr0El1 = system(3, 0, 0, 7, 0);
inline constexpr std::uint64_t kIdAa64Mmfr1El1 = system(3, 0, 0, 7, 1);
inline constexpr std::uint64_t kIdAa64Mmfr2El1 = system(3, 0, 0, 7, 2);
inline constexpr std::uint64_t kIdAa64Mmfr3El1 = system(3, 0, 0, 7, 3);
inline constexpr std::uint64_t kIdAa64Mmfr4El1 = system(3, 0, 0, 7, 4);

}  // namespace sealvisor::engine::kvm::arm64
