#include "vmm/model/mirror.h"

#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/table_copies.h"

namespace sealvisor::test {
namespace {

class Mirror : public testing::TestWithParam<Arch> {
 protected:
  FakeGuest guest{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Mirror, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(Mirror, EqualsMemoryAfterHonestWork) {
  const Frame root = guest.new_process();
  guest.unmap(root, FakeGuest::kVvarPlace);
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kVvar);
  const model::Rewalk result = guest.rewalk(root);
  EXPECT_EQ(result.mismatches, 0U) << result.first;
  EXPECT_EQ(result.tables, 4U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
}

TEST_P(Mirror, RewalkFindsAStoreWithoutAnEvent) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVdsoPlace);
  const std::uint64_t told = guest.entry_at(slot);
  guest.secret_store(slot, 0);
  const model::Rewalk result = guest.rewalk(root);
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_FALSE(result.exhausted);
  EXPECT_EQ(result.first,
            fmt::format("level-1 entry at {:#x}: memory holds 0x0, the events told {:#x}",
                        slot.value, told));
}

TEST_P(Mirror, RewalkNamesTheFirstOfManyDifferences) {
  const Frame root = guest.new_process();
  const Frame below = guest.new_table();
  guest.secret_store(root.slot(0), table_entry(GetParam(), below));
  guest.secret_store(root.slot(1), 0xa00);
  const model::Rewalk result = guest.rewalk(root);
  EXPECT_EQ(result.tables, 5U);
  EXPECT_EQ(result.mismatches, 3U) << "two entries, and the table that nobody told of";
  EXPECT_EQ(result.first,
            fmt::format("level-4 entry at {:#x}: memory holds {:#x}, the events told 0x0",
                        root.slot(0).value, table_entry(GetParam(), below)));
}

TEST_P(Mirror, RewalkThatRunsOutOfItsBudgetIsAMismatch) {
  const Frame root = guest.new_process();
  // Two frames that link themselves and each other everywhere: 512^3 ways down to a leaf.
  for (const Frame frame : {Frame{0x200}, Frame{0x201}}) {
    for (std::size_t i = 0; i < arch::kTableEntries; ++i) {
      guest.memory.tables[frame][i] = table_entry(GetParam(), Frame{0x200 + i % 2});
    }
  }
  guest.store(root.slot(0), table_entry(GetParam(), Frame{0x200}));
  model::Rewalk result = guest.rewalk(root);
  EXPECT_TRUE(result.exhausted);
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_EQ(result.first, fmt::format("root {:#x} links more tables than a re-walk reads (65536)",
                                      root.gpa().value));
  // Another difference before that is the one that is named.
  guest.secret_store(root.slot(1), 0xa00);
  result = guest.rewalk(root);
  EXPECT_TRUE(result.exhausted);
  EXPECT_EQ(result.mismatches, 2U);
  EXPECT_EQ(result.first.substr(0, 13), "level-4 entry");
}

TEST_P(Mirror, ReadsCopiesAsItReadsMemory) {
  const Frame root = guest.new_process();
  model::TableCopies copies([&](Frame frame) { return guest.memory.ram.contains(frame); });
  const auto compare = [&] {
    return model::rewalk(guest.format, copies, guest.mirror, root, arch::Half::Lower,
                         arch::Scope::UserHalf);
  };
  const auto copy_all = [&] {
    for (const Frame frame : guest.mirror.frames()) {
      arch::Table table{};
      ASSERT_TRUE(guest.memory.read_table(frame, table));
      copies.add(frame, table);
    }
  };
  copy_all();
  EXPECT_EQ(compare().mismatches, 0U);
  EXPECT_EQ(copies.missing(), std::nullopt);
  // A store that came after the copy does not matter, one before it does.
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVdsoPlace);
  guest.secret_store(slot, 0);
  EXPECT_EQ(compare().mismatches, 0U);
  copies.clear();
  copy_all();
  EXPECT_EQ(compare().mismatches, 1U);
  copies.clear();
  (void)compare();
  EXPECT_EQ(copies.missing(), root) << "a frame of RAM that nobody copied";
}

TEST_P(Mirror, RewalkFindsATableWithoutAnEvent) {
  const Frame root = guest.new_process();
  guest.secret_store(root.slot(1), table_entry(GetParam(), guest.new_table()));
  EXPECT_EQ(guest.rewalk(root).mismatches, 2U) << "the link, and the table that nobody told of";
}

TEST_P(Mirror, RewalkFindsADroppedEvent) {
  const Frame root = guest.new_process();
  guest.mutate = [](event::Event& event) { return event.kind != event::Kind::SlotWrite; };
  guest.unmap(root, FakeGuest::kVvarPlace);
  EXPECT_EQ(guest.rewalk(root).mismatches, 1U);
}

TEST_P(Mirror, RewalkFindsAMutatedValue) {
  const Frame root = guest.new_process();
  guest.mutate = [](event::Event& event) {
    if (event.kind == event::Kind::SlotWrite) event.new_value ^= std::uint64_t{1} << 12;
    return true;
  };
  guest.map(root, FakeGuest::kVvarPlace, FakeGuest::kOther);
  EXPECT_EQ(guest.rewalk(root).mismatches, 1U);
}

TEST_P(Mirror, ChainFindsAWriteThatWasHiddenByItsUndo) {
  const Frame root = guest.new_process();
  int writes = 0;
  // Of set, clear, set only the first is lost: memory ends as the events say it does.
  guest.mutate = [&](event::Event& event) {
    return event.kind != event::Kind::SlotWrite || writes++ != 0;
  };
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const std::uint64_t value = leaf_entry(GetParam(), FakeGuest::kVvar.gpa());
  guest.store(slot, 0);
  guest.store(slot, value);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
  EXPECT_EQ(guest.mirror.broken_links(), 1U);
  EXPECT_NE(guest.mirror.first_broken().find("says old"), std::string::npos);
}

TEST_P(Mirror, IgnoresWhatTheTableWalkerSets) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  const std::uint64_t bits = arch::hardware_bits(guest.format, 1);
  guest.secret_store(slot, leaf_entry(GetParam(), FakeGuest::kVvar.gpa()) | bits);
  EXPECT_EQ(guest.rewalk(root).mismatches, 0U);
}

