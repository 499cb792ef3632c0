#include "vmm/model/space.h"

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using arch::WalkEnd;

class Spaces : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override { guest.learn_vdso(); }
  FakeGuest guest{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Spaces, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(Spaces, PlacesEachMappingWhereItsFramesAre) {
  const Frame root = guest.new_process();
  const model::Look look = guest.enter_user(root);
  const model::AddressSpace* space = guest.spaces.find(root);
  ASSERT_NE(space, nullptr);
  ASSERT_EQ(space->placements.size(), 2U);
  EXPECT_EQ(space->placement(0)->base, FakeGuest::kVdsoPlace);
  EXPECT_EQ(space->placement(1)->base, FakeGuest::kVvarPlace);
  EXPECT_EQ(look.transitions.size(), 3U);
  for (const auto& transition : look.transitions) EXPECT_TRUE(transition.baseline);
  EXPECT_FALSE(space->placement(1)->pages[1].first.has_value()) << "never populated";
}

TEST_P(Spaces, AnUnchangedSpaceHasNoTransitions) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  EXPECT_TRUE(guest.enter_user(root).transitions.empty());
}

TEST_P(Spaces, CountsAZapAndTheRefaultOfTheSameFrame) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.unmap(root, FakeGuest::kVdsoPlace);
  const model::Look zapped = guest.enter_user(root);
  ASSERT_EQ(zapped.transitions.size(), 1U);
  EXPECT_EQ(zapped.transitions[0].after.end, WalkEnd::Absent);
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  guest.enter_user(root);
  const model::PageRecord& page = guest.spaces.find(root)->placement(0)->pages[0];
  EXPECT_EQ(page.zaps, 1U);
  EXPECT_EQ(page.refaults, 1U);
}

TEST_P(Spaces, AChangeThatIsUndoneBeforeUserModeRunsShowsNoTransition) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.changes.clear();
  guest.unmap(root, FakeGuest::kVdsoPlace);
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  EXPECT_EQ(guest.changes.size(), 2U);
  EXPECT_TRUE(guest.enter_user(root).transitions.empty());
}

TEST_P(Spaces, AttributesAnUpperLevelWriteToThePagesBelowIt) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.changes.clear();
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  EXPECT_EQ(guest.changes.size(), 4U) << "two pages of the vdso, two of the vvar";
  EXPECT_EQ(guest.changes[0].level, 4U);
  EXPECT_EQ(guest.enter_user(root).transitions.size(), 3U);
}

/// In a time namespace the kernel's data page stands where it does not stand elsewhere.
TEST_P(Spaces, AForkedChildHasItsParentsPlaces) {
  const Frame parent = guest.new_process();
  guest.enter_user(parent);
  const Frame child = guest.new_table();
  guest.map(child, Gva{0x10000}, Frame{0x300});  // a page of its own, so that it has tables
  guest.load_root(child);
  guest.enter_user(child);
  model::Spaces::inherit(*guest.spaces.find(child), *guest.spaces.find(parent));
  const Gva second{FakeGuest::kVvarPlace.value + arch::kPageSize};
  guest.map(child, second, FakeGuest::kVvar);
  guest.map(child, FakeGuest::kVvarPlace, Frame{0x301});
  const model::Look look = guest.enter_user(child);
  const model::Placement* vvar = guest.spaces.find(child)->placement(1);
  ASSERT_NE(vvar, nullptr);
  EXPECT_EQ(vvar->base, FakeGuest::kVvarPlace);
  ASSERT_EQ(look.new_elsewhere.size(), 1U) << "its frame shows, but not where it did";
  EXPECT_EQ(look.new_elsewhere[0].gva, second);
  EXPECT_EQ(vvar->pages[0].now.frame, Frame{0x301});
}

TEST_P(Spaces, AFrameFarFromTheParentsPlaceIsAnotherPlace) {
  const Frame parent = guest.new_process();
  guest.enter_user(parent);
  const Frame child = guest.new_table();
  guest.map(child, Gva{0x10000}, Frame{0x300});
  guest.load_root(child);
  model::Spaces::inherit(*guest.spaces.find(child), *guest.spaces.find(parent));
  guest.map(child, Gva{0x20000000}, FakeGuest::kVvar);
  guest.enter_user(child);
  EXPECT_EQ(guest.spaces.find(child)->placement(1)->base, Gva{0x20000000});
}

TEST_P(Spaces, FindsASecondTranslation) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.map(root, Gva{0x10000000}, FakeGuest::kVdso, {.write = true});
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 1U);
  EXPECT_EQ(look.new_elsewhere[0].gva, Gva{0x10000000});
  EXPECT_TRUE(look.new_elsewhere[0].permissions.write);
  EXPECT_TRUE(guest.enter_user(root).new_elsewhere.empty()) << "told once";
}

