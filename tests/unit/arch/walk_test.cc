#include "arch/walk.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "arch/any_format.h"
#include "tests/unit/arch/fake_memory.h"

namespace sealvisor::arch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr x86_64::Format kX86(false, true, true);
constexpr x86_64::Format kX86Five(true, true, true);
constexpr arm64::Format kArm(16 | 16ULL << 16 | 2ULL << 30 | 5ULL << 32);
constexpr arm64::Format kArm39(25 | 25ULL << 16 | 2ULL << 30 | 5ULL << 32);
/// T0SZ = T1SZ = 20: a root of 32 entries.
constexpr arm64::Format kArmSmallRoot(20 | 20ULL << 16 | 2ULL << 30 | 5ULL << 32);
constexpr std::uint64_t kNx = 1ULL << 63;
constexpr std::uint64_t kUxn = 1ULL << 54;
constexpr Permissions kRx{true, false, true, 0};
constexpr Permissions kRw{true, true, false, 0};
constexpr Permissions kR{true, false, false, 0};
constexpr Permissions kNone{};

/// Root 1; user half: 4 KiB pages under 2, 3, 4, a 2 MiB and a 1 GiB page; kernel half: one page.
FakeMemory x86_tables() {
  FakeMemory memory;
  memory.set(1, 0, 0x2067);
  memory.set(1, 255, 0x5067);
  memory.set(1, 256, 0x7063);
  memory.set(1, 511, 0);
  memory.set(2, 0, 0x3067);
  memory.set(2, 2, 0x8000'00E7 | kNx);  // 1 GiB
  memory.set(3, 1, 0x4067);
  memory.set(3, 2, 0x0060'00A5);  // 2 MiB
  memory.set(4, 0, 0xAA025);
  memory.set(4, 1, 0xAB067 | kNx);
  memory.set(4, 511, 0x000F'FFFF'FFF5'4100);  // not present: PROT_NONE of frame 0xab
  memory.set(5, 511, 0x6065);                 // read-only from here down
  memory.set(6, 511, 0x9067 | kNx);           // and not executable
  memory.set(9, 511, 0xAC067 | 3ULL << 59);
  memory.set(7, 0, 0x8063);
  memory.set(8, 0, 0x20'01E3);
  return memory;
}

TEST(X86Walk, WholeRootGivesTheWholeList) {
  const FakeMemory memory = x86_tables();
  Recorder seen;
  const VisitSummary summary = visit(kX86, memory, Frame{1}, Half::Lower, seen);
  EXPECT_EQ(summary, (VisitSummary{9, false}));
  EXPECT_THAT(
      seen.lines,
      ElementsAre("table 0x1 level 4 at 0x0", "table 0x2 level 3 at 0x0",
                  "table 0x3 level 2 at 0x0", "table 0x4 level 1 at 0x200000", "leaf 0x200000",
                  "leaf 0x201000", "non-present 0x3ff000 slot 0x4ff8 value 0xffffffff54100 level 1",
                  "leaf 0x400000", "leaf 0x80000000", "table 0x5 level 3 at 0x7f8000000000",
                  "table 0x6 level 2 at 0x7fffc0000000", "table 0x9 level 1 at 0x7fffffe00000",
                  "leaf 0x7ffffffff000", "table 0x7 level 3 at 0xffff800000000000",
                  "table 0x8 level 2 at 0xffff800000000000", "leaf 0xffff800000000000"));
  EXPECT_THAT(
      seen.leaves,
      ElementsAre(
          LeafMapping{Gva{0x20'0000}, Gpa{0xAA000}, 0x1000, kRx, Gpa{0x4000}, 0xAA025, 1},
          LeafMapping{Gva{0x20'1000}, Gpa{0xAB000}, 0x1000, kRw, Gpa{0x4008}, 0xAB067 | kNx, 1},
          LeafMapping{Gva{0x40'0000}, Gpa{0x60'0000}, 0x20'0000, kRx, Gpa{0x3010}, 0x6000A5, 2},
          LeafMapping{Gva{0x8000'0000}, Gpa{0x8000'0000}, 0x4000'0000, kRw, Gpa{0x2010},
                      0x8000'00E7 | kNx, 3},
          LeafMapping{Gva{0x7FFF'FFFF'F000}, Gpa{0xAC000}, 0x1000,
                      Permissions{true, false, false, 3}, Gpa{0x9FF8}, 0xAC067 | 3ULL << 59, 1},
          LeafMapping{Gva{0xFFFF'8000'0000'0000}, Gpa{0x20'0000}, 0x20'0000, kNone, Gpa{0x8000},
                      0x2001E3, 2}));
}

TEST(X86Walk, UserHalfStopsBeforeTheKernels) {
  const FakeMemory memory = x86_tables();
  Recorder seen;
  const VisitSummary summary =
      visit(kX86, memory, Frame{1}, Half::Lower, seen, {.scope = Scope::UserHalf});
  EXPECT_EQ(summary, (VisitSummary{7, false}));
  ASSERT_EQ(seen.leaves.size(), 5U);
  EXPECT_EQ(seen.leaves.back().gva, Gva{0x7FFF'FFFF'F000});
}

TEST(X86Walk, OneAddressStepByStep) {
  const FakeMemory memory = x86_tables();
  const Walk walk = arch::walk(kX86, memory, Frame{1}, Gva{0x20'1ABC});
  EXPECT_EQ(walk.end, WalkEnd::Leaf);
  EXPECT_EQ(walk.count, 4U);
  EXPECT_EQ(walk.steps[0], (WalkStep{Gpa{0x1000}, 0x2067, 4}));
  EXPECT_EQ(walk.steps[1], (WalkStep{Gpa{0x2000}, 0x3067, 3}));
  EXPECT_EQ(walk.steps[2], (WalkStep{Gpa{0x3008}, 0x4067, 2}));
  EXPECT_EQ(walk.steps[3], (WalkStep{Gpa{0x4008}, 0xAB067 | kNx, 1}));
  EXPECT_EQ(walk.last(), walk.steps[3]);
  EXPECT_EQ(walk.permissions, kRw);
  EXPECT_EQ(walk.output, Gpa{0xABABC});
  EXPECT_EQ(walk.size, 0x1000U);
  EXPECT_EQ(walk.level, 1U);
  EXPECT_EQ(memory.entries_read(), 4U) << "each entry once";
  EXPECT_EQ(memory.tables_read(), 0U);
}

TEST(X86Walk, LargeLeavesKeepTheOffset) {
  const FakeMemory memory = x86_tables();
  const Walk two = walk(kX86, memory, Frame{1}, Gva{0x5F'FFFF});
  EXPECT_EQ(two.output, Gpa{0x7F'FFFF});
  EXPECT_EQ(two.size, 0x20'0000U);
  EXPECT_EQ(two.level, 2U);
  const Walk one = walk(kX86, memory, Frame{1}, Gva{0xBFFF'FFFF});
  EXPECT_EQ(one.output, Gpa{0xBFFF'FFFF});
  EXPECT_EQ(one.size, 0x4000'0000U);
  EXPECT_EQ(one.count, 2U);
}

TEST(X86Walk, EveryOtherEnd) {
  FakeMemory memory = x86_tables();
  memory.set(1, 3, 0xBAD'0067);          // no such memory
  memory.set(1, 4, 0x2067 | 1ULL << 7);  // PS in a PML4E
  const auto end_at = [&](std::uint64_t gva) { return walk(kX86, memory, Frame{1}, Gva{gva}); };
  EXPECT_EQ(end_at(0x20'2000).end, WalkEnd::Absent);
  EXPECT_EQ(end_at(0x20'2000).level, 1U);
  EXPECT_EQ(end_at(0x80'0000'0000).end, WalkEnd::Absent);
  EXPECT_EQ(end_at(0x80'0000'0000).level, 4U);
  EXPECT_EQ(end_at(0x3F'F000).end, WalkEnd::NonPresent);
  EXPECT_EQ(end_at(0x3F'F000).last().value, 0x000F'FFFF'FFF5'4100U);
  EXPECT_EQ(end_at(0x200'0000'0000).end, WalkEnd::Malformed);
  const Walk unreadable = end_at(0x180'0000'5000);
  EXPECT_EQ(unreadable.end, WalkEnd::Unreadable);
  EXPECT_EQ(unreadable.count, 2U);
  EXPECT_EQ(unreadable.last(), (WalkStep{Gpa{0xBAD'0000}, 0, 3}));
  const std::uint64_t before = memory.entries_read();
  const Walk non_canonical = end_at(0x8000'0000'0000);
  EXPECT_EQ(non_canonical, Walk{});
  EXPECT_EQ(memory.entries_read(), before) << "nothing was read";
  for (const std::uint64_t gva : {0x20'2000ULL, 0x3F'F000ULL, 0x180'0000'5000ULL}) {
    EXPECT_EQ(end_at(gva).permissions, kNone);
    EXPECT_EQ(end_at(gva).output, Gpa{});
    EXPECT_EQ(end_at(gva).size, 0U);
  }
}

TEST(X86Walk, FiveLevels) {
  FakeMemory memory;
  memory.set(1, 1, 0x2067);
  memory.set(1, 511, 0x2067);
  memory.set(2, 0, 0x3067);
  memory.set(3, 0, 0x4067);
  memory.set(4, 0, 0x5067);
  memory.set(5, 7, 0xAA065 | kNx);
  Recorder seen;
  EXPECT_EQ(visit(kX86Five, memory, Frame{1}, Half::Lower, seen), (VisitSummary{9, false}));
  EXPECT_THAT(seen.leaves, ElementsAre(LeafMapping{Gva{0x0001'0000'0000'7000}, Gpa{0xAA000}, 0x1000,
                                                   kR, Gpa{0x5038}, 0xAA065 | kNx, 1},
                                       LeafMapping{Gva{0xFFFF'0000'0000'7000}, Gpa{0xAA000}, 0x1000,
                                                   kR, Gpa{0x5038}, 0xAA065 | kNx, 1}));
  const Walk walk = arch::walk(kX86Five, memory, Frame{1}, Gva{0x0001'0000'0000'7123});
  EXPECT_EQ(walk.count, 5U);
  EXPECT_EQ(walk.output, Gpa{0xAA123});
  // The same root read with four levels is another address space: one table fewer.
  EXPECT_EQ(arch::walk(kX86, memory, Frame{1}, Gva{0x0001'0000'0000'7123}).end,
            WalkEnd::NonCanonical);
}

TEST(X86Walk, PermissionsCombineOverAllLevels) {
  // Each level alone takes each right away; 4^4 combinations of one page.
  constexpr std::uint64_t kTake[] = {0x7, 0x3, 0x5, 0x7 | kNx};  // all, no U/S, no R/W, NX
  for (unsigned choice = 0; choice < 256; ++choice) {
    FakeMemory memory;
    bool user = true;
    bool write = true;
    bool exec = true;
    for (unsigned level = 4; level >= 1; --level) {
      const unsigned what = choice >> (2 * (level - 1)) & 3;
      memory.set(5 - level, 0, (6 - level) << 12 | kTake[what]);
      user = user && what != 1;
      write = write && what != 2;
      exec = exec && what != 3;
    }
    const Walk walk = arch::walk(kX86, memory, Frame{1}, Gva{0});
    ASSERT_EQ(walk.end, WalkEnd::Leaf);
    ASSERT_EQ(walk.permissions, (Permissions{user, user && write, user && exec, 0})) << choice;
  }
}

/// Root 1 (TTBR0); pages under 2, 3, 4, a 2 MiB and a 1 GiB block.
FakeMemory arm_tables() {
  FakeMemory memory;
  memory.set(1, 0, 0x2003);
  memory.set(1, 511, 0x5003 | 1ULL << 61);  // APTable: nothing for EL0's data accesses
  memory.set(2, 0, 0x3003);
  memory.set(2, 2, 0x8000'0000 | 0x741 | kUxn);  // 1 GiB
  memory.set(3, 1, 0x4003 | 1ULL << 60);         // UXNTable
  memory.set(3, 2, 0x60'0000 | 0x7C1);           // 2 MiB
  memory.set(4, 0, 0xAA000 | 0x7C3);
  memory.set(4, 1, 0xAB000 | 0xF43 | 1ULL << 52 | kUxn);
  memory.set(4, 2, 0xAC000 | 0x7C1);  // reserved encoding
  memory.set(4, 511, 0xAD000 | 0xF80 | kUxn);
  memory.set(5, 0, 0x6003);
  memory.set(6, 0, 0x60'0000 | 0x741);
  memory.set(6, 1, 0x20'0000'0003);  // no such memory
  return memory;
}

TEST(ArmWalk, WholeRootGivesTheWholeList) {
  const FakeMemory memory = arm_tables();
  Recorder seen;
  const VisitSummary summary = visit(kArm, memory, Frame{1}, Half::Lower, seen);
  EXPECT_EQ(summary, (VisitSummary{7, false}));
  EXPECT_THAT(
      seen.lines,
      ElementsAre("table 0x1 level 4 at 0x0", "table 0x2 level 3 at 0x0",
                  "table 0x3 level 2 at 0x0", "table 0x4 level 1 at 0x200000", "leaf 0x200000",
                  "leaf 0x201000", "malformed 0x202000 slot 0x4010 value 0xac7c1 level 1",
                  "non-present 0x3ff000 slot 0x4ff8 value 0x400000000adf80 level 1",
                  "leaf 0x400000", "leaf 0x80000000", "table 0x5 level 3 at 0xff8000000000",
                  "table 0x6 level 2 at 0xff8000000000", "leaf 0xff8000000000",
                  "unreadable 0x2000000 level 1 at 0xff8000200000"));
  EXPECT_THAT(
      seen.leaves,
      ElementsAre(
          LeafMapping{Gva{0x20'0000}, Gpa{0xAA000}, 0x1000, kR, Gpa{0x4000}, 0xAA7C3, 1},
          LeafMapping{Gva{0x20'1000}, Gpa{0xAB000}, 0x1000, kRw, Gpa{0x4008},
                      0xABF43 | 1ULL << 52 | kUxn, 1},
          LeafMapping{Gva{0x40'0000}, Gpa{0x60'0000}, 0x20'0000, kRx, Gpa{0x3010}, 0x6007C1, 2},
          LeafMapping{Gva{0x8000'0000}, Gpa{0x8000'0000}, 0x4000'0000, kRw, Gpa{0x2010},
                      0x8000'0741 | kUxn, 3},
          LeafMapping{Gva{0xFF80'0000'0000}, Gpa{0x60'0000}, 0x20'0000,
                      Permissions{false, false, true, 0}, Gpa{0x6000}, 0x600741, 2}));
}

TEST(ArmWalk, UpperHalfHasItsOwnRoot) {
  const FakeMemory memory = arm_tables();
  Recorder seen;
  visit(kArm, memory, Frame{1}, Half::Upper, seen);
  ASSERT_EQ(seen.leaves.size(), 5U);
  EXPECT_EQ(seen.leaves.front().gva, Gva{0xFFFF'0000'0020'0000});
  EXPECT_EQ(seen.leaves.back().gva, Gva{0xFFFF'FF80'0000'0000});
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0xFFFF'0000'0020'1004}).output, Gpa{0xAB004});
}

TEST(ArmWalk, ThirtyNineBitsStartALevelLower) {
  const FakeMemory memory = arm_tables();
  Recorder seen;
  EXPECT_EQ(visit(kArm39, memory, Frame{2}, Half::Upper, seen), (VisitSummary{3, false}));
  EXPECT_EQ(seen.leaves.front().gva, Gva{0xFFFF'FF80'0020'0000});
  const Walk walk = arch::walk(kArm39, memory, Frame{2}, Gva{0x20'1ABC});
  EXPECT_EQ(walk.end, WalkEnd::Leaf);
  EXPECT_EQ(walk.count, 3U);
  EXPECT_EQ(walk.output, Gpa{0xABABC});
  EXPECT_EQ(arch::walk(kArm39, memory, Frame{2}, Gva{0x80'0000'0000}).end, WalkEnd::NonCanonical);
}

TEST(ArmWalk, SmallRootEndsAfterItsEntries) {
  FakeMemory memory;
  memory.set(1, 0, 0x2003);
  memory.set(1, 31, 0x2003);
  memory.set(1, 32, 0x2003);  // behind the root: not part of it
  memory.set(2, 0, 0x8000'0000 | 0x741);
  for (const Half half : {Half::Lower, Half::Upper}) {
    Recorder seen;
    EXPECT_EQ(visit(kArmSmallRoot, memory, Frame{1}, half, seen), (VisitSummary{3, false}));
    const std::uint64_t base = half == Half::Lower ? 0 : 0xFFFF'F000'0000'0000;
    ASSERT_EQ(seen.leaves.size(), 2U);
    EXPECT_EQ(seen.leaves[0].gva, Gva{base});
    EXPECT_EQ(seen.leaves[1].gva, Gva{base + (31ULL << 39)});
    for (const LeafMapping& leaf : seen.leaves) {
      const Walk walk = arch::walk(kArmSmallRoot, memory, Frame{1}, leaf.gva);
      EXPECT_EQ(walk.output, leaf.gpa);
      EXPECT_EQ(walk.last().slot, leaf.slot);
    }
  }
}

TEST(ArmWalk, AHalfThatIsOffIsNotRead) {
  const FakeMemory memory = arm_tables();
  const arm64::Format off(16 | 16ULL << 16 | 2ULL << 30 | 5ULL << 32 | 1ULL << 7);
  Recorder seen;
  EXPECT_EQ(visit(off, memory, Frame{1}, Half::Lower, seen), VisitSummary{});
  EXPECT_EQ(walk(off, memory, Frame{1}, Gva{0x20'0000}).end, WalkEnd::NonCanonical);
  EXPECT_EQ(memory.tables_read() + memory.entries_read(), 0U);
}

TEST(ArmWalk, PermissionsCombineOverAllLevels) {
  // What each level takes: nothing, EL0 data, EL0 writes, EL0 execution.
  constexpr std::uint64_t kTable[] = {0, 1ULL << 61, 1ULL << 62, 1ULL << 60};
  constexpr std::uint64_t kPage[] = {0x40, 0, 0xC0, 0x40 | kUxn};
  for (unsigned choice = 0; choice < 256; ++choice) {
    FakeMemory memory;
    bool data = true;
    bool write = true;
    bool exec = true;
    for (unsigned level = 4; level >= 1; --level) {
      const unsigned what = choice >> (2 * (level - 1)) & 3;
      memory.set(5 - level, 0, (6 - level) << 12 | 3 | (level == 1 ? kPage : kTable)[what]);
      data = data && what != 1;
      write = write && what != 2;
      exec = exec && what != 3;
    }
    const Walk walk = arch::walk(kArm, memory, Frame{1}, Gva{0});
    ASSERT_EQ(walk.end, WalkEnd::Leaf);
    ASSERT_EQ(walk.permissions, (Permissions{data, data && write, exec, 0})) << choice;
  }
}

/// The hint that 16 neighbours translate alike (Arm ARM D8.7).
constexpr std::uint64_t kContiguous = 1ULL << 52;
constexpr std::size_t kRun = 16;

/// 64 KiB at gva 0x210000 as Linux maps it with the hint: 16 pages, r-x, over frames 0x90 on.
FakeMemory arm_run() {
  FakeMemory memory;
  memory.set(1, 0, 0x2003);
  memory.set(2, 0, 0x3003);
  memory.set(3, 1, 0x4003);
  for (std::size_t i = 0; i < kRun; ++i) {
    memory.set(4, 16 + i, (0x90 + i) << 12 | 0x7C3 | kContiguous);
  }
  return memory;
}
/// What a walk of arm_run() finds: each page for itself.
std::vector<LeafMapping> arm_run_leaves() {
  std::vector<LeafMapping> leaves;
  for (std::uint64_t i = 0; i < kRun; ++i) {
    leaves.push_back({Gva{0x21'0000 + i * kPageSize}, Gpa{(0x90 + i) << 12}, kPageSize, kRx,
                      Gpa{0x4080 + 8 * i}, (0x90 + i) << 12 | 0x7C3 | kContiguous, 1});
  }
  return leaves;
}

TEST(ArmWalk, ARunWithTheContiguousHintIsSixteenPages) {
  const FakeMemory memory = arm_run();
  Recorder seen;
  EXPECT_EQ(visit(kArm, memory, Frame{1}, Half::Lower, seen), (VisitSummary{4, false}));
  EXPECT_EQ(seen.lines.size(), 4 + kRun) << "nothing but tables and leaves";
  EXPECT_EQ(seen.leaves, arm_run_leaves());
  for (const LeafMapping& leaf : arm_run_leaves()) {
    const Walk walk = arch::walk(kArm, memory, Frame{1}, Gva{leaf.gva.value + 0x123});
    EXPECT_EQ(walk.output, Gpa{leaf.gpa.value + 0x123});
    EXPECT_EQ(walk.size, kPageSize);
    EXPECT_EQ(walk.permissions, kRx);
    EXPECT_EQ(walk.last(), (WalkStep{leaf.slot, leaf.value, 1}));
  }
}

TEST(ArmWalk, ARunOfBlocksIsSixteenBlocks) {
  FakeMemory memory;
  memory.set(1, 0, 0x2003);
  memory.set(2, 0, 0x3003);
  std::vector<LeafMapping> expected;
  for (std::uint64_t i = 0; i < kRun; ++i) {
    const std::uint64_t entry = 0x4000'0000 + i * 0x20'0000 + 0x741 + kUxn + kContiguous;
    memory.set(3, kRun + i, entry);
    expected.push_back({Gva{(kRun + i) * 0x20'0000}, Gpa{0x4000'0000 + i * 0x20'0000}, 0x20'0000,
                        kRw, Gpa{0x3080 + 8 * i}, entry, 2});
  }
  Recorder seen;
  EXPECT_EQ(visit(kArm, memory, Frame{1}, Half::Lower, seen), (VisitSummary{3, false}));
  EXPECT_EQ(seen.leaves, expected);
}

// A run whose entries do not fit together is a mistake of the kernel's; a CPU may then use any of
// them for all 16 (D8.7, constrained unpredictable). The walk tells what each entry says.
TEST(ArmWalk, ABrokenRunIsWhatEachEntrySays) {
  FakeMemory memory = arm_run();
  std::vector<LeafMapping> expected = arm_run_leaves();
  const auto write = [&](std::size_t i, std::uint64_t entry) {
    memory.set(4, 16 + i, entry);
    expected[i].value = entry;
  };
  write(2, 0xBAD000 | 0x7C3 | kContiguous);  // not the neighbours' memory
  expected[2].gpa = Gpa{0xBAD000};
  write(5, 0x95000 | 0x7C3);                       // no hint
  write(7, 0x97000 | 0x743 | kUxn | kContiguous);  // other permissions
  expected[7].permissions = kRw;
  memory.set(4, 16 + 11, 0);                              // absent
  memory.set(4, 16 + 12, 0x9C000 | 0x7C2 | kContiguous);  // not valid
  memory.set(4, 16 + 13, 0x9D000 | 0x7C1 | kContiguous);  // reserved encoding
  expected.erase(expected.begin() + 11, expected.begin() + 14);
  Recorder seen;
  visit(kArm, memory, Frame{1}, Half::Lower, seen);
  EXPECT_EQ(seen.leaves, expected);
  EXPECT_THAT(seen.lines, testing::IsSupersetOf(
                              {"non-present 0x21c000 slot 0x40e0 value 0x1000000009c7c2 level 1",
                               "malformed 0x21d000 slot 0x40e8 value 0x1000000009d7c1 level 1"}));
  EXPECT_EQ(seen.lines.size(), 4 + kRun - 1) << "and one is absent";
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0x21'2000}).output, Gpa{0xBAD000});
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0x21'7000}).permissions, kRw);
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0x21'B000}).end, WalkEnd::Absent);
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0x21'C000}).end, WalkEnd::NonPresent);
  EXPECT_EQ(walk(kArm, memory, Frame{1}, Gva{0x21'D000}).end, WalkEnd::Malformed);
}

TEST(ArmWalk, ARunThatDoesNotStartWhereRunsStartIsWhatEachEntrySays) {
  // The hint counts from multiples of 64 KiB: two half runs, each over memory that no run has.
  FakeMemory memory;
  memory.set(1, 0, 0x2003);
  memory.set(2, 0, 0x3003);
  memory.set(3, 1, 0x4003);
  std::vector<LeafMapping> expected;
  for (std::uint64_t i = 0; i < kRun; ++i) {
    const std::uint64_t entry = (0x93 + i) << 12 | 0x7C3 | kContiguous;
    memory.set(4, 8 + i, entry);
    expected.push_back({Gva{0x20'8000 + i * kPageSize}, Gpa{(0x93 + i) << 12}, kPageSize, kRx,
                        Gpa{0x4040 + 8 * i}, entry, 1});
  }
  Recorder seen;
  visit(kArm, memory, Frame{1}, Half::Lower, seen);
  EXPECT_EQ(seen.leaves, expected);
}

// Hostile tables.

TEST(HostileWalk, SelfMapIsBoundedByTheBudget) {
  FakeMemory memory;
  for (std::size_t i = 0; i < kTableEntries; ++i) memory.set(1, i, 0x1067);
  const Walk walk = arch::walk(kX86, memory, Frame{1}, Gva{0x1234'5678});
  EXPECT_EQ(walk.end, WalkEnd::Leaf);
  EXPECT_EQ(walk.output, Gpa{0x1678}) << "the root maps itself as a page";
  Recorder seen;
  const VisitSummary summary =
      visit(kX86, memory, Frame{1}, Half::Lower, seen, {.table_budget = 1000});
  EXPECT_EQ(summary, (VisitSummary{1000, true}));
  EXPECT_EQ(memory.tables_read(), 1000U);
  // Root, one table of level 3, and level-1 tables under level-2 tables of 512 entries.
  EXPECT_EQ(seen.leaves.size(), (1000U - 2 - 2) * kTableEntries);
}

TEST(HostileWalk, OneSelfMappedSlotEndsWithoutABudget) {
  FakeMemory memory;
  memory.set(1, 510, 0x1067);
  Recorder seen;
  EXPECT_EQ(visit(kX86, memory, Frame{1}, Half::Lower, seen), (VisitSummary{4, false}));
  EXPECT_THAT(seen.leaves,
              ElementsAre(LeafMapping{Gva{0xFFFF'FF7F'BFDF'E000}, Gpa{0x1000}, 0x1000,
                                      Permissions{true, true, true, 0}, Gpa{0x1FF0}, 0x1067, 1}));
}

TEST(HostileWalk, BudgetIsExact) {
  const FakeMemory memory = x86_tables();
  for (std::uint64_t budget = 0; budget <= 10; ++budget) {
    Recorder seen;
    const VisitSummary summary =
        visit(kX86, memory, Frame{1}, Half::Lower, seen, {.table_budget = budget});
    EXPECT_EQ(summary.tables, std::min<std::uint64_t>(budget, 9));
    EXPECT_EQ(summary.budget_exceeded, budget < 9) << budget;
  }
}

TEST(HostileWalk, RootOutsideMemory) {
  const FakeMemory memory;
  Recorder seen;
  EXPECT_EQ(visit(kX86, memory, Frame{0xFF'FFFF'FFFF}, Half::Lower, seen),
            (VisitSummary{1, false}));
  EXPECT_THAT(seen.lines, ElementsAre("unreadable 0xffffffffff level 4 at 0x0"));
  EXPECT_EQ(walk(kArm, memory, Frame{0xF'FFFF'FFFF}, Gva{0}).end, WalkEnd::Unreadable);
}

TEST(HostileWalk, EmptyRootSaysOnlyThatItIsThere) {
  FakeMemory memory;
  memory.set(1, 0, 0);
  Recorder seen;
  EXPECT_EQ(visit(kArm, memory, Frame{1}, Half::Upper, seen), (VisitSummary{1, false}));
  EXPECT_THAT(seen.lines, ElementsAre("table 0x1 level 4 at 0xffff000000000000"));
  EXPECT_THAT(seen.leaves, IsEmpty());
}

/// Walks and visits must tell the same story: each leaf that visit() finds is what walk() finds.
template <typename Format>
void expect_agreement(const Format& format, const FakeMemory& memory, Frame root, Half half) {
  Recorder seen;
  visit(format, memory, root, half, seen);
  ASSERT_FALSE(seen.leaves.empty());
  for (const LeafMapping& leaf : seen.leaves) {
    for (const std::uint64_t offset : {std::uint64_t{0}, leaf.size / 2 + 1, leaf.size - 1}) {
      const Walk walk = arch::walk(format, memory, root, Gva{leaf.gva.value + offset});
      EXPECT_EQ(walk.end, WalkEnd::Leaf);
      EXPECT_EQ(walk.output, Gpa{leaf.gpa.value + offset});
      EXPECT_EQ(walk.permissions, leaf.permissions);
      EXPECT_EQ(walk.size, leaf.size);
      EXPECT_EQ(walk.last(), (WalkStep{leaf.slot, leaf.value, leaf.level}));
    }
  }
}

TEST(WalkAndVisit, Agree) {
  expect_agreement(kX86, x86_tables(), Frame{1}, Half::Lower);
  expect_agreement(kArm, arm_tables(), Frame{1}, Half::Lower);
  expect_agreement(kArm, arm_tables(), Frame{1}, Half::Upper);
  expect_agreement(kArm39, arm_tables(), Frame{2}, Half::Upper);
}

TEST(AnyFormat, ForwardsToItsFormat) {
  const AnyFormat x86 = kX86Five;
  const AnyFormat arm = kArm;
  EXPECT_EQ(arch_of(x86), Arch::X86_64);
  EXPECT_EQ(arch_of(arm), Arch::Arm64);
  EXPECT_EQ(top_level(x86, Half::Lower), 5U);
  EXPECT_EQ(top_level(arm, Half::Upper), 4U);
  EXPECT_EQ(user_slots(x86, Half::Lower), 256U);
  EXPECT_EQ(user_slots(arm, Half::Lower), 512U);
  EXPECT_EQ(hardware_bits(x86, 1), 0x60U);
  EXPECT_EQ(hardware_bits(arm, 1), 0U);
  EXPECT_TRUE(is_upper(x86, Gva{0xFFFF'8000'0000'0000}));
  EXPECT_FALSE(is_upper(arm, Gva{0x1000}));
  EXPECT_EQ(decode(x86, 0x1005, 1, Half::Lower).output, Gpa{0x1000});
  EXPECT_EQ(decode(arm, 0x1001, 1, Half::Lower).kind, EntryKind::Malformed);
  const FakeMemory memory = arm_tables();
  EXPECT_EQ(walk(arm, memory, Frame{1}, Gva{0x20'1ABC}),
            walk(kArm, memory, Frame{1}, Gva{0x20'1ABC}));
  Recorder any;
  Recorder one;
  EXPECT_EQ(visit(arm, memory, Frame{1}, Half::Lower, any),
            visit(kArm, memory, Frame{1}, Half::Lower, one));
  EXPECT_EQ(any.lines, one.lines);
  EXPECT_EQ(any.leaves, one.leaves);
}

TEST(Arch, NamesRoundTrip) {
  EXPECT_STREQ(name_of(Arch::X86_64), "x86_64");
  EXPECT_STREQ(name_of(Arch::Arm64), "arm64");
  for (const Arch arch : kAllArchs) EXPECT_EQ(parse_arch(name_of(arch)), arch);
  EXPECT_EQ(parse_arch("aarch64"), std::nullopt);
  EXPECT_EQ(parse_arch(""), std::nullopt);
}

}  // namespace
}  // namespace sealvisor::arch
