// Address spaces as such: when they begin and end, which one runs, and what is left of one.
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"
#include "vmm/model/space.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

class SpaceLife : public testing::TestWithParam<Arch> {
 protected:
  void SetUp() override { guest.learn_vdso(); }
  /// A table of `level` of the lower half is linked there no more; `half` 1 is the upper one.
  void remove_table(Frame frame, std::uint8_t level, std::uint64_t half = 0) {
    Event event{};
    event.kind = Kind::TableRemoved;
    event.level = level;
    event.gpa = frame.gpa().value;
    event.new_value = half;
    guest.emit(event);
  }
  /// The next table is in a frame with an even number.
  void align() { guest.next_table += guest.next_table % 2; }
  [[nodiscard]] const model::AddressSpace* find(Frame root) const {
    return std::as_const(guest.spaces).find(root);
  }
  FakeGuest guest{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(BothArchs, SpaceLife, testing::ValuesIn(arch::kAllArchs), ArchName{});

TEST_P(SpaceLife, BeginsWithTheFirstLoadOfItsRoot) {
  const Frame root = guest.new_table();
  EXPECT_EQ(find(root), nullptr);
  model::Look look;
  EXPECT_EQ(guest.spaces.look(root, look), nullptr);
  guest.map(root, Gva{0x10000}, FakeGuest::kOther);  // An empty one ends where the next is loaded.
  guest.icount = 70;
  guest.load_root(root);
  guest.load_root(guest.new_process());
  guest.load_root(root);
  ASSERT_NE(find(root), nullptr);
  EXPECT_EQ(find(root)->born, 71U);
  EXPECT_EQ(find(root)->root, root);
  EXPECT_EQ(guest.spaces.generations(), 2U) << "each root is one, however often it is loaded";
  EXPECT_EQ(guest.spaces.look(root, look), find(root));
}

TEST_P(SpaceLife, IsFoundByItsNumber) {
  const Frame first = guest.new_process();
  const Frame second = guest.new_process();
  EXPECT_EQ(guest.spaces.by_id(find(first)->id), find(first));
  EXPECT_EQ(guest.spaces.by_id(find(second)->id), find(second));
  EXPECT_EQ(guest.spaces.by_id(99), nullptr);
}

/// The root's frame may be a table at other places too, or the other half's root.
TEST_P(SpaceLife, EndsWithItsRootAndWithNothingElse) {
  const Frame root = guest.new_process();
  remove_table(root, 3);
  EXPECT_NE(find(root), nullptr);
  remove_table(root, 4, 1);
  EXPECT_NE(find(root), nullptr);
  remove_table(root, 4);
  EXPECT_EQ(find(root), nullptr);
  remove_table(root, 4);  // One that nobody knows.
  remove_table(Frame{0x333}, 4);
  EXPECT_TRUE(guest.spaces.all().empty());
  EXPECT_TRUE(guest.spaces.take_ended().empty()) << "it had no system mapping at its end";
}

TEST_P(SpaceLife, WhatEndedIsToldAsItWas) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  guest.spaces.find(root)->user_entries = 12;
  guest.unmap(root, FakeGuest::kVdsoPlace);
  guest.enter_user(root);
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  guest.unmap(root, FakeGuest::kVvarPlace);
  guest.enter_user(root);
  remove_table(root, 4);
  const auto ended = guest.spaces.take_ended();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].user_entries, 12U);
  EXPECT_EQ(ended[0].pages_present, 2U);
  EXPECT_EQ(ended[0].pages_zapped, 1U);
  EXPECT_EQ(ended[0].pages_never, 1U);
  EXPECT_EQ(ended[0].refaults, 1U);
  ASSERT_EQ(ended[0].placements.size(), 2U);
  for (const model::Placement& placement : ended[0].placements) {
    EXPECT_EQ(placement.base,
              placement.mapping == 0 ? FakeGuest::kVdsoPlace : FakeGuest::kVvarPlace);
    EXPECT_EQ(placement.pages[0].zaps, 1U);
  }
}

TEST_P(SpaceLife, EachHalfIsWalkedFromItsOwnRoot) {
  const Frame root = guest.new_process();
  Frame upper_root = root;
  if (GetParam() == Arch::Arm64) {
    upper_root = guest.new_table();
    guest.load_upper_root(upper_root);
  }
  const Gva place{0xffff800000000000};
  guest.map(upper_root, place, FakeGuest::kOther);
  const arch::Walk upper = guest.spaces.walk(*find(root), place);
  EXPECT_EQ(upper.end, arch::WalkEnd::Leaf);
  EXPECT_EQ(arch::frame_of(upper.output), FakeGuest::kOther);
  EXPECT_EQ(upper.steps[0].slot, upper_root.slot(256));
  const arch::Walk lower = guest.spaces.walk(*find(root), FakeGuest::kVdsoPlace);
  EXPECT_EQ(arch::frame_of(lower.output), FakeGuest::kVdso);
  EXPECT_EQ(lower.steps[0].slot, root.slot(FakeGuest::kVdsoPlace.value >> 39));
}

