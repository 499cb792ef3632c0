#include "arch/x86_64/format.h"

#include <gtest/gtest.h>

#include "tests/unit/arch/fake_memory.h"

namespace sealvisor::arch::x86_64 {
namespace {

constexpr Format kFour(false, true, true);
constexpr Format kFive(true, true, true);
constexpr std::uint64_t kBit0 = 1;

Entry decode(std::uint64_t entry, unsigned level, const Format& format = kFour) {
  return format.decode(entry, level, Half::Lower);
}

TEST(X86Bits, AreWhereTheManualHasThem) {
  // SDM vol. 3A, tables 4-14 to 4-20.
  EXPECT_EQ(kPresent, kBit0 << 0);
  EXPECT_EQ(kWritable, kBit0 << 1);
  EXPECT_EQ(kUser, kBit0 << 2);
  EXPECT_EQ(kWriteThrough, kBit0 << 3);
  EXPECT_EQ(kCacheDisable, kBit0 << 4);
  EXPECT_EQ(kAccessed, kBit0 << 5);
  EXPECT_EQ(kDirty, kBit0 << 6);
  EXPECT_EQ(kPageSizeBit, kBit0 << 7);
  EXPECT_EQ(kSmallPat, kBit0 << 7);  // table 4-20
  EXPECT_EQ(kGlobal, kBit0 << 8);
  EXPECT_EQ(kLargePat, kBit0 << 12);                         // tables 4-16, 4-18
  EXPECT_EQ(kKeyMask << kKeyShift, 0x7800'0000'0000'0000U);  // 62:59
  EXPECT_EQ(kExecuteDisable, kBit0 << 63);
  EXPECT_EQ(kAddress, 0x000F'FFFF'FFFF'F000U);  // 51:12
  EXPECT_EQ(kReserved2M, 0x001F'E000U);         // table 4-18, 20:13
  EXPECT_EQ(kReserved1G, 0x3FFF'E000U);         // table 4-16, 29:13
  // SDM vol. 3A 2.5 and 2.2.1.
  EXPECT_EQ(kCr0Paging, kBit0 << 31);
  EXPECT_EQ(kCr4Pae, kBit0 << 5);
  EXPECT_EQ(kCr4La57, kBit0 << 12);
  EXPECT_EQ(kCr4ProtectionKeys, kBit0 << 22);
  EXPECT_EQ(kEferLongModeActive, kBit0 << 10);
  EXPECT_EQ(kEferNoExecute, kBit0 << 11);
}

TEST(X86Decode, TellsKindsApart) {
  EXPECT_EQ(decode(0, 1).kind, EntryKind::Absent);
  EXPECT_EQ(decode(0, 4).kind, EntryKind::Absent);
  // P = 0: all other bits are the kernel's (SDM 4.5, "ignored").
  for (unsigned bit = 1; bit < 64; ++bit) {
    for (unsigned level = 1; level <= 5; ++level) {
      EXPECT_EQ(decode(kBit0 << bit, level, kFive).kind, EntryKind::NonPresent) << bit;
    }
  }
  for (unsigned level = 2; level <= 5; ++level) {
    const Entry table = decode(0x1234'5067, level, kFive);
    EXPECT_EQ(table.kind, EntryKind::Table) << level;
    EXPECT_EQ(table.output, Gpa{0x1234'5000}) << level;
    EXPECT_EQ(table.size, 0U) << level;
  }
}

TEST(X86Decode, LeavesOfEachSize) {
  const Entry page = decode(0x000F'FFFF'FFFF'F005, 1);
  EXPECT_EQ(page.kind, EntryKind::Leaf);
  EXPECT_EQ(page.output, Gpa{0x000F'FFFF'FFFF'F000});
  EXPECT_EQ(page.size, 0x1000U);
  const Entry large = decode(0x0000'0001'2340'0085, 2);
  EXPECT_EQ(large.kind, EntryKind::Leaf);
  EXPECT_EQ(large.output, Gpa{0x1'2340'0000});
  EXPECT_EQ(large.size, 0x20'0000U);
  const Entry huge = decode(0x0000'0040'C000'0085, 3);
  EXPECT_EQ(huge.kind, EntryKind::Leaf);
  EXPECT_EQ(huge.output, Gpa{0x40'C000'0000});
  EXPECT_EQ(huge.size, 0x4000'0000U);
}

TEST(X86Decode, PatIsNotAReservedBit) {
  // Bit 7 at level 1, bit 12 of larger leaves: SDM 4.9.2.
  EXPECT_EQ(decode(0x1000 | kSmallPat | 5, 1).output, Gpa{0x1000});
  EXPECT_EQ(decode(0x1000 | kSmallPat | 5, 1).size, 0x1000U);
  EXPECT_EQ(decode(0x20'0000 | kLargePat | kPageSizeBit | 5, 2).output, Gpa{0x20'0000});
  EXPECT_EQ(decode(0x4000'0000 | kLargePat | kPageSizeBit | 5, 3).output, Gpa{0x4000'0000});
}

TEST(X86Decode, ReservedBitsAreMalformed) {
  for (unsigned bit = 13; bit <= 20; ++bit) {  // table 4-18
    EXPECT_EQ(decode(kBit0 << bit | kPageSizeBit | 5, 2).kind, EntryKind::Malformed) << bit;
  }
  EXPECT_EQ(decode(kBit0 << 21 | kPageSizeBit | 5, 2).kind, EntryKind::Leaf);
  for (unsigned bit = 13; bit <= 29; ++bit) {  // table 4-16
    EXPECT_EQ(decode(kBit0 << bit | kPageSizeBit | 5, 3).kind, EntryKind::Malformed) << bit;
  }
  EXPECT_EQ(decode(kBit0 << 30 | kPageSizeBit | 5, 3).kind, EntryKind::Leaf);
  // Tables 4-14 and 4-15: PS is reserved in a PML5E and a PML4E.
  EXPECT_EQ(decode(0x1000 | kPageSizeBit | 5, 4).kind, EntryKind::Malformed);
  EXPECT_EQ(decode(0x1000 | kPageSizeBit | 5, 5, kFive).kind, EntryKind::Malformed);
}

TEST(X86Decode, ExecuteDisableIsReservedWithoutNxe) {
  const Format without(false, false, true);  // SDM 4.5, APM 5.6.3
  for (unsigned level = 1; level <= 4; ++level) {
    EXPECT_EQ(decode(kExecuteDisable | 0x1005, level, without).kind, EntryKind::Malformed);
    EXPECT_NE(decode(kExecuteDisable | 0x1005, level).kind, EntryKind::Malformed);
    EXPECT_TRUE(decode(0x1005, level, without).permissions.exec);
  }
}

TEST(X86Decode, AddressBitsFromMaxphyaddrUpAreReserved) {
  const Format narrow(false, true, true, 40);  // SDM 4.1.4
  for (unsigned level = 1; level <= 4; ++level) {
    EXPECT_NE(decode(kBit0 << 39 | 5, level, narrow).kind, EntryKind::Malformed);
    for (unsigned bit = 40; bit <= 51; ++bit) {
      EXPECT_EQ(decode(kBit0 << bit | 5, level, narrow).kind, EntryKind::Malformed) << bit;
      EXPECT_NE(decode(kBit0 << bit | 5, level).kind, EntryKind::Malformed) << bit;
    }
    // 58:52 are ignored (tables 4-14 to 4-20).
    for (unsigned bit = 52; bit <= 58; ++bit) {
      EXPECT_NE(decode(kBit0 << bit | 5, level, narrow).kind, EntryKind::Malformed) << bit;
    }
  }
}

TEST(X86Decode, PermissionsOfOneEntry) {
  struct Row {
    bool user, write, no_execute;
    Permissions expected;
  };
  // SDM 4.6.1: without U/S = 1 user mode has nothing at all.
  const Row rows[] = {{false, false, false, {false, false, false, 0}},
                      {false, false, true, {false, false, false, 0}},
                      {false, true, false, {false, false, false, 0}},
                      {false, true, true, {false, false, false, 0}},
                      {true, false, false, {true, false, true, 0}},
                      {true, false, true, {true, false, false, 0}},
                      {true, true, false, {true, true, true, 0}},
                      {true, true, true, {true, true, false, 0}}};
  for (const Row& row : rows) {
    const std::uint64_t entry = 0x1000 | kPresent | (row.user ? kUser : 0) |
                                (row.write ? kWritable : 0) |
                                (row.no_execute ? kExecuteDisable : 0);
    EXPECT_EQ(decode(entry, 1).permissions, row.expected) << entry;
    EXPECT_EQ(decode(entry, 2).permissions, row.expected) << entry;
  }
}

TEST(X86Decode, KeyOfUserLeavesWithPke) {
  const Format without(false, true, false);
  for (std::uint64_t key = 0; key < 16; ++key) {  // SDM 4.6.2
    EXPECT_EQ(decode(key << 59 | 0x1005, 1).permissions.key, key);
    EXPECT_EQ(decode(key << 59 | 0x20'0085, 2).permissions.key, key);
    EXPECT_EQ(decode(key << 59 | 0x4000'0085, 3).permissions.key, key);
    EXPECT_EQ(decode(key << 59 | 0x1005, 2).permissions.key, 0) << "a table has no key";
    EXPECT_EQ(decode(key << 59 | 0x1001, 1).permissions.key, 0) << "supervisor page";
    EXPECT_EQ(decode(key << 59 | 0x1005, 1, without).permissions.key, 0);
  }
}

TEST(X86Combine, AllowsOnlyWhatBothAllow) {
  for (unsigned upper = 0; upper < 8; ++upper) {
    for (unsigned lower = 0; lower < 8; ++lower) {
      const auto make = [](unsigned bits, std::uint8_t key) {
        return Permissions{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, key};
      };
      EXPECT_EQ(kFour.combine(make(upper, 1), make(lower, 2)), make(upper & lower, 2));
    }
  }
}

TEST(X86Geometry, FourLevels) {
  EXPECT_EQ(kFour.top_level(Half::Lower), 4U);
  EXPECT_TRUE(kFour.is_canonical(Gva{0x0000'7FFF'FFFF'FFFF}));
  EXPECT_FALSE(kFour.is_canonical(Gva{0x0000'8000'0000'0000}));
  EXPECT_FALSE(kFour.is_canonical(Gva{0xFFFF'7FFF'FFFF'FFFF}));
  EXPECT_TRUE(kFour.is_canonical(Gva{0xFFFF'8000'0000'0000}));
  EXPECT_EQ(kFour.half_of(Gva{0x0000'7FFF'FFFF'FFFF}), Half::Lower);
  EXPECT_EQ(kFour.half_of(Gva{0xFFFF'8000'0000'0000}), Half::Upper);
  const Gva gva{0xFFFF'FF80'4060'5000};
  EXPECT_EQ(kFour.index(gva, 4), 511U);
  EXPECT_EQ(kFour.index(gva, 3), 1U);
  EXPECT_EQ(kFour.index(gva, 2), 3U);
  EXPECT_EQ(kFour.index(gva, 1), 5U);
  EXPECT_EQ(kFour.root_slot_gva(Half::Lower, 255), Gva{0x0000'7F80'0000'0000});
  EXPECT_EQ(kFour.root_slot_gva(Half::Lower, 256), Gva{0xFFFF'8000'0000'0000});
  EXPECT_EQ(kFour.root_slots(Half::Lower, Scope::UserHalf), 256U);
  EXPECT_EQ(kFour.root_slots(Half::Lower, Scope::All), 512U);
}

TEST(X86Geometry, FiveLevels) {
  EXPECT_EQ(kFive.top_level(Half::Lower), 5U);
  EXPECT_TRUE(kFive.is_canonical(Gva{0x00FF'FFFF'FFFF'FFFF}));
  EXPECT_FALSE(kFive.is_canonical(Gva{0x0100'0000'0000'0000}));
  EXPECT_TRUE(kFive.is_canonical(Gva{0xFF00'0000'0000'0000}));
  EXPECT_FALSE(kFive.is_canonical(Gva{0xFEFF'FFFF'FFFF'FFFF}));
  EXPECT_EQ(kFive.index(Gva{0x0003'0000'0000'0000}, 5), 3U);
  EXPECT_EQ(kFive.root_slot_gva(Half::Lower, 255), Gva{0x00FF'0000'0000'0000});
  EXPECT_EQ(kFive.root_slot_gva(Half::Lower, 256), Gva{0xFF00'0000'0000'0000});
}

TEST(X86HardwareBits, AccessedEverywhereDirtyWhereLeavesAre) {
  EXPECT_EQ(kFive.hardware_bits(1), 0x60U);  // SDM 4.8
  EXPECT_EQ(kFive.hardware_bits(2), 0x60U);
  EXPECT_EQ(kFive.hardware_bits(3), 0x60U);
  EXPECT_EQ(kFive.hardware_bits(4), 0x20U);
  EXPECT_EQ(kFive.hardware_bits(5), 0x20U);
}

TEST(X86Registers, SelectTheFormat) {
  const Registers linux{.cr0 = 0x8005'0033, .cr3 = 0, .cr4 = 0x20, .efer = 0xD01};
  EXPECT_EQ(format_from(linux).value(), Format(false, true, false));
  Registers changed = linux;
  changed.cr4 |= 1U << 12;
  EXPECT_EQ(format_from(changed).value(), Format(true, true, false));
  changed = linux;
  changed.cr4 |= 1U << 22;
  EXPECT_EQ(format_from(changed).value(), Format(false, true, true));
  changed = linux;
  changed.efer &= ~std::uint64_t{0x800};
  EXPECT_EQ(format_from(changed).value(), Format(false, false, false));
  EXPECT_EQ(format_from(linux, 40).value(), Format(false, true, false, 40));
}

TEST(X86Registers, AreRefusedByName) {
  const Registers linux{.cr0 = 0x8005'0033, .cr3 = 0, .cr4 = 0x20, .efer = 0xD01};
  Registers bad = linux;
  bad.cr0 = 0x5'0033;
  EXPECT_EQ(format_from(bad).error().message,
            "x86-64 paging: CR0.PG is 0 (the register is 0x50033), expected 1: paging is off");
  EXPECT_EQ(format_from(bad).error().code, ExitCode::GuestFailed);
  bad = linux;
  bad.cr4 = 0x10;
  EXPECT_EQ(format_from(bad).error().message,
            "x86-64 paging: CR4.PAE is 0 (the register is 0x10), expected 1: 32-bit paging is not "
            "supported");
  bad = linux;
  bad.efer = 0x900;
  EXPECT_EQ(format_from(bad).error().message,
            "x86-64 paging: EFER.LMA is 0 (the register is 0x900), expected 1: PAE paging outside "
            "long mode is not supported");
  EXPECT_EQ(format_from(linux, 31).error().message,
            "x86-64 paging: MAXPHYADDR is 31, expected 32 to 52");
  EXPECT_EQ(format_from(linux, 53).error().code, ExitCode::Usage);
}

TEST(X86Registers, RootIsWithoutPcidLamAndNoFlush) {
  // SDM 4.10.4.1 (PCID, bit 63), table 4-12 (LAM, 62:61).
  EXPECT_EQ(root_of(0xE00F'FFFF'FFFF'FFFF), Frame{0xFF'FFFF'FFFF});
  EXPECT_EQ(root_of(0x8000'0000'0123'4FFF), Frame{0x1234});
}

}  // namespace
}  // namespace sealvisor::arch::x86_64
