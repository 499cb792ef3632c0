#include "vmm/model/table_scanner.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using arch::WalkEnd;
using event::Event;
using event::Kind;

class TableScanner : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override {
    scanner.set_format(guest.format);
    guest.learn_vdso();
  }
  /// A process that no one has been told of.
  Frame process() {
    const Frame root = guest.new_table();
    guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
    guest.map(root, Gva{FakeGuest::kVdsoPlace.value + 0x1000}, Frame{FakeGuest::kVdso.number + 1},
              {.exec = true});
    guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
    return root;
  }
  /// What the monitor sees when user mode is about to run on `root`.
  model::Look enter(Frame root) {
    scan(root);
    return guest.enter_user(root);
  }
  void scan(Frame root) {
    model::StoreSource source;
    source.icount = ++guest.icount;
    source.root = root.gpa().value;
    scanner.scan_user(root.gpa().value, source);
  }
  /// On x86-64 the upper half is that of the root scanned last, and there is no other register.
  void scan_upper(Frame root) {
    model::StoreSource source;
    source.icount = ++guest.icount;
    scanner.scan_upper(GetParam() == Arch::X86_64 ? 0 : root.gpa().value, source);
  }
  /// The root of the upper half where `root` is that of the user half.
  Frame upper_root(Frame root) { return GetParam() == Arch::X86_64 ? root : guest.new_table(); }
  /// A kernel that shows the user's level-1 table at an address of its own; the slot that links it.
  Gpa show_in_upper_half(Frame upper, Frame table) {
    const Frame level3 = guest.new_table();
    const Frame level2 = guest.new_table();
    guest.secret_store(upper.slot(300), table_entry(GetParam(), level3));
    guest.secret_store(level3.slot(0), table_entry(GetParam(), level2));
    guest.secret_store(level2.slot(0), table_entry(GetParam(), table));
    return level2.slot(0);
  }
  /// The entry of `level` on the way to `gva` under `root`.
  Gpa slot_on_way(Frame root, Gva gva, unsigned level) {
    const arch::Walk walk = arch::walk(guest.format, guest.memory, root, gva);
    return walk.steps[walk.steps[0].level - level].slot;
  }
  [[nodiscard]] std::size_t count(Kind kind) const {
    return static_cast<std::size_t>(
        std::count_if(guest.events.begin(), guest.events.end(),
                      [&](const Event& event) { return event.kind == kind; }));
  }
  /// All tables of a root that is done with: entries cleared, as exit does.
  void exit_process(Frame root) {
    for (auto& entry : guest.memory.tables[root]) entry = 0;
  }

  FakeGuest guest{GetParam()};
  model::TableScanner scanner{guest.memory, guest.memory.ram, guest};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, TableScanner, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(TableScanner, TellsAllOfANewRootAndNothingTwice) {
  const Frame root = process();
  const model::Look look = enter(root);
  EXPECT_EQ(count(Kind::RootLoad), 1U);
  EXPECT_EQ(count(Kind::TableAdded), 4U);  // one a level
  EXPECT_EQ(count(Kind::EntryFound), 6U);  // three links and three leaves
  EXPECT_EQ(look.transitions.size(), 3U);
  EXPECT_EQ(scanner.tables(), 4U);
  guest.events.clear();
  EXPECT_TRUE(enter(root).transitions.empty());
  EXPECT_TRUE(guest.events.empty());
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableScanner, TellsAChangedEntryWithOldAndNewValue) {
  const Frame root = process();
  enter(root);
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const std::uint64_t before = leaf_entry(GetParam(), FakeGuest::kVvar.gpa());
  guest.secret_store(slot, 0);
  guest.events.clear();
  const model::Look look = enter(root);
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].kind, Kind::SlotWrite);
  EXPECT_EQ(guest.events[0].gpa, slot.value);
  EXPECT_EQ(guest.events[0].old_value, before);
  EXPECT_EQ(guest.events[0].new_value, 0U);
  EXPECT_EQ(guest.events[0].level, 1U);
  EXPECT_EQ(guest.events[0].root, root.gpa().value);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].after.end, WalkEnd::Absent);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
}