TEST_P(SpaceLife, RootsThatShowAFrameAtAnAddress) {
  const Frame first = guest.new_process();
  const Frame second = guest.new_process();
  guest.map(second, FakeGuest::kVvarPlace, FakeGuest::kOther);
  EXPECT_EQ(guest.spaces.roots_showing(FakeGuest::kVdsoPlace, FakeGuest::kVdso),
            (std::vector{first, second}));
  EXPECT_EQ(guest.spaces.roots_showing(FakeGuest::kVvarPlace, FakeGuest::kVvar),
            std::vector{first});
  EXPECT_EQ(guest.spaces.roots_showing(FakeGuest::kVvarPlace, FakeGuest::kOther),
            std::vector{second});
  // Where nothing is, no frame is, and not the first one either.
  const Gva nothing{FakeGuest::kVvarPlace.value + 0x1000};
  EXPECT_TRUE(guest.spaces.roots_showing(nothing, Frame{0}).empty());
}

TEST_P(SpaceLife, NothingRunsWhereNoRootWasLoaded) {
  guest.emit(Event{});
  EXPECT_EQ(guest.spaces.running(), nullptr);
  const Frame root = guest.new_process();
  EXPECT_EQ(guest.spaces.running(), find(root));
  remove_table(root, 4);
  EXPECT_EQ(guest.spaces.running(), nullptr) << "it ended while it was loaded";
}

/// x86-64, with page-table isolation: the kernel's root stands in front of user mode's.
TEST_P(SpaceLife, TheKernelRunsForTheProcessWhoseRootIsBehindItsOwn) {
  const bool pair = GetParam() == Arch::X86_64;
  align();
  const Frame kernel = guest.new_table();
  const Frame user = guest.new_process();
  ASSERT_EQ(kernel.number | 1, user.number);
  guest.load_root(kernel);
  EXPECT_EQ(guest.spaces.running(), find(kernel)) << "user mode has no system mapping yet";
  guest.enter_user(user);
  EXPECT_EQ(guest.spaces.running(), find(pair ? user : kernel));
  remove_table(kernel, 4);
  EXPECT_EQ(guest.spaces.running(), pair ? find(user) : nullptr);
}

/// Without it the frames behind a root are anyone's.
TEST_P(SpaceLife, ARootWithPlacesOfItsOwnRunsForItself) {
  align();
  const Frame first = guest.new_table();
  const Frame second = guest.new_process();
  ASSERT_EQ(first.number | 1, second.number);
  guest.enter_user(second);
  guest.map(first, FakeGuest::kVdsoPlace, FakeGuest::kVdso);
  guest.load_root(first);
  guest.enter_user(first);
  EXPECT_EQ(guest.spaces.running(), find(first));
}

/// Until it is known how entries are to be read, roots are all that is known.
TEST_P(SpaceLife, WithoutAFormatNothingIsReadFromTables) {
  const Frame root = guest.new_process();
  model::Spaces early{guest.mirror, guest.identities};
  Event event{};
  event.kind = Kind::RootLoad;
  event.gpa = root.gpa().value;
  early.on_event(event);
  event.kind = Kind::SlotWrite;
  event.level = 1;
  event.gpa = Frame{0x190}.slot(3).value;
  event.new_value = leaf_entry(GetParam(), FakeGuest::kVdso.gpa());
  EXPECT_TRUE(early.on_event(event).empty());
  EXPECT_TRUE(early.roots_showing(FakeGuest::kVdsoPlace, FakeGuest::kVdso).empty());
  model::Look look;
  ASSERT_NE(early.look(root, look), nullptr);
  EXPECT_TRUE(look.transitions.empty());
  EXPECT_TRUE(look.new_elsewhere.empty());
  event = {};
  event.kind = Kind::TableRemoved;
  event.level = 4;
  event.gpa = root.gpa().value;
  early.on_event(event);
  EXPECT_NE(early.find(root), nullptr);
  // It is looked at from then on.
  early.set_format(GetParam(), guest.format);
  early.look(root, look);
  EXPECT_EQ(look.transitions.size(), 3U);
}

}  // namespace
}  // namespace sealvisor::test
