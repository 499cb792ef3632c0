// Features of the CPU that a guest must not see, by the ID register field that tells of each.
#pragma once

#include <cstdint>
#include <span>

namespace sealvisor::arch::arm64 {

/// An AArch64 ID register: op0 is 3, op1 and CRn are 0. Numbers, and what each field means: Arm ARM
/// DDI 0487, the register's description.
struct IdRegister {
  std::uint8_t crm = 0;
  std::uint8_t op2 = 0;
  friend bool operator==(const IdRegister&, const IdRegister&) = default;
};
inline constexpr IdRegister kPfr0{4, 0};
inline constexpr IdRegister kPfr1{4, 1};
inline constexpr IdRegister kDfr0{5, 0};
inline constexpr IdRegister kIsar0{6, 0};
inline constexpr IdRegister kIsar1{6, 1};
inline constexpr IdRegister kIsar2{6, 2};
inline constexpr IdRegister kMmfr0{7, 0};
inline constexpr IdRegister kMmfr1{7, 1};
inline constexpr IdRegister kMmfr2{7, 2};
inline constexpr IdRegister kMmfr3{7, 3};

/// A 4-bit field. 0 is "not there" in all of these, in TGRAN4 "there, but without what is hidden".
struct IdField {
  const char* name = "";  ///< "ID_AA64MMFR1_EL1.HAFDBS"
  IdRegister reg{};
  unsigned shift = 0;
  /// Signed fields count down from 0: 15 is less than 0, not more.
  bool is_signed = false;
  const char* what = "";  ///< For people: what the guest can do if the field stays as it is.

  [[nodiscard]] constexpr std::uint64_t in(std::uint64_t value) const {
    return value >> shift & 0xF;
  }
};

/// Whether a register's value offers what the field tells of.
[[nodiscard]] constexpr bool offers(const IdField& field, std::uint64_t value) {
  const std::uint64_t number = field.in(value);
  return number != 0 && !(field.is_signed && number >= 8);
}

/// The value without it, all other fields as they are.
[[nodiscard]] constexpr std::uint64_t without(const IdField& field, std::uint64_t value) {
  return offers(field, value) ? value & ~(std::uint64_t{0xF} << field.shift) : value;
}

/// What to hide: what writes guest memory without a store instruction, what stores in ways that the
/// store emulator does not know, formats of page tables that arch/arm64/format.h refuses, what is
/// not the same in each run, and levels that have returns to user mode of their own.
///
/// How to use it: after KVM_ARM_VCPU_INIT and before the first KVM_RUN (KVM refuses later writes),
/// for each field read its register; if it offers the field, write the value without it. One field
/// at a time: KVM refuses a value as a whole if one of its fields may not change. Fields may be
/// lowered since Linux 6.7 (arch/arm64/kvm/sys_regs.c, ID_WRITABLE and ID_FILTERED say which; GCS,
/// MTE, NV, SME, SPE, SVE and the trace buffer are not among them, and KVM offers none of these
/// unless the VMM asks). If KVM refuses a write, keep the guest's value, go on, and print the
/// field's name and what it offers among the blind spots of the run; an exact lane whose table
/// frames are read-only is not to be had with HAFDBS, the run is audited then.
///
/// Hiding is a word to the guest's kernel, not a lock: one that sets TCR_EL1.HA all the same gets
/// what the CPU has. The format that is read from the registers shows it (Format::hardware_bits).
[[nodiscard]] std::span<const IdField> hidden_fields();

/// PSTATE.TCO exists: FEAT_MTE2. `pfr1`: ID_AA64PFR1_EL1.
[[nodiscard]] constexpr bool has_mte2(std::uint64_t pfr1) { return (pfr1 >> 8 & 0xF) >= 2; }
/// PSTATE.ALLINT exists: FEAT_NMI. `pfr1`: ID_AA64PFR1_EL1.
[[nodiscard]] constexpr bool has_nmi(std::uint64_t pfr1) { return (pfr1 >> 36 & 0xF) != 0; }
/// AArch32 at EL0. `pfr0`: ID_AA64PFR0_EL1.
[[nodiscard]] constexpr bool has_user32(std::uint64_t pfr0) { return (pfr0 & 0xF) == 2; }

}  // namespace sealvisor::arch::arm64