TEST_P(TableScanner, TellsAChangeOfTheRootAndItsReturn) {
  const Frame root = process();
  enter(root);
  const Gpa slot = root.slot(9);
  for (const std::uint64_t value : {std::uint64_t{0xa00}, std::uint64_t{0}, std::uint64_t{0xa00}}) {
    guest.secret_store(slot, value);
    guest.events.clear();
    scan(root);
    ASSERT_EQ(guest.events.size(), 1U) << value;
    EXPECT_EQ(guest.events[0].new_value, value);
  }
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
}

TEST_P(TableScanner, FollowsATableThatIsLinkedAndOneThatIsNot) {
  const Frame root = process();
  enter(root);
  guest.events.clear();
  // Another 2 MiB: a new level-1 table.
  const Gva far{FakeGuest::kVdsoPlace.value + 0x400000};
  const Gpa slot = guest.leaf_slot(root, far);
  guest.secret_store(slot, leaf_entry(GetParam(), FakeGuest::kVdso.gpa()));
  const model::Look look = enter(root);
  EXPECT_EQ(count(Kind::TableAdded), 1U);
  ASSERT_EQ(look.new_elsewhere.size(), 1U);
  EXPECT_EQ(look.new_elsewhere[0].gva, far);
  // And away with it.
  const arch::Walk walk = arch::walk(guest.format, guest.memory, root, far);
  guest.secret_store(walk.steps[2].slot, 0);
  enter(root);
  EXPECT_EQ(count(Kind::TableRemoved), 1U);
  EXPECT_EQ(scanner.tables(), 4U);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableScanner, EndsAGenerationOnceTheUserHalfIsEmpty) {
  const Frame first = process();
  const Frame second = process();
  enter(first);
  enter(second);
  const std::uint64_t id = guest.spaces.find(first)->id;
  const arch::Table root = guest.memory.tables[first];
  exit_process(first);
  // No other root is loaded: the process was killed while it did not run.
  enter(second);
  EXPECT_EQ(guest.spaces.find(first), nullptr);
  EXPECT_EQ(guest.spaces.take_ended().at(0).space, id);
  EXPECT_EQ(scanner.tables(), 4U);
  // The next process gets the same root and the same tables.
  guest.memory.tables[first] = root;
  enter(first);
  ASSERT_NE(guest.spaces.find(first), nullptr);
  EXPECT_NE(guest.spaces.find(first)->id, id);
}

TEST_P(TableScanner, EndsAGenerationOfTheRootThatRanLast) {
  const Frame first = process();
  const Frame second = process();
  enter(first);
  exit_process(first);
  enter(second);
  EXPECT_EQ(guest.spaces.find(first), nullptr);
  EXPECT_EQ(scanner.tables(), 4U);
}

TEST_P(TableScanner, ARootThatIsEmptiedWhileNoOtherOneRunsIsTheSameSpace) {
  const Frame root = process();
  enter(root);
  const std::uint64_t id = guest.spaces.find(root)->id;
  exit_process(root);
  guest.events.clear();
  const model::Look look = enter(root);
  ASSERT_NE(guest.spaces.find(root), nullptr);
  EXPECT_EQ(guest.spaces.find(root)->id, id);
  EXPECT_EQ(look.transitions.size(), 3U);
  EXPECT_EQ(count(Kind::SlotWrite), 1U);
  EXPECT_EQ(count(Kind::TableRemoved), 3U);
  EXPECT_EQ(guest.events.size(), 4U);
}

TEST_P(TableScanner, ARootThatLinkedNothingIsKeptWhileAnotherRuns) {
  const Frame root = guest.new_table();
  const Frame other = process();
  enter(root);
  enter(other);
  guest.events.clear();
  enter(root);
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].kind, Kind::RootLoad);
  EXPECT_EQ(scanner.tables(), 5U);
}

