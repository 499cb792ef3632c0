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

TEST_P(Spaces, FindsASecondTranslationThroughALinkedTable) {
  const Frame root = guest.new_process();
  guest.enter_user(root);
  std::uint64_t entry = 0;
  ASSERT_TRUE(guest.memory.read_entry(root.slot(FakeGuest::kVdsoPlace.value >> 39), entry));
  guest.store(root.slot(3), entry);
  EXPECT_EQ(guest.enter_user(root).new_elsewhere.size(), 3U);
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

}  // namespace
}  // namespace sealvisor::test