/// A place that is gone is no place that is known.
TEST_P(Spaces, ASecondTranslationThatComesBackIsToldAgain) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Gva place{0x10000000};
  guest.map(root, place, FakeGuest::kVdso);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
  guest.unmap(root, place);
  EXPECT_TRUE(guest.enter_user(root).new_elsewhere.empty());
  EXPECT_TRUE(guest.spaces.find(root)->elsewhere.empty());
  guest.map(root, place, FakeGuest::kVdso);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
}

TEST_P(Spaces, ASecondTranslationOfTheUpperHalfThatComesBackIsToldAgain) {
  const bool one_root = GetParam() == Arch::X86_64;
  const Frame root = guest.new_process();
  const Frame upper = one_root ? root : guest.new_table();
  const Gva place{0xffff'8000'0000'0000};
  guest.leaf_slot(upper, place);
  if (!one_root) guest.load_upper_root(upper);
  guest.enter_user(root);
  for (int i = 0; i < 2; ++i) {
    guest.map(upper, place, FakeGuest::kVdso);
    EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U) << i;
    guest.map(root, Gva{0x10000000}, FakeGuest::kOther);  // another change, and it still stands
    EXPECT_TRUE(guest.enter_user(root).new_elsewhere.empty()) << i;
    EXPECT_EQ(guest.spaces.find(root)->elsewhere.size(), 1U) << i;
    guest.unmap(upper, place);
    guest.unmap(root, Gva{0x10000000});
    EXPECT_TRUE(guest.enter_user(root).new_elsewhere.empty()) << i;
  }
}

/// A second translation that becomes another page's, or wider, is another one.
TEST_P(Spaces, ASecondTranslationThatChangesIsToldAgain) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Gva place{0x10000000};
  guest.map(root, place, FakeGuest::kVdso);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
  guest.map(root, place, FakeGuest::kVdso, {.write = true});
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
  guest.map(root, place, FakeGuest::kVvar, {.write = true});
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 1U);
  EXPECT_EQ(look.new_elsewhere[0].page.mapping, 1U);
}