TEST_P(TableScanner, ARootThatIsUsedAnewIsANewSpace) {
  const Frame root = process();
  const Frame other = process();
  enter(root);
  const std::uint64_t id = guest.spaces.find(root)->id;
  enter(other);
  // Freed and given to the next process, with tables of its own, between two entries.
  exit_process(root);
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  const model::Look look = enter(root);
  ASSERT_NE(guest.spaces.find(root), nullptr);
  EXPECT_NE(guest.spaces.find(root)->id, id);
  for (const auto& transition : look.transitions) EXPECT_TRUE(transition.baseline);
}

TEST_P(TableScanner, ARootThatOnlyLostOneTableIsTheSameSpace) {
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  guest.map(root, Gva{0x400000}, FakeGuest::kOther);
  const Frame other = process();
  enter(root);
  const std::uint64_t id = guest.spaces.find(root)->id;
  enter(other);
  guest.secret_store(root.slot((FakeGuest::kVdsoPlace.value >> arch::level_shift(4)) & 511), 0);
  const model::Look look = enter(root);
  EXPECT_EQ(guest.spaces.find(root)->id, id);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].after.end, WalkEnd::Absent);
}

TEST_P(TableScanner, AFrameThatMovedToAnotherRootIsReadAnew) {
  const Frame first = process();
  const Frame second = process();
  const Frame third = process();
  enter(first);
  const std::uint64_t id = guest.spaces.find(first)->id;
  enter(third);
  enter(second);
  // The first one's level-1 table, freed and filled for the second one.
  const Frame table = arch::frame_of(guest.leaf_slot(first, FakeGuest::kVvarPlace));
  guest.secret_store(slot_on_way(first, FakeGuest::kVvarPlace, 2), 0);
  guest.memory.tables[table] = {};
  guest.memory.tables[table][7] = leaf_entry(GetParam(), FakeGuest::kOther.gpa());
  const Gpa link = slot_on_way(second, FakeGuest::kVvarPlace, 2);
  guest.secret_store(Gpa{link.value + 8}, table_entry(GetParam(), table));
  guest.events.clear();
  enter(second);
  EXPECT_EQ(guest.rewalk(second).mismatches, 0U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
  // Of the first one only the root is left, the third one has nothing to do with it.
  EXPECT_EQ(count(Kind::TableRemoved), 3U);
  EXPECT_EQ(scanner.tables(), 1U + 5U + 4U);
  // The first one lost it, and is told so.
  guest.events.clear();
  const model::Look look = enter(first);
  EXPECT_EQ(guest.rewalk(first).mismatches, 0U);
  EXPECT_EQ(look.transitions.size(), 3U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
  EXPECT_EQ(guest.spaces.find(first)->id, id);
  EXPECT_EQ(count(Kind::TableAdded), 2U) << "levels 3 and 2, which it still links";
  EXPECT_EQ(scanner.tables(), 3U + 5U + 4U);
}

TEST_P(TableScanner, ARootThatBecameATableOfAnotherOneIsARootNoMore) {
  const Frame first = process();
  const Frame second = process();
  enter(first);
  enter(second);
  const Gpa link = slot_on_way(second, FakeGuest::kVvarPlace, 2);
  guest.secret_store(Gpa{link.value + 8}, table_entry(GetParam(), first));
  guest.events.clear();
  enter(second);
  EXPECT_EQ(guest.spaces.find(first), nullptr);
  EXPECT_EQ(count(Kind::TableRemoved), 4U);
  EXPECT_EQ(count(Kind::TableAdded), 1U);
  EXPECT_EQ(scanner.tables(), 5U);
  EXPECT_EQ(guest.rewalk(second).mismatches, 0U);
}

TEST_P(TableScanner, TellsThatATableWasClearedAsAWhole) {
  const Frame root = process();
  enter(root);
  guest.memory.tables[arch::frame_of(guest.leaf_slot(root, FakeGuest::kVvarPlace))] = {};
  guest.events.clear();
  EXPECT_EQ(enter(root).transitions.size(), 3U);
  EXPECT_EQ(count(Kind::SlotWrite), 3U);
}

TEST_P(TableScanner, ATableThatIsLinkedAgainIsReadAnew) {
  const Frame root = process();
  enter(root);
  const Gpa link = slot_on_way(root, FakeGuest::kVvarPlace, 3);
  const std::uint64_t entry = guest.entry_at(link);
  const Gpa below = slot_on_way(root, FakeGuest::kVvarPlace, 2);
  guest.secret_store(link, 0);
  enter(root);
  EXPECT_EQ(scanner.tables(), 2U);
  // What it links stands at another place of it now.
  guest.secret_store(Gpa{below.value - 8}, guest.entry_at(below));
  guest.secret_store(below, 0);
  guest.secret_store(link, entry);
  enter(root);
  EXPECT_EQ(scanner.tables(), 4U);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
}

TEST_P(TableScanner, ATableThatChangedAndIsLinkedOnceMoreTellsTheChange) {
  const Frame root = process();
  enter(root);
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  // At level 2 too, which comes first.
  const Frame level3 = arch::frame_of(slot_on_way(root, FakeGuest::kVvarPlace, 3));
  guest.secret_store(level3.slot(0), table_entry(GetParam(), arch::frame_of(slot)));
  const std::uint64_t before = guest.entry_at(slot);
  guest.secret_store(slot, 0);
  guest.events.clear();
  enter(root);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  const auto told = std::find_if(guest.events.begin(), guest.events.end(), [&](const Event& event) {
    return event.kind == Kind::SlotWrite && event.gpa == slot.value;
  });
  ASSERT_NE(told, guest.events.end());
  EXPECT_EQ(told->old_value, before);
  EXPECT_EQ(told->new_value, 0U);
}

TEST_P(TableScanner, FollowsTheUpperHalfByItself) {
  const Frame root = process();
  const Frame upper = upper_root(root);
  const Frame level3 = guest.new_table();
  guest.secret_store(upper.slot(300), table_entry(GetParam(), level3));
  enter(root);
  scan_upper(upper);
  const std::size_t with_root = GetParam() == Arch::X86_64 ? 0 : 1;
  EXPECT_EQ(scanner.tables(), 4U + with_root + 1U) << "nothing of the user half";
  // Twice, for no look at the user half comes between.
  for (const std::uint64_t value : {std::uint64_t{0xa00}, std::uint64_t{0xb00}}) {
    guest.secret_store(upper.slot(301), value);
    guest.events.clear();
    scan_upper(upper);
    ASSERT_EQ(guest.events.size(), 1U) << value;
    EXPECT_EQ(guest.events[0].kind, Kind::SlotWrite);
    EXPECT_EQ(guest.events[0].gpa, upper.slot(301).value);
    EXPECT_EQ(guest.events[0].new_value, value);
    EXPECT_EQ(guest.events[0].flags, event::kUpperHalf);
    EXPECT_EQ(guest.events[0].icount, guest.icount);
  }
  guest.unmap(root, FakeGuest::kVvarPlace);
  guest.events.clear();
  enter(root);
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].level, 1U);
  EXPECT_EQ(guest.events[0].flags, 0U);
  guest.secret_store(upper.slot(300), 0);
  guest.events.clear();
  scan_upper(upper);
  ASSERT_EQ(guest.events.size(), 2U);
  EXPECT_EQ(guest.events[1].kind, Kind::TableRemoved);
  EXPECT_EQ(guest.events[1].gpa, level3.gpa().value);
  EXPECT_EQ(guest.events[1].level, 3U);
  EXPECT_EQ(guest.events[1].new_value, 1U);
  EXPECT_EQ(scanner.tables(), 4U + with_root);
}

