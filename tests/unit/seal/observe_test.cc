// What two looks at a mapping say of an operation between them.
#include "vmm/seal/observe.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using report::Change;

/// Two pages, mapped at frames 1 and 2, r-x, before anything happened.
seal::Snapshot two_pages() {
  seal::Snapshot snapshot;
  snapshot.placement.pages.resize(2);
  for (std::uint64_t i = 0; i < 2; ++i) {
    auto& page = snapshot.placement.pages[i];
    page.now = {arch::WalkEnd::Leaf, arch::Frame{i + 1}, {true, false, true, 0}, 1, 1};
    page.first = page.now;
  }
  return snapshot;
}

/// Of an operation on both pages.
report::Observation look(const seal::Snapshot& before, const seal::Snapshot& after,
                         seal::PageRange target = {0, 2}) {
  return seal::observe(before, after, target);
}

TEST(Observe, Unchanged) {
  const auto result = look(two_pages(), two_pages());
  EXPECT_EQ(result.change, Change::Unchanged);
  EXPECT_EQ(result.pages.total, 2U);
  EXPECT_EQ(result.pages.observed, 2U);
  EXPECT_EQ(result.pages.kept, 2U);
  EXPECT_EQ(result.pages.refaulted, 0U);
  EXPECT_EQ(result.pages.changed, 0U);
  EXPECT_EQ(result.text, "unchanged");
  EXPECT_EQ(look(two_pages(), two_pages(), {0, 1}).change, Change::Unchanged)
      << "a page beside the target hides nothing";
}

TEST(Observe, OnePageGone) {
  auto after = two_pages();
  after.placement.pages[1].now = {};
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::Gone);
  EXPECT_EQ(result.pages.changed, 1U);
  EXPECT_EQ(result.pages.kept, 1U);
}

TEST(Observe, AWholePlacementThatVanishedIsGone) {
  EXPECT_EQ(look(two_pages(), {}).change, Change::Gone);
}

TEST(Observe, Replaced) {
  auto after = two_pages();
  after.placement.pages[0].now.frame = arch::Frame{9};
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::Replaced);
  EXPECT_EQ(result.text, "replaced (frame 0x1000 -> 0x9000)");
  EXPECT_EQ(result.permissions, "") << "the same";
}

TEST(Observe, PermissionChanged) {
  auto after = two_pages();
  after.placement.pages[0].now.permissions.write = true;
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::PermissionChanged);
  EXPECT_EQ(result.permissions, "rwx");
  EXPECT_EQ(result.text, "permission-changed (r-x -> rwx)");
}

TEST(Observe, AnEntryThatIsNotPresentLeavesNoPermission) {
  auto after = two_pages();
  after.placement.pages[1].now = {arch::WalkEnd::NonPresent, {}, {}, 0x800, 1};
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::PermissionChanged);
  EXPECT_EQ(result.permissions, "non-present");
  EXPECT_EQ(result.text, "permission-changed (r-x -> non-present)");
}

TEST(Observe, MovedNeedsBothAnEmptyPlaceAndAnotherOne) {
  auto after = two_pages();
  after.elsewhere.push_back({{0, 0}, arch::Gva{0x5000}, {true, false, true, 0}, 4096});
  EXPECT_EQ(look(two_pages(), after).change, Change::Added);
  after.placement.pages[0].now = {};
  const auto moved = look(two_pages(), after);
  EXPECT_EQ(moved.change, Change::Moved);
  EXPECT_EQ(moved.text, "moved (at 0x5000 r-x)");
  after.placement.pages[0].now = two_pages().placement.pages[0].now;
  after.placement.pages[0].now.frame = arch::Frame{9};
  EXPECT_EQ(look(two_pages(), after).change, Change::Moved) << "another one took its place";
}

TEST(Observe, ASecondPlaceThatWasThereBeforeIsNoChange) {
  auto both = two_pages();
  both.elsewhere.push_back({{0, 0}, arch::Gva{0x5000}, {true, false, true, 0}, 4096});
  EXPECT_EQ(look(both, both).change, Change::Unchanged);
}

TEST(Observe, RefaultedIsSeen) {
  auto after = two_pages();
  after.placement.pages[0].refaults = 1;
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::Refaulted);
  EXPECT_EQ(result.pages.kept, 1U);
  EXPECT_EQ(result.pages.refaulted, 1U);
  EXPECT_EQ(result.pages.changed, 0U);
  after = two_pages();
  after.placement.pages[0].zaps = 1;
  EXPECT_EQ(look(two_pages(), after).change, Change::Refaulted)
      << "it was absent while user mode ran";
}

TEST(Observe, PagesNeverPopulatedAreUnobserved) {
  auto before = two_pages();
  before.placement.pages[1].now = {};
  const auto result = look(before, before);
  EXPECT_EQ(result.change, Change::Unchanged);
  EXPECT_EQ(result.pages.total, 2U);
  EXPECT_EQ(result.pages.observed, 1U);
  EXPECT_EQ(result.text, "unchanged, 1 of 2 pages seen");
  before.placement.pages[0].now = {};
  EXPECT_EQ(look(before, before).change, Change::Unobserved);
  EXPECT_EQ(look(before, before).text, "unobserved: no page of it was ever populated");
  EXPECT_EQ(look({}, {}).change, Change::Unobserved);
}

