#include "vmm/model/transients.h"

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using model::MappingPage;

constexpr MappingPage kFirst{0, 0};
constexpr MappingPage kSecond{0, 1};
const Gva kOtherPlace{0x1000'0000};

/// A process with both mappings, on which user mode has run; changes are noted as they come.
class Transients : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override {
    guest.learn_vdso();
    root = guest.new_process();
    // Its table is there beforehand.
    guest.map(root, Gva{kOtherPlace.value + 0x1000}, FakeGuest::kOther);
    settle();
  }
  void note() {
    for (const model::MappingChange& change : guest.changes) {
      transients.note(guest.format, change);
    }
    guest.changes.clear();
  }
  std::vector<MappingPage> settle() {
    note();
    const model::Look look = guest.enter_user(root);
    return transients.settle(guest.spaces.find(root)->id, look);
  }
  void map_vdso() { guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true}); }

  FakeGuest guest{GetParam()};
  model::Transients transients{guest.mirror};
  Frame root{};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Transients, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(Transients, RecordsWhatWasUndoneOnce) {
  for (int i = 0; i < 2; ++i) {
    guest.unmap(root, FakeGuest::kVdsoPlace);
    map_vdso();
  }
  EXPECT_EQ(settle(), std::vector{kFirst});
  EXPECT_TRUE(settle().empty()) << "it is settled";
}

TEST_P(Transients, WhatShowsIsNone) {
  guest.unmap(root, FakeGuest::kVdsoPlace);
  EXPECT_TRUE(settle().empty());
  map_vdso();
  EXPECT_TRUE(settle().empty());
}

TEST_P(Transients, WhatShowsOfAPageIsNoneOfAnother) {
  const Gva second{FakeGuest::kVdsoPlace.value + 0x1000};
  guest.unmap(root, FakeGuest::kVdsoPlace);
  guest.unmap(root, second);
  guest.map(root, second, Frame{FakeGuest::kVdso.number + 1}, {.exec = true});
  EXPECT_EQ(settle(), std::vector{kSecond});
}