TEST_P(TableScanner, ReadsNothingOfWhatAnotherRootLinks) {
  const Frame first = process();
  const Frame second = process();
  enter(first);
  enter(second);
  guest.secret_store(guest.leaf_slot(first, FakeGuest::kVvarPlace), 0);
  guest.events.clear();
  enter(second);
  EXPECT_TRUE(guest.events.empty());
  EXPECT_EQ(enter(first).transitions.size(), 1U);
}

TEST_P(TableScanner, ATableThatLinksItselfIsVisitedOnceALevel) {
  const Frame root = process();
  guest.secret_store(root.slot(3), table_entry(GetParam(), root));
  enter(root);
  const std::size_t tables = scanner.tables();
  EXPECT_LE(tables, 16U);
  guest.events.clear();
  enter(root);
  EXPECT_TRUE(guest.events.empty());
  EXPECT_EQ(scanner.tables(), tables);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableScanner, ATableThatLinksItselfAndChangesIsFollowedWhole) {
  const Frame root = process();
  const Frame upper = upper_root(root);
  guest.secret_store(upper.slot(300), table_entry(GetParam(), upper));
  enter(root);
  scan_upper(upper);
  // Both halves of the table change, so that it is compared while what it links is visited.
  for (std::uint64_t round = 0; round < 3; ++round) {
    const Frame below = guest.new_table();
    guest.memory.tables[below][round] = leaf_entry(GetParam(), FakeGuest::kOther.gpa());
    guest.secret_store(upper.slot(301 + round), table_entry(GetParam(), below));
    scan_upper(upper);
    guest.secret_store(upper.slot(200 + round), 0xa00);
    enter(root);
    scan_upper(upper);
    EXPECT_EQ(guest.rewalk(root).mismatches, 0U) << round;
    EXPECT_EQ(guest.mirror.broken_links(), 0U) << round;
  }
  guest.events.clear();
  enter(root);
  scan_upper(upper);
  EXPECT_TRUE(guest.events.empty());
}