TEST(Observe, WhatWasDoneToAPageNeverPopulatedIsUnobserved) {
  auto before = two_pages();
  before.placement.pages[1].now = {};
  EXPECT_EQ(look(before, before, {1, 2}).change, Change::Unobserved);
  EXPECT_EQ(look(before, before, {1, 2}).text,
            "unobserved: no page that it was to change was ever populated");
  EXPECT_EQ(look(before, before, {0, 1}).change, Change::Unchanged);
  auto behind = two_pages();
  behind.placement.pages[0].now = {};
  EXPECT_EQ(look(behind, behind, {0, 1}).change, Change::Unobserved);
  auto after = before;
  after.placement.pages[0].now = {};
  EXPECT_EQ(look(before, after, {1, 2}).change, Change::Gone) << "a change that shows is told";
}

TEST(Observe, ACopyOfCodeIsPrivatised) {
  auto after = two_pages();
  after.placement.pages[0].now.frame = arch::Frame{9};
  after.copied = {8, seal::kNoCopy};
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::Privatised);
  EXPECT_NE(result.text.find("a copy but for 8 bytes"), std::string::npos) << result.text;
  after.placement.pages[0].now.permissions.write = true;
  EXPECT_EQ(look(two_pages(), after).change, Change::Replaced) << "and other permissions";
}

TEST(Observe, OfVictimAndChildTheWorseCounts) {
  report::Observation own;
  own.change = Change::Unchanged;
  report::Observation child;
  child.change = Change::Gone;
  child.text = "gone";
  EXPECT_EQ(seal::worse(own, child).change, Change::Gone);
  EXPECT_EQ(seal::worse(own, child).text, "in the forked child: gone");
  EXPECT_EQ(seal::worse(child, own).change, Change::Gone);
  EXPECT_EQ(seal::worse(child, own).text, "gone");
}

/// Two mappings, one of code; frame 9 is a copy of frame 1 but for three bytes, frame 8 is not, and
/// frame 7 can't be read.
class CopiesOfCode : public testing::Test {
 protected:
  void SetUp() override {
    model::SystemMapping code;
    code.code = true;
    code.frames = {arch::Frame{1}, std::nullopt};
    identities_.add(code);
    model::SystemMapping data;
    data.frames = {arch::Frame{3}};
    identities_.add(data);
  }
  static std::optional<std::uint32_t> compare(arch::Frame one, arch::Frame other) {
    if (one == other) return 0;
    if (other.number == 7) return std::nullopt;
    return other.number == 9 ? 3 : 4000;
  }
  model::Identities identities_;
};

TEST_F(CopiesOfCode, AreOfCodeOnly) {
  const auto copied = [&](std::size_t mapping, std::uint32_t page, std::uint64_t frame) {
    return seal::copied_bytes(identities_, {mapping, page}, arch::Frame{frame}, compare);
  };
  EXPECT_EQ(copied(0, 0, 9), 3U);
  EXPECT_EQ(copied(0, 0, 1), std::nullopt) << "its own";
  EXPECT_EQ(copied(0, 0, 8), std::nullopt) << "something else";
  EXPECT_EQ(copied(0, 0, 7), std::nullopt) << "nobody knows";
  EXPECT_EQ(copied(0, 1, 9), std::nullopt) << "nothing to compare with";
  EXPECT_EQ(copied(1, 0, 9), std::nullopt) << "data";
  EXPECT_EQ(seal::copied_bytes(identities_, {0, 0}, arch::Frame{9}, {}), std::nullopt);
}

TEST_F(CopiesOfCode, AreInTheSnapshotOfWhatShowsThem) {
  model::Placement placement;
  placement.base = arch::Gva{0x7000};
  placement.pages.resize(2);
  const auto copied = [&](arch::WalkEnd end, std::uint64_t frame) {
    placement.pages[0].now.end = end;
    placement.pages[0].now.frame = arch::Frame{frame};
    model::AddressSpace space;
    space.placements = {placement};
    return seal::snapshot(space, 0, identities_, compare).copied;
  };
  using Bytes = std::vector<std::uint32_t>;
  EXPECT_EQ(copied(arch::WalkEnd::Leaf, 9), (Bytes{3, seal::kNoCopy}));
  EXPECT_EQ(copied(arch::WalkEnd::Leaf, 8), (Bytes{seal::kNoCopy, seal::kNoCopy}));
  EXPECT_EQ(copied(arch::WalkEnd::Leaf, 1), (Bytes{seal::kNoCopy, seal::kNoCopy}));
  EXPECT_EQ(copied(arch::WalkEnd::NonPresent, 9), (Bytes{seal::kNoCopy, seal::kNoCopy}))
      << "user mode reaches none";
}

TEST_F(CopiesOfCode, ASnapshotIsOfOneMapping) {
  model::AddressSpace space;
  model::Placement placement;
  placement.mapping = 1;
  placement.base = arch::Gva{0x7000};
  placement.pages.resize(1);
  space.placements = {placement};
  const model::Elsewhere code{{0, 1}, arch::Gva{0x5000}, {true, false, true, 0}, 4096};
  const model::Elsewhere data{{1, 0}, arch::Gva{0x6000}, {true, false, false, 0}, 4096};
  space.elsewhere = {code, data};
  const seal::Snapshot of_code = seal::snapshot(space, 0, identities_, compare);
  EXPECT_TRUE(of_code.placement.pages.empty()) << "it has no place here";
  EXPECT_EQ(of_code.elsewhere, std::vector<model::Elsewhere>{code});
  const seal::Snapshot of_data = seal::snapshot(space, 1, identities_, compare);
  EXPECT_EQ(of_data.placement.base, arch::Gva{0x7000});
  EXPECT_EQ(of_data.elsewhere, std::vector<model::Elsewhere>{data});
}

}  // namespace
}  // namespace sealvisor::test
