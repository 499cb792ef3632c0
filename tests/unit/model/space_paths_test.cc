// Which stores concern which pages, and what a page looks like at the end of its path.
#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/space.h"

namespace sealvisor::test {
namespace {

using arch::WalkEnd;
using model::MappingPage;

constexpr MappingPage kFirstPage{0, 0};
constexpr MappingPage kSecondPage{0, 1};
constexpr MappingPage kData{1, 0};
constexpr MappingPage kNever{1, 1};
const Gva kSecondPlace{0x1000'0000};
/// The vdso's second page is the first one of another level-1 table.
const Gva kAcross{0x7fff'ffbf'f000};
const Gva kDataPlace{0x7fff'ff00'0000};

class SpacePaths : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override { guest.learn_vdso(); }
  /// A process whose vdso has its pages in two tables of level 1, and its data in a third one.
  Frame process_across_tables() {
    const Frame root = guest.new_table();
    guest.map(root, kAcross, FakeGuest::kVdso, {.exec = true});
    guest.map(root, Gva{kAcross.value + 0x1000}, Frame{FakeGuest::kVdso.number + 1},
              {.exec = true});
    guest.map(root, kDataPlace, FakeGuest::kVvar);
    guest.load_root(root);
    guest.enter_user(root);
    return root;
  }
  /// Pages of `space` that the changes since the last call concern, in order. All are told as of
  /// their places.
  std::vector<MappingPage> concerned(Frame root) {
    const model::AddressSpace& space = *guest.spaces.find(root);
    std::vector<MappingPage> pages;
    for (const model::MappingChange& change : guest.changes) {
      if (change.space != space.id) continue;
      pages.push_back(change.page);
      EXPECT_EQ(change.gva, space.placement(change.page.mapping)->gva(change.page.page));
    }
    std::sort(pages.begin(), pages.end(), [](const MappingPage& one, const MappingPage& other) {
      return std::tie(one.mapping, one.page) < std::tie(other.mapping, other.page);
    });
    guest.changes.clear();
    return pages;
  }
  /// The same value again: concerns the pages below and changes nothing.
  std::vector<MappingPage> concerned_by_slot(Frame root, Gpa slot) {
    guest.changes.clear();
    guest.store(slot, guest.entry_at(slot));
    return concerned(root);
  }
  [[nodiscard]] std::uint64_t without_hardware_bits(std::uint64_t entry, unsigned level) const {
    return entry & ~arch::hardware_bits(guest.format, level);
  }
  FakeGuest guest{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, SpacePaths, testing::ValuesIn(arch::kAllArchs), ArchName{});

/// The tables above are every page's; what becomes of one page's path is nothing to the others.
TEST_P(SpacePaths, APageThatLosesItsTableLeavesThePathsOfTheOthers) {
  const Frame root = process_across_tables();
  const Gpa top = root.slot(kAcross.value >> 39);
  const Gpa own = guest.slot_at(root, kAcross, 2);
  const std::uint64_t table = guest.entry_at(own);
  const std::vector all{kFirstPage, kSecondPage, kData, kNever};
  EXPECT_EQ(concerned_by_slot(root, top), all);
  EXPECT_EQ(concerned_by_slot(root, own), std::vector{kFirstPage});
  for (int i = 0; i < 2; ++i) {
    guest.store(own, 0);
    guest.enter_user(root);
    EXPECT_EQ(concerned_by_slot(root, top), all) << i;
    EXPECT_EQ(concerned_by_slot(root, own), std::vector{kFirstPage}) << i;
    guest.store(own, table);
    guest.enter_user(root);
    EXPECT_EQ(concerned_by_slot(root, top), all) << i;
    EXPECT_EQ(concerned_by_slot(root, own), std::vector{kFirstPage}) << i;
    EXPECT_EQ(concerned_by_slot(root, guest.leaf_slot(root, kAcross)), std::vector{kFirstPage})
        << i;
  }
}

/// A table may stay, linked elsewhere: what is stored there is nothing to the page any more.
TEST_P(SpacePaths, ASlotThatNoPathLeadsThroughAnyMoreConcernsNoPage) {
  const Frame root = process_across_tables();
  const Gpa own = guest.slot_at(root, kAcross, 2);
  const Gpa leaf = guest.leaf_slot(root, kAcross);
  guest.store(guest.slot_at(root, kSecondPlace, 2), guest.entry_at(own));
  guest.store(own, 0);
  guest.enter_user(root);
  guest.changes.clear();
  guest.store(leaf, 0);
  EXPECT_TRUE(guest.changes.empty());
  // And where it maps a frame of the mapping, that is a new place like any other.
  guest.store(leaf, leaf_entry(GetParam(), FakeGuest::kVvar.gpa()));
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].page, kData);
  EXPECT_EQ(guest.changes[0].gva, Gva{0});
  EXPECT_EQ(guest.changes[0].space, guest.spaces.find(root)->id);
}

/// The leaf's slot stays the same while the way to it becomes another one.
TEST_P(SpacePaths, FollowsAPathThatChangesInTheMiddle) {
  const Frame root = process_across_tables();
  const Gpa middle = guest.slot_at(root, kAcross, 3);
  const Gpa old_slot = guest.slot_at(root, kAcross, 2);
  const Frame copy = guest.new_table();
  guest.memory.tables[copy] = guest.memory.tables[arch::frame_of(old_slot)];
  guest.store(guest.slot_at(root, kSecondPlace, 3),
              guest.entry_at(middle));  // the old one stays linked
  guest.store(middle, table_entry(GetParam(), copy));
  guest.enter_user(root);
  EXPECT_EQ(concerned_by_slot(root, copy.slot(arch::slot_index(old_slot))),
            std::vector{kFirstPage});
  EXPECT_TRUE(concerned_by_slot(root, old_slot).empty());
  EXPECT_EQ(concerned_by_slot(root, guest.leaf_slot(root, kAcross)), std::vector{kFirstPage});
}

/// Two spaces with the same tables: each has its own paths through them.
TEST_P(SpacePaths, ASlotConcernsEverySpaceWhosePathsLeadThroughIt) {
  const Frame root = process_across_tables();
  const Gpa top = root.slot(kAcross.value >> 39);
  const Frame second = guest.new_table();
  guest.store(second.slot(kAcross.value >> 39), guest.entry_at(top));
  guest.load_root(second);
  guest.enter_user(second);
  const Gpa shared = guest.slot_at(root, kAcross, 3);
  const Gpa own = guest.slot_at(root, kAcross, 2);
  const auto each = [&] {
    guest.changes.clear();
    guest.store(shared, guest.entry_at(shared));
    const std::size_t both = guest.changes.size();
    const auto changes = guest.changes;
    const std::vector all{kFirstPage, kSecondPage, kData, kNever};
    EXPECT_EQ(concerned(root), all);
    guest.changes = changes;
    EXPECT_EQ(concerned(second), all);
    EXPECT_EQ(both, 8U);
  };
  each();
  guest.store(own, 0);
  guest.enter_user(root);  // and not yet the other one
  each();
  guest.enter_user(second);
  each();
  // With the first one its paths are gone, and only those.
  guest.store(top, 0);
  guest.load_root(second);
  guest.load_root(guest.new_table());
  ASSERT_EQ(guest.spaces.find(root), nullptr);
  EXPECT_EQ(concerned_by_slot(second, shared),
            (std::vector{kFirstPage, kSecondPage, kData, kNever}));
}

/// A root that links itself is a table of every level.
TEST_P(SpacePaths, APathMayLeadThroughASlotTwice) {
  model::SystemMapping mapping;
  mapping.name = "[one]";
  mapping.frames = {FakeGuest::kOther};
  guest.identities.add(mapping);
  const Frame root = guest.new_table();
  guest.store(root.slot(5), table_entry(GetParam(), root));
  const Frame table = guest.new_table();
  guest.store(root.slot(6), table_entry(GetParam(), table));
  guest.store(table.slot(7), leaf_entry(GetParam(), FakeGuest::kOther.gpa()));
  guest.load_root(root);
  guest.enter_user(root);
  const Gva place{(5ULL << 39) | (5ULL << 30) | (6ULL << 21) | (7ULL << 12)};
  ASSERT_NE(guest.spaces.find(root)->placement(2), nullptr);
  ASSERT_EQ(guest.spaces.find(root)->placement(2)->base, place);
  guest.store(root.slot(5), 0);
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].after.level, 4U);
  EXPECT_EQ(concerned_by_slot(root, root.slot(5)), (std::vector{MappingPage{2, 0}}));
  EXPECT_TRUE(concerned_by_slot(root, table.slot(7)).empty());
}

