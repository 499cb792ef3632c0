#include "vmm/model/table_tracker.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

class TableTracker : public testing::TestWithParam<Arch> {
 protected:
  [[nodiscard]] std::size_t count(Kind kind) const {
    return static_cast<std::size_t>(
        std::count_if(guest.events.begin(), guest.events.end(),
                      [&](const Event& event) { return event.kind == kind; }));
  }
  FakeGuest guest{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, TableTracker, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(TableTracker, TellsAllThatANewRootHolds) {
  const Frame root = guest.new_process();
  // Root, level 3, level 2; both places share one level-1 table.
  EXPECT_EQ(count(Kind::TableAdded), 4U);
  EXPECT_EQ(count(Kind::EntryFound), 6U);  // three links and three leaves
  EXPECT_EQ(guest.tracker.tables(), 4U);
  EXPECT_TRUE(guest.tracker.is_watched(root));
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableTracker, ReportsAStoreWithOldAndNewValue) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const std::uint64_t before = leaf_entry(GetParam(), FakeGuest::kVvar.gpa());
  guest.events.clear();
  guest.store(slot, 0);
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].kind, Kind::SlotWrite);
  EXPECT_EQ(guest.events[0].gpa, slot.value);
  EXPECT_EQ(guest.events[0].old_value, before);
  EXPECT_EQ(guest.events[0].new_value, 0U);
  EXPECT_EQ(guest.events[0].level, 1U);
}

TEST_P(TableTracker, ReportsAStoreThatChangesNothing) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  guest.events.clear();
  guest.store(slot, leaf_entry(GetParam(), FakeGuest::kVvar.gpa()));
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].old_value, guest.events[0].new_value);
}

TEST_P(TableTracker, SplitsAWideUnalignedStoreIntoSlots) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const Frame table = arch::frame_of(slot);
  const std::size_t index = arch::slot_index(slot);
  guest.memory.tables[table][index + 8] = 0x1111111100000000;
  guest.memory.tables[table][index + 9] = 0x2222222222222222;
  guest.memory.tables[table][index + 10] = 0x33333333;
  guest.events.clear();
  guest.tracker.stored({Gpa{table.slot(index + 8).value + 4}, 16, 16, 0, 3}, guest.source());
  ASSERT_EQ(guest.events.size(), 3U);
  EXPECT_EQ(guest.events[0].offset, 4U);
  EXPECT_EQ(guest.events[1].offset, 0U);
  for (std::uint8_t part = 0; part < 3; ++part) {
    EXPECT_EQ(guest.events[part].part, part);
    EXPECT_EQ(guest.events[part].parts, 3U);
    EXPECT_EQ(guest.events[part].size, 16U);
  }
  EXPECT_EQ(guest.events[2].new_value, 0x33333333U);
}

TEST_P(TableTracker, FollowsAPrefilledTableWhenItIsLinked) {
  const Frame root = guest.new_process();
  const Frame level2 = guest.new_table();
  const Frame level1 = guest.new_table();
  guest.store(level1.slot(7), leaf_entry(GetParam(), FakeGuest::kOther.gpa()));
  guest.store(level2.slot(3), table_entry(GetParam(), level1));
  const Gpa slot3 = arch::frame_of(guest.slot_at(root, Gva{0x400000000000}, 3)).slot(9);
  guest.events.clear();
  guest.store(slot3, table_entry(GetParam(), level2));
  EXPECT_EQ(count(Kind::TableAdded), 2U);
  EXPECT_TRUE(guest.tracker.is_watched(level1));
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  guest.store(slot3, 0);
  EXPECT_EQ(count(Kind::TableRemoved), 2U);
  EXPECT_FALSE(guest.tracker.is_watched(level1));
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableTracker, KeepsATableThatTwoEntriesLink) {
  const Frame root = guest.new_process();
  std::uint64_t entry = 0;
  const std::size_t used = FakeGuest::kVdsoPlace.value >> 39;
  ASSERT_TRUE(guest.memory.read_entry(root.slot(used), entry));
  guest.store(root.slot(5), entry);
  const Frame table =
      arch::frame_of(arch::decode(guest.format, entry, 4, arch::Half::Lower).output);
  guest.store(root.slot(used), 0);
  EXPECT_TRUE(guest.tracker.is_watched(table));
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  guest.store(root.slot(6), 0);  // an unrelated slot changes nothing
  EXPECT_TRUE(guest.tracker.is_watched(table));
}