TEST_P(Mirror, NotesEventsForFramesItDoesNotHave) {
  event::Event event{};
  event.kind = event::Kind::SlotWrite;
  event.gpa = 0x1008;
  event.icount = 7;
  event.old_value = 0x12;
  guest.mirror.apply(event);
  event.kind = event::Kind::TableRemoved;
  event.gpa = 0x2000;
  guest.mirror.apply(event);
  EXPECT_EQ(guest.mirror.broken_links(), 2U);
  EXPECT_EQ(guest.mirror.first_broken(),
            "write to 0x1008 at instruction 7 says old 0x12, model holds 0x0");
  EXPECT_EQ(guest.mirror.size(), 0U);
}

TEST_P(Mirror, HoldsATableUntilItsLastLinkIsGone) {
  event::Event event{};
  const auto apply = [&](event::Kind kind, Frame frame) {
    event.kind = kind;
    event.gpa = frame.gpa().value;
    guest.mirror.apply(event);
  };
  apply(event::Kind::TableAdded, Frame{0x300});
  apply(event::Kind::TableAdded, Frame{0x200});
  apply(event::Kind::TableAdded, Frame{0x280});
  apply(event::Kind::TableAdded, Frame{0x200});
  EXPECT_EQ(guest.mirror.frames(), (std::vector{Frame{0x200}, Frame{0x280}, Frame{0x300}}));
  apply(event::Kind::TableRemoved, Frame{0x200});
  EXPECT_NE(guest.mirror.table(Frame{0x200}), nullptr) << "linked once more";
  apply(event::Kind::TableRemoved, Frame{0x200});
  EXPECT_EQ(guest.mirror.table(Frame{0x200}), nullptr);
  EXPECT_EQ(guest.mirror.size(), 2U);
  EXPECT_EQ(guest.mirror.most(), 3U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U);
}

TEST_P(Mirror, ReadsEntriesAsMemoryDoes) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  std::uint64_t value = 1;
  EXPECT_FALSE(guest.mirror.read_entry(Gpa{slot.value + 4}, value)) << "no slot";
  EXPECT_FALSE(guest.mirror.read_entry(FakeGuest::kOther.slot(0), value)) << "no table";
  EXPECT_EQ(value, 1U);
  EXPECT_TRUE(guest.mirror.read_entry(slot, value));
  EXPECT_EQ(value, leaf_entry(GetParam(), FakeGuest::kVvar.gpa()));
  arch::Table table{};
  EXPECT_FALSE(guest.mirror.read_table(FakeGuest::kOther, table));
  ASSERT_TRUE(guest.mirror.read_table(arch::frame_of(slot), table));
  EXPECT_EQ(table, guest.memory.tables[arch::frame_of(slot)]);
}

TEST_P(Mirror, TakesWhatIsFoundInATableThatIsLinkedOnceMore) {
  const Frame root = guest.new_process();
  const Gpa slot = guest.leaf_slot(root, FakeGuest::kVvarPlace);
  event::Event event{};
  event.kind = event::Kind::EntryFound;
  event.gpa = slot.value;
  event.new_value = 0xa00;
  guest.mirror.apply(event);
  std::uint64_t value = 0;
  ASSERT_TRUE(guest.mirror.read_entry(slot, value));
  EXPECT_EQ(value, 0xa00U);
  EXPECT_EQ(guest.mirror.broken_links(), 0U) << "it tells no old value";
}

}  // namespace
}  // namespace sealvisor::test