/// What a table held when it came is no change of those that had it before: its link is.
TEST_P(SpacePaths, ATableThatComesBackIsAChangeOfItsLinkOnly) {
  const Frame root = process_across_tables();
  const Gpa own = guest.slot_at(root, kAcross, 2);
  const std::uint64_t table = guest.entry_at(own);
  guest.changes.clear();
  guest.store(own, 0);
  guest.store(own, table);
  ASSERT_EQ(guest.changes.size(), 2U);
  for (const model::MappingChange& change : guest.changes) {
    EXPECT_EQ(change.write.kind, event::Kind::SlotWrite);
    EXPECT_EQ(change.write.gpa, own.value);
    EXPECT_EQ(change.level, 2U);
  }
  EXPECT_EQ(concerned(root), (std::vector{kFirstPage, kFirstPage}));
}

/// The tables of a process that is no more may serve another one, as they are.
TEST_P(SpacePaths, WhatEndedHasNoPathsAnyMore) {
  const Frame root = process_across_tables();
  const Frame table = arch::frame_of(guest.leaf_slot(root, kAcross));
  guest.store(root.slot(kAcross.value >> 39), 0);
  const Frame next = guest.new_table();
  guest.leaf_slot(next, Gva{0x2000'0000});
  guest.load_root(next);
  ASSERT_EQ(guest.spaces.find(root), nullptr);
  guest.changes.clear();
  guest.store(guest.slot_at(next, kSecondPlace, 2), table_entry(GetParam(), table));
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].write.kind, event::Kind::EntryFound);
  EXPECT_EQ(guest.changes[0].page, kFirstPage);
  EXPECT_EQ(guest.changes[0].space, guest.spaces.find(next)->id);
}

