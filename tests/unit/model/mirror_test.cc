#include "vmm/model/mirror.h"

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
  guest.secret_store(slot, 0);
  const model::Rewalk result = guest.rewalk(root);
  EXPECT_EQ(result.mismatches, 1U);
  EXPECT_NE(result.first.find("entry at"), std::string::npos);
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
  event.gpa = 0x1000;
  guest.mirror.apply(event);
  event.kind = event::Kind::TableRemoved;
  guest.mirror.apply(event);
  EXPECT_EQ(guest.mirror.broken_links(), 2U);
}

}  // namespace
}  // namespace sealvisor::test