TEST_P(TableScanner, SharesATableWithTheUpperHalf) {
  const Frame root = process();
  const Frame upper = upper_root(root);
  const Frame shared = arch::frame_of(guest.leaf_slot(root, FakeGuest::kVvarPlace));
  const Gpa link = show_in_upper_half(upper, shared);
  enter(root);
  scan_upper(upper);
  const model::Look look = guest.enter_user(root);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  EXPECT_EQ(look.new_elsewhere.size(), 3U) << "each page of the shared table";
  EXPECT_TRUE(look.transitions.empty());
  guest.events.clear();
  enter(root);
  scan_upper(upper);
  EXPECT_TRUE(guest.events.empty());
  // What the kernel shows no more, the process still has.
  guest.secret_store(link, 0);
  scan_upper(upper);
  EXPECT_EQ(count(Kind::TableRemoved), 1U);
  guest.unmap(root, FakeGuest::kVvarPlace);
  EXPECT_EQ(enter(root).transitions.size(), 1U);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableScanner, TablesThatAllLinkEachOtherCountOnceALevel) {
  const Frame root = process();
  enter(root);
  // 512^3 ways to a leaf through 256 frames.
  for (std::uint64_t i = 0; i < 256; ++i) {
    guest.secret_store(root.slot(i), table_entry(GetParam(), Frame{0x200 + i}));
    for (std::uint64_t j = 0; j < 512; ++j) {
      guest.memory.tables[Frame{0x200 + i}][j] = table_entry(GetParam(), Frame{0x200 + j % 256});
    }
  }
  scan(root);
  EXPECT_EQ(scanner.tables(), 1U + 3 * 256U);
  EXPECT_EQ(count(Kind::Limit), 0U);
}

TEST_P(TableScanner, TellsAChangeOfASharedTableForBothHalves) {
  const Frame root = process();
  const Frame upper = upper_root(root);
  const Frame shared = arch::frame_of(guest.leaf_slot(root, FakeGuest::kVvarPlace));
  show_in_upper_half(upper, shared);
  enter(root);
  scan_upper(upper);
  (void)guest.enter_user(root);
  guest.secret_store(shared.slot(0), leaf_entry(GetParam(), FakeGuest::kVdso.gpa()));
  guest.events.clear();
  // The user half comes first, and the change is told once.
  scan(root);
  scan_upper(upper);
  ASSERT_EQ(count(Kind::SlotWrite), 1U);
  EXPECT_EQ(guest.events[guest.events.size() - 1].flags, event::kUpperHalf);
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 2U);
  EXPECT_NE(arch::is_upper(guest.format, look.new_elsewhere[0].gva),
            arch::is_upper(guest.format, look.new_elsewhere[1].gva));
}