/// A table that comes in the kernel's half is not looked for among user mode's.
TEST_P(SpacePaths, AttributesTheEntriesOfATableThatComesInTheUpperHalf) {
  const Frame root = process_across_tables();
  const Gva place{0xffff'8000'0000'0000};
  const Frame upper = GetParam() == Arch::X86_64 ? root : guest.new_table();
  const Gpa slot = guest.slot_at(upper, place, 2);
  if (upper != root) guest.load_upper_root(upper);
  const Frame table = guest.new_table();
  guest.memory.tables[table][3] = leaf_entry(GetParam(), FakeGuest::kVdso.gpa());
  guest.changes.clear();
  guest.store(slot, table_entry(GetParam(), table));
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].write.gpa, table.slot(3).value);
  EXPECT_EQ(guest.changes[0].space, guest.spaces.find(root)->id);
}

/// The kernel builds the tables of one process while it runs for another.
TEST_P(SpacePaths, ATableThatComesForAnotherProcessIsNoChangeOfTheOneThatRuns) {
  const Frame other = process_across_tables();
  const Gpa slot = guest.slot_at(other, kSecondPlace, 2);
  guest.leaf_slot(other, Gva{0x2000'0000});
  const Frame own = process_across_tables();
  // A page of its own that lies where the table will: 2 MiB, which begin with that frame. And a
  // table that is not in RAM.
  const Frame table{0x200};
  guest.store(guest.slot_at(own, Gva{0x4000'0000}, 2), large_leaf_entry(GetParam(), table.gpa()));
  guest.store(guest.slot_at(own, Gva{0x8000'0000}, 2), table_entry(GetParam(), Frame{0x100'000}));
  guest.store(guest.slot_at(own, Gva{0x80'0000'0000}, 4),
              table_entry(GetParam(), Frame{0x100'001}));
  guest.enter_user(own);
  guest.memory.tables[table][3] = leaf_entry(GetParam(), FakeGuest::kVdso.gpa());
  guest.changes.clear();
  guest.store(slot, table_entry(GetParam(), table));
  EXPECT_TRUE(guest.changes.empty());
  // A store by itself is of the process that the kernel runs for, wherever it goes.
  guest.store(guest.leaf_slot(other, Gva{0x2000'0000}),
              leaf_entry(GetParam(), FakeGuest::kVdso.gpa()));
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].space, guest.spaces.find(own)->id);
}

/// What a page looks like: all of the entry but what hardware stores there by itself.
TEST_P(SpacePaths, APageIsSeenAsItsEntrySaysIt) {
  const Frame root = process_across_tables();
  const Gpa slot = guest.leaf_slot(root, kAcross);
  const std::uint64_t entry = guest.entry_at(slot);
  const model::PageView leaf{
      WalkEnd::Leaf, FakeGuest::kVdso, {true, false, true, 0}, without_hardware_bits(entry, 1), 1};
  const model::PageRecord& page = guest.spaces.find(root)->placement(0)->pages[0];
  EXPECT_EQ(page.now, leaf);
  EXPECT_EQ(page.first, leaf);
  // Accessed and dirty: nothing that shows.
  guest.store(slot, entry ^ arch::hardware_bits(guest.format, 1));
  EXPECT_TRUE(guest.enter_user(root).transitions.empty());
  // Where it is no leaf, nothing there is hardware's.
  const std::uint64_t swapped_out = 0x1234'0060;
  guest.store(slot, swapped_out);
  const model::PageView gone{WalkEnd::NonPresent, {}, {}, swapped_out, 1};
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].before, leaf);
  EXPECT_EQ(look.transitions[0].after, gone);
  EXPECT_EQ(look.transitions[0].gva, kAcross);
  EXPECT_EQ(look.transitions[0].space, guest.spaces.find(root)->id);
  EXPECT_FALSE(look.transitions[0].baseline);
}

/// A page that was never there is told once it is, and then as what it was before.
TEST_P(SpacePaths, APageThatWasNeverThereHasNoBaselineUntilItIs) {
  const Frame root = process_across_tables();
  const model::PageRecord& page = guest.spaces.find(root)->placement(1)->pages[1];
  const model::PageView absent{WalkEnd::Absent, {}, {}, 0, 1};
  EXPECT_EQ(page.now, absent);
  const Gpa slot = guest.leaf_slot(root, Gva{kDataPlace.value + 0x1000});
  guest.store(slot, 0x1234'0000);
  model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].page, kNever);
  EXPECT_EQ(look.transitions[0].before, absent);
  EXPECT_FALSE(look.transitions[0].baseline);
  EXPECT_FALSE(page.first.has_value());
  guest.store(slot, leaf_entry(GetParam(), FakeGuest::kOther.gpa()));
  look = guest.enter_user(root);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_TRUE(look.transitions[0].baseline);
  EXPECT_EQ(page.first, page.now);
  EXPECT_EQ(page.zaps, 0U);
  EXPECT_EQ(page.refaults, 0U);
}

/// A refault is a page that was absent, and comes back as it was at first.
TEST_P(SpacePaths, WhatIsNotAsItWasAtFirstIsNoRefault) {
  const Frame root = process_across_tables();
  const model::PageRecord& page = guest.spaces.find(root)->placement(0)->pages[0];
  const auto show = [&](Frame frame, May may) {
    guest.map(root, kAcross, frame, may);
    EXPECT_EQ(guest.enter_user(root).transitions.size(), 1U);
  };
  const auto zap = [&] {
    guest.unmap(root, kAcross);
    guest.enter_user(root);
  };
  show(FakeGuest::kOther, {.exec = true});
  show(FakeGuest::kVdso, {.exec = true});
  EXPECT_EQ(page.zaps, 0U);
  EXPECT_EQ(page.refaults, 0U) << "it was never absent";
  zap();
  show(FakeGuest::kOther, {.exec = true});
  EXPECT_EQ(page.refaults, 0U) << "another frame";
  zap();
  show(FakeGuest::kVdso, {.write = true, .exec = true});
  EXPECT_EQ(page.refaults, 0U) << "other permissions";
  zap();
  show(FakeGuest::kVdso, {.exec = true});
  EXPECT_EQ(page.refaults, 1U);
  EXPECT_EQ(page.zaps, 3U);
}

/// The last page of user mode's half: the mapping would go on where no address is.
TEST_P(SpacePaths, APageAtNoAddressIsSeenAsThat) {
  const Frame root = guest.new_table();
  const Gva last{0x8000'0000'0000 - 0x1000};
  const Gva end = GetParam() == Arch::X86_64 ? last : Gva{0x1'0000'0000'0000 - 0x1000};
  guest.map(root, end, FakeGuest::kVdso, {.exec = true});
  guest.load_root(root);
  guest.enter_user(root);
  const model::Placement& vdso = *guest.spaces.find(root)->placement(0);
  EXPECT_EQ(vdso.base, end);
  EXPECT_EQ(vdso.pages[1].now, (model::PageView{WalkEnd::NonCanonical, {}, {}, 0, 0}));
  EXPECT_EQ(vdso.pages[1].path_length, 0U);
}

/// What one look found stands until a table changes, by whatever event.
TEST_P(SpacePaths, ALookSeesWhatEveryKindOfEventChanged) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVdsoPlace);
  const auto tell = [&](event::Kind kind, Gpa gpa, std::uint64_t value) {
    event::Event event{};
    event.kind = kind;
    event.level = 1;
    event.gpa = gpa.value;
    event.new_value = value;
    guest.emit(event);
    return guest.enter_user(root).transitions;
  };
  const Gpa table = arch::frame_of(slot).gpa();
  auto seen = tell(event::Kind::TableRemoved, table, 0);
  ASSERT_EQ(seen.size(), 4U);
  EXPECT_EQ(seen[0].after.end, WalkEnd::Unreadable);
  seen = tell(event::Kind::TableAdded, table, 0);
  ASSERT_EQ(seen.size(), 3U) << "one was never there";
  EXPECT_EQ(seen[0].after.end, WalkEnd::Absent);
  seen = tell(event::Kind::EntryFound, slot, leaf_entry(GetParam(), FakeGuest::kOther.gpa()));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].after.frame, FakeGuest::kOther);
  seen = tell(event::Kind::SlotWrite, slot, 0);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].after.end, WalkEnd::Absent);
  // Those are all: any other leaves it at what was seen.
  const std::uint64_t changes = guest.spaces.find(root)->seen_changes;
  EXPECT_TRUE(tell(event::Kind::ContentWrite, slot, 1).empty());
  EXPECT_TRUE(tell(event::Kind::UserEntry, slot, 1).empty());
  EXPECT_EQ(guest.spaces.find(root)->seen_changes, changes);
  tell(event::Kind::SlotWrite, slot, 0);
  EXPECT_NE(guest.spaces.find(root)->seen_changes, changes);
}

}  // namespace
}  // namespace sealvisor::test