/// A root that links the tables of another one is of the same process, whatever else it holds.
TEST_P(Spaces, ARootThatSharesTablesGoesOnAsTheOtherOne) {
  const Frame root = guest.new_process();
  guest.map(root, Gva{0x400000}, FakeGuest::kOther);
  guest.enter_user(root);
  // As it was but for the vdso, whose part of the tree is not there.
  const Frame second = guest.new_table();
  guest.store(second.slot(0), guest.entry_at(root.slot(0)));
  guest.load_root(second);
  const model::Look look = guest.enter_user(second);
  const model::AddressSpace* space = guest.spaces.find(second);
  ASSERT_NE(space, nullptr);
  EXPECT_NE(space->id, guest.spaces.find(root)->id);
  ASSERT_EQ(space->placements.size(), 2U);
  EXPECT_EQ(space->placement(0)->base, FakeGuest::kVdsoPlace);
  EXPECT_EQ(look.transitions.size(), 3U) << "three pages were there, and are gone";
  for (const model::PageTransition& transition : look.transitions) {
    EXPECT_EQ(transition.after.end, WalkEnd::Absent);
    EXPECT_FALSE(transition.baseline);
  }
  // What happens to it afterwards is its own.
  guest.changes.clear();
  guest.map(second, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  std::size_t there = 0;  // The other pages of that table are absent at another level now.
  for (const model::PageTransition& transition : guest.enter_user(second).transitions) {
    if (transition.after.end == WalkEnd::Leaf) ++there;
  }
  EXPECT_EQ(there, 1U);
  EXPECT_TRUE(guest.enter_user(root).transitions.empty());
}

TEST_P(Spaces, ARootThatSharesNoTableIsANewProcess) {
  const Frame root = guest.new_process();
  guest.map(root, Gva{0x400000}, FakeGuest::kOther);
  guest.enter_user(root);
  const Frame second = guest.new_table();
  guest.map(second, Gva{0x400000}, FakeGuest::kOther);
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_TRUE(guest.spaces.find(second)->placements.empty());
}

/// A shared entry that is not a table is none, and neither is one of the kernel's half.
TEST_P(Spaces, OnlyTablesOfTheUserHalfAreOfOneProcess) {
  const Frame root = guest.new_process();
  const std::uint64_t not_present = 0x1234'0000;
  guest.store(root.slot(0), not_present);
  const bool one_root = GetParam() == Arch::X86_64;
  if (one_root) guest.store(root.slot(300), table_entry(GetParam(), guest.new_table()));
  guest.enter_user(root);
  const Frame second = guest.new_table();
  guest.store(second.slot(0), not_present);
  guest.store(second.slot(1), table_entry(GetParam(), guest.new_table()));
  if (one_root) guest.store(second.slot(300), guest.entry_at(root.slot(300)));
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_TRUE(guest.spaces.find(second)->placements.empty());
}

/// It goes on where the other one was when user mode last saw it, and only then.
TEST_P(Spaces, GoesOnAsTheOtherOneOnce) {
  const Frame root = guest.new_process();
  guest.map(root, Gva{0x400000}, FakeGuest::kOther);
  guest.enter_user(root);
  guest.spaces.find(root)->last_look = 5;
  const Frame second = guest.new_table();
  guest.store(second.slot(0), guest.entry_at(root.slot(0)));
  guest.load_root(second);
  guest.enter_user(second);
  EXPECT_EQ(guest.spaces.find(second)->last_look, 5U);
  guest.map(root, Gva{0x10000000}, FakeGuest::kVdso);
  guest.enter_user(root);
  EXPECT_TRUE(guest.enter_user(second).transitions.empty());
}

TEST_P(Spaces, AttributesALargeLeafToThePagesThatItShows) {
  const Frame root = guest.new_process();
  guest.leaf_slot(root, Gva{0x20000000});
  guest.enter_user(root);
  guest.changes.clear();
  std::uint64_t leaf = leaf_entry(GetParam(), Frame{0x400}.gpa());
  leaf = GetParam() == Arch::X86_64 ? leaf | 0x80 : leaf & ~std::uint64_t{2};
  guest.store(guest.slot_at(root, Gva{0x20200000}, 2), leaf);
  EXPECT_EQ(guest.changes.size(), 3U);
  for (const model::MappingChange& change : guest.changes) EXPECT_EQ(change.level, 2U);
}

/// The kernel maps all memory for itself.
TEST_P(Spaces, APlaceThatUserModeCannotReachIsNoChange) {
  const Frame root = guest.new_process();
  guest.leaf_slot(root, Gva{0x30000000});
  guest.enter_user(root);
  guest.changes.clear();
  guest.map(root, Gva{0x30000000}, FakeGuest::kVdso, {.user = false});
  EXPECT_TRUE(guest.changes.empty());
}

/// What is linked by one store is found in the table that came with it.
TEST_P(Spaces, AttributesTheEntriesOfATableThatComes) {
  const Frame root = guest.new_process();
  guest.leaf_slot(root, Gva{0x20000000});
  guest.enter_user(root);
  const Frame table = guest.new_table();
  guest.memory.tables[table][3] = leaf_entry(GetParam(), FakeGuest::kVdso.gpa());
  guest.memory.tables[table][4] = leaf_entry(GetParam(), FakeGuest::kOther.gpa());
  guest.changes.clear();
  guest.store(guest.slot_at(root, Gva{0x20200000}, 2), table_entry(GetParam(), table));
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].write.kind, event::Kind::EntryFound);
  EXPECT_EQ(guest.changes[0].write.gpa, table.slot(3).value);
}

/// The kernel writes on a root of its own, in front of user mode's; both link the same tables.
TEST_P(Spaces, ANewPlaceIsOfTheProcessThatTheKernelRunsFor) {
  if (GetParam() != Arch::X86_64) return;  // arm64's lower root is the same for both
  while (guest.next_table % 2 == 0) ++guest.next_table;
  const Frame user = guest.new_process();
  ASSERT_EQ(user.number % 2, 1U);
  guest.enter_user(user);
  const Frame kernel{user.number - 1};
  guest.store(kernel.slot(FakeGuest::kVdsoPlace.value >> 39),
              guest.entry_at(user.slot(FakeGuest::kVdsoPlace.value >> 39)));
  guest.load_root(kernel);
  guest.changes.clear();
  guest.map(user, Gva{0x10000000}, FakeGuest::kVdso);
  ASSERT_FALSE(guest.changes.empty());
  EXPECT_EQ(guest.changes.back().space, guest.spaces.find(user)->id);
  EXPECT_EQ(guest.changes.back().gva, Gva{0});
}

TEST_P(Spaces, FindsASecondTranslationThroughALinkedTable) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  std::uint64_t entry = 0;
  ASSERT_TRUE(guest.memory.read_entry(root.slot(FakeGuest::kVdsoPlace.value >> 39), entry));
  guest.store(root.slot(3), entry);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 3U);
}

