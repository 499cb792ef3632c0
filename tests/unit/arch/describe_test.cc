#include "arch/describe.h"

#include <gtest/gtest.h>

#include <set>

namespace sealvisor::arch {
namespace {

const AnyFormat kX86Format = x86_64::Format(false, true, true);
const AnyFormat kArmFormat = arm64::Format(16 | 16ULL << 16 | 2ULL << 30 | 5ULL << 32);
constexpr std::uint64_t kBit0 = 1;

TEST(DescribePermissions, ReadsLikeLs) {
  EXPECT_EQ(describe_permissions({}), "---");
  EXPECT_EQ(describe_permissions({true, false, true, 0}), "r-x");
  EXPECT_EQ(describe_permissions({true, true, false, 0}), "rw-");
  EXPECT_EQ(describe_permissions({false, false, true, 0}), "--x");
  EXPECT_EQ(describe_permissions({true, true, true, 3}), "rwx key 3");
}

TEST(DescribeEntry, X86) {
  EXPECT_EQ(describe_entry(kX86Format, 0, 1), "absent");
  EXPECT_EQ(describe_entry(kX86Format, 0x8000'0000'0123'4067, 1), "P RW US A D NX gpa 0x1234000");
  EXPECT_EQ(describe_entry(kX86Format, 0x0123'41F9, 1), "P PWT PCD A D PAT G gpa 0x1234000");
  EXPECT_EQ(describe_entry(kX86Format, 0x0040'10E5, 2), "P US A D PS PAT gpa 0x400000 2 MiB");
  EXPECT_EQ(describe_entry(kX86Format, 0x4000'00A5, 3), "P US A PS gpa 0x40000000 1 GiB");
  EXPECT_EQ(describe_entry(kX86Format, 0x1234'5067, 2), "table 0x12345000 P RW US A D");
  EXPECT_EQ(describe_entry(kX86Format, 3ULL << 59 | 0x1025, 1), "P US A key 3 gpa 0x1000");
  EXPECT_EQ(describe_entry(kX86Format, 0x1825, 1), "P US A soft 0x800 gpa 0x1000");
  EXPECT_EQ(describe_entry(kX86Format, 0x0000'20A5, 2), "malformed 0x20a5");
  EXPECT_EQ(describe_entry(kX86Format, 0x000F'FFFF'EDCB'A120, 1),
            "non-present (PROT_NONE) 0xfffffedcba120 gpa 0x12345000");
}

TEST(DescribeEntry, Arm) {
  EXPECT_EQ(describe_entry(kArmFormat, 0, 1), "absent");
  EXPECT_EQ(describe_entry(kArmFormat, 0x0060'0000'4123'4FC3, 1),
            "V T EL0 RO AF nG PXN UXN SH 3 gpa 0x41234000");
  EXPECT_EQ(describe_entry(kArmFormat, 0x001C'0000'4123'4763 | 4 << 2, 1),
            "V T NS EL0 AF GP DBM CONT attr 4 SH 3 gpa 0x41234000");
  EXPECT_EQ(describe_entry(kArmFormat, 0x4121'0741, 2), "V EL0 AF nT SH 3 gpa 0x41200000 2 MiB");
  EXPECT_EQ(describe_entry(kArmFormat, 0x4000'0741, 3), "V EL0 AF SH 3 gpa 0x40000000 1 GiB");
  EXPECT_EQ(describe_entry(kArmFormat, 0xF800'0000'4123'4003, 4),
            "table 0x41234000 V T PXNTable UXNTable noEL0Table ROTable NSTable");
  EXPECT_EQ(describe_entry(kArmFormat, 1ULL << 55 | 0x4123'4403, 1),
            "V T AF soft 0x80000000000000 "
            "gpa 0x41234000");
  EXPECT_EQ(describe_entry(kArmFormat, 0x4123'4001, 1), "malformed 0x41234001");
  EXPECT_EQ(describe_entry(kArmFormat, 28 << 6 | 0x4123'4000, 1),
            "non-present (migration) 0x41234700 gpa 0x41234000");
}

TEST(DescribeEntry, EntriesThatDifferReadDifferently) {
  for (const AnyFormat& format : {kX86Format, kArmFormat}) {
    for (unsigned level = 1; level <= 4; ++level) {
      // A leaf or table with every bit flipped in turn.
      std::set<std::string> texts;
      const std::uint64_t base = level == 1 || level == 4 ? 0x4000'0443 : 0x4000'0441;
      texts.insert(describe_entry(format, base, level));
      for (unsigned bit = 0; bit < 64; ++bit) {
        texts.insert(describe_entry(format, base ^ kBit0 << bit, level));
      }
      EXPECT_EQ(texts.size(), 65U) << "level " << level;
    }
  }
}

}  // namespace
}  // namespace sealvisor::arch