TEST_P(TableTracker, SurvivesATableThatLinksItself) {
  const Frame root = guest.new_process();
  guest.store(root.slot(11), table_entry(GetParam(), root));
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  guest.store(root.slot(11), 0);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  EXPECT_TRUE(guest.tracker.is_watched(root));
  EXPECT_EQ(guest.tracker.tables(), 4U);
}

TEST_P(TableTracker, IgnoresTablesOutsideRam) {
  const Frame root = guest.new_process();
  guest.store(root.slot(12), table_entry(GetParam(), Frame{0x900000}));
  EXPECT_EQ(guest.tracker.tables(), 4U);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(TableTracker, DropsARootWhoseUserHalfBecameEmptyOnceAnotherIsLoaded) {
  const Frame root = guest.new_process();
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  EXPECT_TRUE(guest.tracker.is_watched(root)) << "it is still the current root";
  const Frame next = guest.new_process();
  EXPECT_FALSE(guest.tracker.is_watched(root));
  EXPECT_TRUE(guest.tracker.is_watched(next));
}

TEST_P(TableTracker, ReportsContentWrites) {
  guest.new_process();
  ASSERT_TRUE(guest.tracker.watch_content(FakeGuest::kVdso));
  guest.events.clear();
  guest.store(FakeGuest::kVdso.slot(2), 0x9090);
  ASSERT_EQ(guest.events.size(), 1U);
  EXPECT_EQ(guest.events[0].kind, Kind::ContentWrite);
  EXPECT_EQ(guest.events[0].new_value, 0x9090U);
  ASSERT_NE(guest.tracker.shadow(FakeGuest::kVdso), nullptr);
  EXPECT_EQ((*guest.tracker.shadow(FakeGuest::kVdso))[2], 0x9090U);
  EXPECT_FALSE(guest.tracker.watch_content(Frame{0x900000})) << "outside RAM";
  EXPECT_EQ(guest.tracker.shadow(Frame{0x900000}), nullptr);
}

TEST_P(TableTracker, KeepsARootThatAnotherVcpuHasLoaded) {
  const Frame root = guest.new_process();
  guest.vcpu = 1;
  guest.load_root(root);
  // The process ends on one vCPU; on the other a kernel thread still borrows its root.
  guest.vcpu = 0;
  guest.store(root.slot(FakeGuest::kVdsoPlace.value >> 39), 0);
  guest.new_process();
  EXPECT_TRUE(guest.tracker.is_watched(root));
  guest.vcpu = 1;
  const Frame other = guest.new_process();
  EXPECT_FALSE(guest.tracker.is_watched(root));
  guest.tracker.leave(arch::Half::Lower, 0);
  EXPECT_TRUE(guest.tracker.has_root(other, arch::Half::Lower));
}

TEST_P(TableTracker, SaysWhichVcpuStored) {
  const Frame root = guest.new_process();
  for (const std::uint8_t vcpu : std::to_array<std::uint8_t>({0, 1, 0})) {
    guest.vcpu = vcpu;
    guest.events.clear();
    guest.unmap(root, FakeGuest::kVvarPlace);
    guest.map(root, Gva{0x10000000 + vcpu * 0x40000000ULL}, FakeGuest::kOther);
    EXPECT_FALSE(guest.events.empty());
    for (const Event& event : guest.events) EXPECT_EQ(event.vcpu, vcpu);
  }
}

}  // namespace
}  // namespace sealvisor::test
