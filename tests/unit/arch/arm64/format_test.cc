#include "arch/arm64/format.h"

#include <gtest/gtest.h>

#include "tests/unit/arch/fake_memory.h"

namespace sealvisor::arch::arm64 {
namespace {

constexpr std::uint64_t kBit0 = 1;
/// T0SZ = T1SZ = 16, TG0 and TG1 = 4 KiB, IPS = 48 bits.
constexpr std::uint64_t kTcr48 = 16 | 16ULL << 16 | 2ULL << 30 | 5ULL << 32;
constexpr std::uint64_t kTcr39 = 25 | 25ULL << 16 | 2ULL << 30 | 5ULL << 32;
constexpr Format kPlain(kTcr48);

Entry decode(std::uint64_t entry, unsigned level, const Format& format = kPlain,
             Half half = Half::Lower) {
  return format.decode(entry, level, half);
}

Registers with_tcr(std::uint64_t tcr) {
  return {.tcr = tcr, .ttbr0 = 0, .ttbr1 = 0, .sctlr = 1, .tcr2 = 0};
}

TEST(ArmBits, AreWhereTheManualHasThem) {
  // Arm ARM DDI 0487, D8.3: descriptors of the 4 KiB granule.
  EXPECT_EQ(kValid, kBit0 << 0);
  EXPECT_EQ(kTableOrPage, kBit0 << 1);
  EXPECT_EQ(kAddress, 0x0000'FFFF'FFFF'F000U);          // 47:12
  EXPECT_EQ(kAttributeMask << kAttributeShift, 0x1CU);  // AttrIndx, 4:2
  EXPECT_EQ(kNonSecure, kBit0 << 5);
  EXPECT_EQ(kUserAccess, kBit0 << 6);            // AP[1]
  EXPECT_EQ(kReadOnly, kBit0 << 7);              // AP[2]
  EXPECT_EQ(kShareMask << kShareShift, 0x300U);  // SH, 9:8
  EXPECT_EQ(kAccessFlag, kBit0 << 10);
  EXPECT_EQ(kNotGlobal, kBit0 << 11);
  EXPECT_EQ(kNoTranslation, kBit0 << 16);
  EXPECT_EQ(kGuarded, kBit0 << 50);
  EXPECT_EQ(kDirtyModifier, kBit0 << 51);
  EXPECT_EQ(kContiguous, kBit0 << 52);
  EXPECT_EQ(kPrivilegedNever, kBit0 << 53);
  EXPECT_EQ(kUserNever, kBit0 << 54);
  EXPECT_EQ(kPxnTable, kBit0 << 59);
  EXPECT_EQ(kUxnTable, kBit0 << 60);
  EXPECT_EQ(kApTableNoUser, kBit0 << 61);
  EXPECT_EQ(kApTableReadOnly, kBit0 << 62);
  EXPECT_EQ(kNsTable, kBit0 << 63);
  // Arm ARM, TCR_EL1: T0SZ 5:0, EPD0 7, TG0 15:14, T1SZ 21:16, EPD1 23, TG1 31:30, IPS 34:32,
  // TBI0 37, TBI1 38, HA 39, HD 40, HPD0 41, HPD1 42, DS 59.
  EXPECT_EQ(kTcrSizeMask << kTcrT0szShift, 0x3FU);
  EXPECT_EQ(kTcrEpd0, kBit0 << 7);
  EXPECT_EQ(kTcrTg0Shift, 14U);
  EXPECT_EQ(kTcrSizeMask << kTcrT1szShift, 0x3F'0000U);
  EXPECT_EQ(kTcrEpd1, kBit0 << 23);
  EXPECT_EQ(kTcrTg1Shift, 30U);
  EXPECT_EQ(kTcrIpsMask << kTcrIpsShift, 0x7'0000'0000U);
  EXPECT_EQ(kTcrTbi0, kBit0 << 37);
  EXPECT_EQ(kTcrTbi1, kBit0 << 38);
  EXPECT_EQ(kTcrHa, kBit0 << 39);
  EXPECT_EQ(kTcrHd, kBit0 << 40);
  EXPECT_EQ(kTcrHpd0, kBit0 << 41);
  EXPECT_EQ(kTcrHpd1, kBit0 << 42);
  EXPECT_EQ(kTcrDs, kBit0 << 59);
  // Arm ARM, TCR2_EL1 and SCTLR_EL1.
  EXPECT_EQ(kTcr2Pie, kBit0 << 1);
  EXPECT_EQ(kTcr2D128, kBit0 << 5);
  EXPECT_EQ(kSctlrMmu, kBit0 << 0);
  EXPECT_EQ(kSctlrBigEndian, kBit0 << 25);
}

TEST(ArmDecode, TellsKindsApart) {
  EXPECT_EQ(decode(0, 1).kind, EntryKind::Absent);
  for (unsigned bit = 1; bit < 64; ++bit) {
    for (unsigned level = 1; level <= 4; ++level) {
      EXPECT_EQ(decode(kBit0 << bit, level).kind, EntryKind::NonPresent) << bit;
    }
  }
  for (unsigned level = 2; level <= 4; ++level) {
    const Entry table = decode(0x1234'5003, level);
    EXPECT_EQ(table.kind, EntryKind::Table) << level;
    EXPECT_EQ(table.output, Gpa{0x1234'5000}) << level;
  }
  // D8.3: no block at the manual's level 0, and 0b01 is reserved at its level 3.
  EXPECT_EQ(decode(0x1234'5001, 4).kind, EntryKind::Malformed);
  EXPECT_EQ(decode(0x1234'5001, 1).kind, EntryKind::Malformed);
}

TEST(ArmDecode, LeavesOfEachSize) {
  const Entry page = decode(0x0000'FFFF'FFFF'F443, 1);
  EXPECT_EQ(page.kind, EntryKind::Leaf);
  EXPECT_EQ(page.output, Gpa{0x0000'FFFF'FFFF'F000});
  EXPECT_EQ(page.size, 0x1000U);
  const Entry block2 = decode(0x1'2340'0441, 2);
  EXPECT_EQ(block2.kind, EntryKind::Leaf);
  EXPECT_EQ(block2.output, Gpa{0x1'2340'0000});
  EXPECT_EQ(block2.size, 0x20'0000U);
  const Entry block3 = decode(0x40'C000'0441, 3);
  EXPECT_EQ(block3.kind, EntryKind::Leaf);
  EXPECT_EQ(block3.output, Gpa{0x40'C000'0000});
  EXPECT_EQ(block3.size, 0x4000'0000U);
  // RES0 bits below a block's address (nT among them) are ignored, not part of the address.
  EXPECT_EQ(decode(0x1'2340'0441 | kNoTranslation, 2).output, Gpa{0x1'2340'0000});
}

TEST(ArmDecode, WhatDoesNotChangeATranslation) {
  const Entry page = decode(0x1234'5443, 1);
  for (const std::uint64_t bit : {kContiguous, kAccessFlag, kNotGlobal, kNonSecure, kGuarded,
                                  kDirtyModifier, kPrivilegedNever, kBit0 << 55, kBit0 << 63}) {
    const Entry other = decode(0x1234'5443 ^ bit, 1);
    EXPECT_EQ(other.kind, EntryKind::Leaf) << bit;
    EXPECT_EQ(other.output, page.output) << bit;
    EXPECT_EQ(other.size, page.size) << bit;
    EXPECT_EQ(other.permissions, page.permissions) << bit;
  }
}

TEST(ArmDecode, PermissionsOfALeaf) {
  struct Row {
    bool user, read_only, user_never;
    Permissions expected;
  };
  // D8.4: AP[1] gives EL0 data access, AP[2] takes writes away, UXN execution. AP[1] = 0 with
  // UXN = 0 is execute-only.
  const Row rows[] = {{false, false, false, {false, false, true, 0}},
                      {false, false, true, {false, false, false, 0}},
                      {false, true, false, {false, false, true, 0}},
                      {false, true, true, {false, false, false, 0}},
                      {true, false, false, {true, true, true, 0}},
                      {true, false, true, {true, true, false, 0}},
                      {true, true, false, {true, false, true, 0}},
                      {true, true, true, {true, false, false, 0}}};
  for (const Row& row : rows) {
    const std::uint64_t entry = 0x1000 | kAccessFlag | (row.user ? kUserAccess : 0) |
                                (row.read_only ? kReadOnly : 0) | (row.user_never ? kUserNever : 0);
    EXPECT_EQ(decode(entry | 3, 1).permissions, row.expected) << entry;
    EXPECT_EQ(decode((entry & ~std::uint64_t{0x1000}) | 0x20'0001, 2).permissions, row.expected);
  }
}

TEST(ArmDecode, LimitsOfATable) {
  const Permissions all{true, true, true, 0};
  EXPECT_EQ(decode(0x1003, 4).permissions, all);
  EXPECT_EQ(decode(0x1003 | kPxnTable | kNsTable, 4).permissions, all);
  EXPECT_EQ(decode(0x1003 | kUxnTable, 3).permissions, (Permissions{true, true, false, 0}));
  EXPECT_EQ(decode(0x1003 | kApTableReadOnly, 2).permissions, (Permissions{true, false, true, 0}));
  // APTable[0] takes EL0's data accesses; execution is UXNTable's matter (D8.4).
  EXPECT_EQ(decode(0x1003 | kApTableNoUser, 4).permissions, (Permissions{false, false, true, 0}));
}

TEST(ArmDecode, HierarchyIsOffPerHalf) {
  const std::uint64_t entry = 0x1003 | kUxnTable | kApTableReadOnly | kApTableNoUser;
  const Permissions all{true, true, true, 0};
  const Permissions none{};
  const Format lower_off(kTcr48 | kTcrHpd0);
  EXPECT_EQ(decode(entry, 4, lower_off, Half::Lower).permissions, all);
  EXPECT_EQ(decode(entry, 4, lower_off, Half::Upper).permissions, none);
  const Format upper_off(kTcr48 | kTcrHpd1);
  EXPECT_EQ(decode(entry, 4, upper_off, Half::Lower).permissions, none);
  EXPECT_EQ(decode(entry, 4, upper_off, Half::Upper).permissions, all);
}

TEST(ArmDecode, AddressAboveOutputSizeIsMalformed) {
  // Arm ARM, TCR_EL1.IPS: 0 to 6 are 32, 36, 40, 42, 44, 48 and 52 bits; 52 need DS = 1.
  constexpr unsigned kBits[] = {32, 36, 40, 42, 44, 48, 48, 48};
  for (std::uint64_t ips = 0; ips < 8; ++ips) {
    const Format format((kTcr48 & ~(7ULL << 32)) | ips << 32);
    for (unsigned bit = 30; bit < 48; ++bit) {
      const bool beyond = bit >= kBits[ips];
      EXPECT_EQ(decode(kBit0 << bit | 0x403, 1, format).kind,
                beyond ? EntryKind::Malformed : EntryKind::Leaf);
      EXPECT_EQ(decode(kBit0 << bit | 3, 4, format).kind,
                beyond ? EntryKind::Malformed : EntryKind::Table);
    }
  }
}

TEST(ArmDecode, DirtyManagementMakesDbmWritable) {
  const std::uint64_t clean = 0x1000 | 0x403 | kUserAccess | kReadOnly | kDirtyModifier;
  EXPECT_FALSE(decode(clean, 1).permissions.write);
  EXPECT_FALSE(decode(clean, 1, Format(kTcr48 | kTcrHd)).permissions.write) << "HD needs HA";
  const Format managed(kTcr48 | kTcrHa | kTcrHd);
  EXPECT_TRUE(decode(clean, 1, managed).permissions.write);
  EXPECT_FALSE(decode(clean & ~kDirtyModifier, 1, managed).permissions.write);
  EXPECT_FALSE(decode(clean & ~kUserAccess, 1, managed).permissions.write);
}

TEST(ArmHardwareBits, FollowHaAndHd) {
  for (unsigned level = 1; level <= 4; ++level) {
    EXPECT_EQ(kPlain.hardware_bits(level), 0U);
    EXPECT_EQ(Format(kTcr48 | kTcrHd).hardware_bits(level), 0U) << "HD needs HA";
    EXPECT_EQ(Format(kTcr48 | kTcrHa).hardware_bits(level), kAccessFlag);
    EXPECT_EQ(Format(kTcr48 | kTcrHa | kTcrHd).hardware_bits(level),
              level <= 3 ? kAccessFlag | kReadOnly : kAccessFlag);
  }
}

TEST(ArmCombine, AllowsOnlyWhatBothAllow) {
  for (unsigned upper = 0; upper < 8; ++upper) {
    for (unsigned lower = 0; lower < 8; ++lower) {
      const auto make = [](unsigned bits) {
        return Permissions{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, 0};
      };
      EXPECT_EQ(Format::combine(make(upper), make(lower)), make(upper & lower));
    }
  }
}

TEST(ArmGeometry, FortyEightBits) {
  EXPECT_EQ(kPlain.top_level(Half::Lower), 4U);
  EXPECT_EQ(kPlain.top_level(Half::Upper), 4U);
  EXPECT_TRUE(kPlain.is_canonical(Gva{0x0000'FFFF'FFFF'FFFF}));
  EXPECT_FALSE(kPlain.is_canonical(Gva{0x0001'0000'0000'0000}));
  EXPECT_TRUE(kPlain.is_canonical(Gva{0xFFFF'0000'0000'0000}));
  EXPECT_FALSE(kPlain.is_canonical(Gva{0xFFFE'FFFF'FFFF'FFFF}));
  EXPECT_EQ(kPlain.half_of(Gva{0x0000'FFFF'FFFF'FFFF}), Half::Lower);
  EXPECT_EQ(kPlain.half_of(Gva{0xFFFF'0000'0000'0000}), Half::Upper);
  EXPECT_EQ(kPlain.index(Gva{0xFFFF'FF80'4060'5000}, 4), 511U);
  EXPECT_EQ(kPlain.index(Gva{0xFFFF'FF80'4060'5000}, 1), 5U);
  EXPECT_EQ(kPlain.root_slots(Half::Lower, Scope::UserHalf), 512U);
  EXPECT_EQ(kPlain.root_slot_gva(Half::Lower, 511), Gva{0x0000'FF80'0000'0000});
  EXPECT_EQ(kPlain.root_slot_gva(Half::Upper, 0), Gva{0xFFFF'0000'0000'0000});
  EXPECT_EQ(kPlain.root_slot_gva(Half::Upper, 511), Gva{0xFFFF'FF80'0000'0000});
}

TEST(ArmGeometry, LevelsFollowTheSize) {
  struct Row {
    std::uint64_t size;
    unsigned level;
    std::size_t slots;
  };
  // D8.2, 4 KiB granule: the root resolves what lower levels leave.
  const Row rows[] = {{16, 4, 512}, {17, 4, 256}, {24, 4, 2}, {25, 3, 512},
                      {33, 3, 2},   {34, 2, 512}, {39, 2, 16}};
  for (const Row& row : rows) {
    const Format format((kTcr48 & ~std::uint64_t{0x3F'003F}) | row.size | row.size << 16);
    for (const Half half : {Half::Lower, Half::Upper}) {
      EXPECT_EQ(format.top_level(half), row.level) << row.size;
      EXPECT_EQ(format.root_slots(half, Scope::All), row.slots) << row.size;
      const Gva last = format.root_slot_gva(half, row.slots - 1);
      EXPECT_TRUE(format.is_canonical(last)) << row.size;
      EXPECT_EQ(format.index(last, row.level), row.slots - 1) << row.size;
      const Gva first = format.root_slot_gva(half, 0);
      EXPECT_TRUE(format.is_canonical(first)) << row.size;
      EXPECT_EQ(format.index(first, row.level), 0U) << row.size;
    }
  }
}

TEST(ArmGeometry, TopByteIsIgnoredPerHalf) {
  const Gva tagged{0xAB00'1234'5678'9000};
  const Gva tagged_upper{0xAB80'1234'5678'9000 | 0x007F'0000'0000'0000};
  EXPECT_FALSE(kPlain.is_canonical(tagged));
  EXPECT_TRUE(Format(kTcr48 | kTcrTbi0).is_canonical(tagged));
  EXPECT_FALSE(Format(kTcr48 | kTcrTbi0).is_canonical(tagged_upper));
  EXPECT_TRUE(Format(kTcr48 | kTcrTbi1).is_canonical(tagged_upper));
  EXPECT_EQ(Format(kTcr48 | kTcrTbi0).index(tagged, 4), 0x24U);
}

TEST(ArmGeometry, AHalfThatIsOffTranslatesNothing) {
  // EPD1 with a size of 0, which would be refused otherwise.
  const Format format((kTcr48 & ~(0x3FULL << 16)) | kTcrEpd1);
  EXPECT_TRUE(format.is_canonical(Gva{0x1000}));
  EXPECT_FALSE(format.is_canonical(Gva{0xFFFF'FFFF'FFFF'0000}));
  EXPECT_EQ(format.root_slots(Half::Upper, Scope::All), 0U);
  EXPECT_LE(format.top_level(Half::Upper), kMaxLevels);
  EXPECT_FALSE(Format(kTcr48 | kTcrEpd0).is_canonical(Gva{0x1000}));
  EXPECT_EQ(Format(kTcr48 | kTcrEpd0).root_slots(Half::Lower, Scope::All), 0U);
}

TEST(ArmRegisters, SelectTheFormat) {
  EXPECT_EQ(format_from(with_tcr(kTcr48)).value(), Format(kTcr48));
  EXPECT_EQ(format_from(with_tcr(kTcr39)).value().top_level(Half::Lower), 3U);
  EXPECT_FALSE(Format(kTcr48) == Format(kTcr39));
  // A half that is off may hold anything.
  EXPECT_TRUE(format_from(with_tcr(kTcrEpd1 | 16 | 3ULL << 30)).ok());
  EXPECT_TRUE(format_from(with_tcr(kTcrEpd0 | 1ULL << 14 | 16ULL << 16 | 2ULL << 30)).ok());
}

TEST(ArmRegisters, AreRefusedByName) {
  const auto message = [](const Registers& registers) {
    const auto result = format_from(registers);
    EXPECT_EQ(result.error().code, ExitCode::GuestFailed);
    return result.error().message;
  };
  Registers registers = with_tcr(kTcr48);
  registers.sctlr = 0x30D0'0800;
  EXPECT_EQ(message(registers),
            "arm64 translation: SCTLR_EL1.M is 0 (the register is 0x30d00800), expected 1: the MMU "
            "is off");
  registers.sctlr = kSctlrBigEndian | 1;
  EXPECT_EQ(message(registers),
            "arm64 translation: SCTLR_EL1.EE is 1 (the register is 0x2000001), expected 0: "
            "big-endian tables are not supported");
  EXPECT_EQ(message(with_tcr(kTcr48 | kTcrDs)),
            "arm64 translation: TCR_EL1.DS is 1 (the register is 0x800000580100010), expected 0: "
            "52-bit descriptors are not supported");
  registers = with_tcr(kTcr48);
  registers.tcr2 = kTcr2Pie;
  EXPECT_EQ(message(registers),
            "arm64 translation: TCR2_EL1 is 0x2, expected PIE (bit 1) and D128 (bit 5) to be 0: "
            "permissions by index and 128-bit descriptors are not supported");
  registers.tcr2 = kTcr2D128;
  EXPECT_FALSE(format_from(registers).ok());
  EXPECT_EQ(message(with_tcr(kTcr48 | 1ULL << 14)),
            "arm64 translation: TCR_EL1.TG0 is 1, expected 0: only the 4 KiB granule is supported");
  EXPECT_EQ(message(with_tcr(kTcr48 | 2ULL << 14)),
            "arm64 translation: TCR_EL1.TG0 is 2, expected 0: only the 4 KiB granule is supported");
  EXPECT_EQ(message(with_tcr(kTcr48 | 3ULL << 30)),
            "arm64 translation: TCR_EL1.TG1 is 3, expected 2: only the 4 KiB granule is supported");
  EXPECT_EQ(message(with_tcr((kTcr48 & ~std::uint64_t{0x3F}) | 15)),
            "arm64 translation: TCR_EL1.T0SZ is 15, expected 16 to 39");
  EXPECT_EQ(message(with_tcr((kTcr48 & ~std::uint64_t{0x3F'0000}) | 40ULL << 16)),
            "arm64 translation: TCR_EL1.T1SZ is 40, expected 16 to 39");
  registers = with_tcr((kTcr48 & ~std::uint64_t{0x3F}) | 20);
  registers.ttbr0 = 0x4000'0100;
  EXPECT_EQ(message(registers),
            "arm64 translation: TTBR0_EL1 is 0x40000100, expected a root at the start of a page");
  registers.ttbr0 = 0x4000'0001;  // CnP
  EXPECT_TRUE(format_from(registers).ok());
}

TEST(ArmRegisters, RootIsWithoutAsidAndCnp) {
  EXPECT_EQ(root_of(0xFFFF'0000'4123'4001), Frame{0x4'1234});
  EXPECT_EQ(root_of(0x0000'FFFF'FFFF'F000), Frame{0xF'FFFF'FFFF});
}

}  // namespace
}  // namespace sealvisor::arch::arm64