/// A table that nobody knew, filled before it is linked, brings only its own entries: those of the
/// table below, which is known, do not come again.
TEST_P(Spaces, FindsASecondTranslationThroughAFreshTableThatLinksAKnownOne) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Gpa known = guest.slot_at(root, FakeGuest::kVdsoPlace, 3);
  const Frame fresh = guest.new_table();
  guest.store(fresh.slot(7), guest.entry_at(known));
  ASSERT_FALSE(guest.tracker.is_watched(fresh));
  guest.store(root.slot(3), table_entry(GetParam(), fresh));
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 3U);
}

TEST_P(Spaces, ALoadOfAnotherRootSearchesNothingButItsOwnSpace) {
  const Frame root = guest.new_process();
  // On x86-64 all roots link the kernel's tables in their upper entries.
  const Frame shared = guest.new_table();
  guest.store(root.slot(300), table_entry(GetParam(), shared));
  guest.enter_user(root);
  const std::uint64_t seen = guest.spaces.find(root)->seen_epoch;
  const Frame other = guest.new_table();
  guest.store(other.slot(300), table_entry(GetParam(), shared));
  guest.load_root(other);
  guest.enter_user(root);
  EXPECT_EQ(guest.spaces.find(root)->seen_epoch, seen);
}

TEST_P(Spaces, SearchesTheUpperHalfOfAnotherRootOfIt) {
  if (GetParam() != Arch::Arm64) return;  // one root for both halves
  const Frame root = guest.new_process();
  guest.enter_user(root);
  // A root of the upper half with a page of the vdso that user mode may read.
  const Gva place{0xffff'8000'0000'0000};
  const Frame upper = guest.new_table();
  guest.map(upper, place, FakeGuest::kVdso);
  guest.load_upper_root(upper);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
  // Another one in its place, which shares the tables: none of its entries is new.
  const Frame second = guest.new_table();
  guest.store(second.slot(5), guest.entry_at(upper.slot((place.value >> 39) & 511)));
  guest.load_upper_root(second);
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 1U);
  EXPECT_EQ(look.new_elsewhere[0].gva.value, 0xffff'0000'0000'0000 + (5ULL << 39));
}

TEST_P(Spaces, AGuestWithMoreWaysThanCanBeSearchedIsNamed) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  EXPECT_TRUE(guest.spaces.incomplete().empty());
  // Every entry of three levels leads to the same table: 512 * 512 * 512 ways.
  Frame below = arch::frame_of(guest.leaf_slot(root, FakeGuest::kVdsoPlace));
  for (unsigned level = 2; level <= 3; ++level) {
    const Frame table = guest.new_table();
    for (std::size_t i = 0; i < 512; ++i) {
      guest.store(table.slot(i), table_entry(GetParam(), below));
    }
    below = table;
  }
  guest.store(root.slot(3), table_entry(GetParam(), below));
  EXPECT_FALSE(guest.spaces.exhausted());
  guest.enter_user(root);
  EXPECT_NE(guest.spaces.incomplete().find("more ways"), std::string::npos);
  EXPECT_TRUE(guest.spaces.exhausted());

  // No search is made again, which would find this; what has its place is still looked at.
  guest.map(root, Gva{0x10000000}, FakeGuest::kVdso);
  guest.unmap(root, FakeGuest::kVdsoPlace);
  const std::uint64_t seen = guest.spaces.find(root)->seen_epoch;
  const model::Look look = guest.enter_user(root);
  EXPECT_TRUE(look.new_elsewhere.empty());
  EXPECT_EQ(guest.spaces.find(root)->seen_epoch, seen);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].after.end, WalkEnd::Absent);
}

TEST_P(Spaces, AGuestWithMoreRootsThanCanBeFollowedIsNamed) {
  event::Event load{};
  load.kind = event::Kind::RootLoad;
  for (std::uint64_t i = 0; i <= model::Spaces::kMostSpaces; ++i) {
    EXPECT_TRUE(guest.spaces.incomplete().empty());
    load.gpa = (0x100000 + i) << 12;  // outside of RAM: no table is ever removed
    guest.emit(load);
  }
  EXPECT_NE(guest.spaces.incomplete().find("more address spaces"), std::string::npos);
}