TEST_P(TableScanner, LooksAtAllOfARootThatIsATableOfTheUserHalfToo) {
  const Frame root = process();
  guest.secret_store(root.slot(3), table_entry(GetParam(), root));
  enter(root);
  // As a table of level 3 the root has no upper half: this is a place of user mode's.
  const Gva place{(3ULL << arch::level_shift(4)) | (300ULL << arch::level_shift(3))};
  const Frame level2 = guest.new_table();
  const Frame level1 = guest.new_table();
  guest.memory.tables[level2][0] = table_entry(GetParam(), level1);
  guest.memory.tables[level1][0] = leaf_entry(GetParam(), FakeGuest::kVdso.gpa(), {.write = true});
  guest.secret_store(root.slot(300), table_entry(GetParam(), level2));
  ASSERT_EQ(arch::walk(guest.format, guest.memory, root, place).end, WalkEnd::Leaf);
  guest.events.clear();
  const model::Look look = enter(root);
  const auto found =
      std::find_if(look.new_elsewhere.begin(), look.new_elsewhere.end(),
                   [&](const model::Elsewhere& elsewhere) { return elsewhere.gva == place; });
  ASSERT_NE(found, look.new_elsewhere.end());
  EXPECT_TRUE(found->permissions.write);
  const auto told = std::find_if(guest.events.begin(), guest.events.end(), [&](const Event& event) {
    return event.gpa == root.slot(300).value;
  });
  ASSERT_NE(told, guest.events.end());
  EXPECT_EQ(told->flags, GetParam() == Arch::X86_64 ? event::kUpperHalf : 0)
      << "it translates addresses of the upper half too, on x86-64";
}

TEST(TableScannerX86, FollowsWhatItFoundInTheUserHalfWhileItLookedAtTheUpperOne) {
  FakeGuest guest(Arch::X86_64);
  model::TableScanner scanner(guest.memory, guest.memory.ram, guest);
  scanner.set_format(guest.format);
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  guest.secret_store(root.slot(300), table_entry(Arch::X86_64, root));
  scanner.scan_user(root.gpa().value, {});
  scanner.scan_upper(0, {});
  // The upper half has the root as a table of level 3, and so all of it is looked at.
  const Frame below = guest.new_table();
  guest.secret_store(root.slot(200), table_entry(Arch::X86_64, below));
  scanner.scan_upper(0, {});
  guest.events.clear();
  scanner.scan_user(root.gpa().value, {});
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].kind, Kind::TableAdded);
  EXPECT_EQ(guest.events[0].gpa, below.gpa().value);
  EXPECT_EQ(guest.events[0].level, 3U);
  EXPECT_EQ(guest.events[0].new_value, 0U);
}

TEST(TableScannerX86, PassesOverWhatTheHardwareSets) {
  FakeGuest guest(Arch::X86_64);
  model::TableScanner scanner(guest.memory, guest.memory.ram, guest);
  scanner.set_format(guest.format);
  const Frame root = guest.new_table();
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  scanner.scan_user(root.gpa().value, {});
  guest.events.clear();
  // Accessed and dirty: SDM vol. 3A 4.8.
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const std::uint64_t entry = leaf_entry(Arch::X86_64, FakeGuest::kVvar.gpa());
  guest.secret_store(slot, entry | 0x60);
  scanner.scan_user(root.gpa().value, {});
  EXPECT_TRUE(guest.events.empty());
  // A change beside them is told, with them in it.
  guest.secret_store(slot, entry | 0x62);
  scanner.scan_user(root.gpa().value, {});
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].old_value, entry);
  EXPECT_EQ(guest.events[0].new_value, entry | 0x62);
}

}  // namespace
}  // namespace sealvisor::test