/// Its own entry holds again what it held; one above it does not.
TEST_P(Transients, WhatAnotherEntryShowsOfThePageIsNone) {
  const Gpa upper = guest.slot_at(root, FakeGuest::kVdsoPlace, 2);
  // The table stays, as another place has it too.
  guest.store(guest.slot_at(root, Gva{0x2000'0000}, 2), guest.entry_at(upper));
  guest.unmap(root, FakeGuest::kVdsoPlace);
  map_vdso();
  guest.store(upper, 0);
  EXPECT_TRUE(settle().empty());
}

TEST_P(Transients, TheSameValueStoredAgainIsNone) {
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVdsoPlace);
  guest.store(slot, guest.entry_at(slot));
  note();
  EXPECT_TRUE(settle().empty());
}

TEST_P(Transients, AccessedAndDirtyBitsAreNoChange) {
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVdsoPlace);
  const std::uint64_t bits = arch::hardware_bits(guest.format, 1);
  guest.store(slot, guest.entry_at(slot) ^ bits);
  guest.store(slot, guest.entry_at(slot) ^ bits);
  EXPECT_TRUE(settle().empty());
}

/// The new value stays, and shows nothing: an equal copy of a table.
TEST_P(Transients, AnotherWayToTheSamePageIsNone) {
  const Gpa upper = guest.slot_at(root, FakeGuest::kVdsoPlace, 2);
  const Frame table = arch::frame_of(guest.leaf_slot(root, FakeGuest::kVdsoPlace));
  const Frame copy = guest.new_table();
  guest.memory.tables[copy] = guest.memory.tables[table];
  guest.store(upper, table_entry(GetParam(), copy));
  EXPECT_TRUE(settle().empty());
}

TEST_P(Transients, AnUpperEntryCountsForEachPageBelowIt) {
  const Gpa slot = guest.slot_at(root, FakeGuest::kVdsoPlace, 4);
  const std::uint64_t entry = guest.entry_at(slot);
  guest.store(slot, 0);
  guest.store(slot, entry);
  EXPECT_EQ(settle().size(), 4U) << "the two of the vdso, the two of the vvar";
}

TEST_P(Transients, ASecondPlaceThatWasGoneAgainIsOne) {
  guest.map(root, kOtherPlace, FakeGuest::kVdso, {.write = true});
  guest.unmap(root, kOtherPlace);
  EXPECT_EQ(settle(), std::vector{kFirst});
  guest.map(root, kOtherPlace, FakeGuest::kVdso, {.write = true});
  EXPECT_TRUE(settle().empty()) << "that is there, and is a violation";
}

/// The entries came with their table, and went with it.
TEST_P(Transients, ASecondPlaceInATableThatWasGoneAgainIsOne) {
  const Gpa upper = guest.slot_at(root, Gva{kOtherPlace.value + (1ULL << 21)}, 2);
  const Frame table = guest.new_table();
  guest.memory.tables[table][7] = leaf_entry(GetParam(), FakeGuest::kVdso.gpa());
  guest.changes.clear();
  guest.store(upper, table_entry(GetParam(), table));
  guest.store(upper, 0);
  EXPECT_EQ(settle(), std::vector{kFirst});
  guest.store(upper, table_entry(GetParam(), table));
  EXPECT_TRUE(settle().empty());
}

TEST_P(Transients, OfASpaceThatEndedNothingIsKept) {
  guest.unmap(root, FakeGuest::kVdsoPlace);
  map_vdso();
  note();
  const std::uint64_t space = guest.spaces.find(root)->id;
  transients.forget(space + 1);
  transients.forget(space);
  EXPECT_TRUE(transients.settle(space, {}).empty());
}

TEST_P(Transients, OtherSpacesAreSettledByThemselves) {
  guest.unmap(root, FakeGuest::kVdsoPlace);
  map_vdso();
  note();
  const Frame other = guest.new_process();
  const model::Look look = guest.enter_user(other);
  EXPECT_TRUE(transients.settle(guest.spaces.find(other)->id, look).empty());
  EXPECT_EQ(settle(), std::vector{kFirst});
}

/// Whatever else is followed, before and behind: settled or forgotten is what is of the space.
TEST_P(Transients, ASpaceIsSettledOrForgottenAlone) {
  model::MappingChange change;
  change.level = 1;
  change.write.kind = event::Kind::SlotWrite;
  change.write.new_value = 1;  // The mirror has no such table: the entry is 0 again.
  for (std::uint32_t space = 5; space <= 9; ++space) {
    change.space = space;
    change.page = {0, space};
    transients.note(guest.format, change);
  }
  transients.forget(6);
  EXPECT_EQ(transients.settle(8, {}), (std::vector{MappingPage{0, 8}}));
  EXPECT_EQ(transients.settle(5, {}), (std::vector{MappingPage{0, 5}}));
  EXPECT_TRUE(transients.settle(6, {}).empty());
  EXPECT_EQ(transients.settle(7, {}), (std::vector{MappingPage{0, 7}}));
  EXPECT_EQ(transients.settle(9, {}), (std::vector{MappingPage{0, 9}}));
}

TEST_P(Transients, FollowsNoMoreThanItHasRoomFor) {
  model::MappingChange change;
  change.space = 77;
  change.page = kFirst;
  change.level = 1;
  change.write.kind = event::Kind::SlotWrite;
  change.write.new_value = 1;
  const auto flicker = [&](std::uint64_t slot) {
    change.write.gpa = slot * 8;
    change.write.old_value = 0;
    change.write.new_value = 1;
    transients.note(guest.format, change);
  };
  change.page.page = 2;  // Rewritten, and not changed until all room is taken.
  change.write.gpa = 0;
  change.write.new_value = 0;
  transients.note(guest.format, change);
  change.page.page = 1;
  for (std::uint64_t i = 1; i < model::Transients::kMostFollowed; ++i) flicker(i);
  change.page.page = 0;
  flicker(model::Transients::kMostFollowed);
  change.page.page = 2;
  flicker(0);
  EXPECT_EQ(transients.settle(77, {}), (std::vector{kSecond, MappingPage{0, 2}}))
      << "the last one had no room, and who had goes on";
}

}  // namespace
}  // namespace sealvisor::test