TEST_P(Spaces, FindsASecondTranslationInALargeLeaf) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Frame table = arch::frame_of(guest.leaf_slot(root, Gva{0x20000000}));
  (void)table;
  // A 2 MiB leaf over frames 0x400..0x5ff, which holds all three.
  Frame level2{};
  std::uint64_t entry = 0;
  Frame at = root;
  for (unsigned level = 4; level > 2; --level) {
    ASSERT_TRUE(
        guest.memory.read_entry(at.slot((0x20000000ULL >> arch::level_shift(level)) & 511), entry));
    at = arch::frame_of(arch::decode(guest.format, entry, level, arch::Half::Lower).output);
  }
  level2 = at;
  std::uint64_t leaf = leaf_entry(GetParam(), Frame{0x400}.gpa());
  leaf = GetParam() == Arch::X86_64 ? leaf | 0x80 : leaf & ~std::uint64_t{2};
  guest.store(level2.slot((0x20200000 >> 21) & 511), leaf);
  const model::Look look = guest.enter_user(root);
  ASSERT_EQ(look.new_elsewhere.size(), 3U);
  EXPECT_EQ(look.new_elsewhere[0].size, 0x200000U);
}

TEST_P(Spaces, IgnoresTranslationsThatUserModeCannotReach) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const bool x86 = GetParam() == Arch::X86_64;
  guest.map(root, Gva{0x30000000}, FakeGuest::kVdso, {.user = false});
  // On arm64 a page without EL0 data access is still executable unless UXN, which `map` sets.
  EXPECT_TRUE(guest.enter_user(root).new_elsewhere.empty()) << x86;
}

TEST_P(Spaces, EndsAGenerationWithItsRoot) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const std::uint64_t id = guest.spaces.find(root)->id;
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  guest.new_process();
  EXPECT_EQ(guest.spaces.find(root), nullptr);
  const auto ended = guest.spaces.take_ended();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].space, id);
  EXPECT_EQ(ended[0].pages_present, 3U) << "populated when user mode last ran: teardown";
  EXPECT_EQ(ended[0].pages_never, 1U);
  EXPECT_TRUE(guest.spaces.take_ended().empty());
}

TEST_P(Spaces, AReusedRootFrameIsANewAddressSpace) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const std::uint64_t first = guest.spaces.find(root)->id;
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  guest.new_process();
  guest.map(root, Gva{0x1000}, FakeGuest::kOther);
  guest.load_root(root);
  EXPECT_NE(guest.spaces.find(root)->id, first);
  EXPECT_TRUE(guest.spaces.find(root)->placements.empty());
}

TEST_P(Spaces, AVcpuChangesWhatAnotherOneRunsOn) {
  guest.vcpu = 1;
  const Frame other = guest.new_process();
  guest.enter_user(other);
  guest.vcpu = 0;
  const Frame own = guest.new_process();
  guest.enter_user(own);
  guest.changes.clear();
  guest.unmap(other, FakeGuest::kVdsoPlace);
  ASSERT_EQ(guest.changes.size(), 1U);
  EXPECT_EQ(guest.changes[0].space, guest.spaces.find(other)->id);
  EXPECT_EQ(guest.changes[0].write.vcpu, 0U);
  const model::Look look = guest.enter_user(other);
  ASSERT_EQ(look.transitions.size(), 1U);
  EXPECT_EQ(look.transitions[0].after.end, WalkEnd::Absent);
  EXPECT_TRUE(guest.enter_user(own).transitions.empty());
}

TEST_P(Spaces, ANewPlaceIsOfTheProcessThatTheKernelRunsForOnThatVcpu) {
  guest.vcpu = 1;
  const Frame other = guest.new_process();
  guest.enter_user(other);
  guest.vcpu = 0;
  guest.enter_user(guest.new_process());
  guest.vcpu = 1;
  guest.changes.clear();
  guest.map(other, Gva{0x10000000}, FakeGuest::kVdso);
  ASSERT_FALSE(guest.changes.empty());
  EXPECT_EQ(guest.changes.back().space, guest.spaces.find(other)->id);
}

TEST_P(Spaces, EachVcpuHasItsOwnUpperHalf) {
  if (GetParam() != Arch::Arm64) return;  // one root for both halves
  const Frame root = guest.new_process();
  guest.enter_user(root);
  const Frame plain = guest.new_table();
  guest.load_upper_root(plain);
  guest.vcpu = 1;
  const Frame second = guest.new_table();
  guest.map(second, Gva{0xffff'8000'0000'0000}, FakeGuest::kVdso);
  guest.load_upper_root(second);
  EXPECT_EQ(guest.spaces.upper_root(), second);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 1U);
  guest.vcpu = 0;
  guest.load_root(root);
  EXPECT_EQ(guest.spaces.upper_root(), plain);
  guest.enter_user(root);
  EXPECT_TRUE(guest.spaces.find(root)->elsewhere.empty());
}

}  // namespace
}  // namespace sealvisor::test
