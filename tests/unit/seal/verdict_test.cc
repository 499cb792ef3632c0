#include "vmm/seal/verdict.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "vmm/seal/observe.h"

namespace sealvisor::test {
namespace {

using report::Change;
using report::Verdict;

report::Cell cell(Change observed, std::int64_t answer, bool claims_sealed,
                  std::optional<Change> expected, std::vector<int> errnos) {
  report::Cell cell;
  cell.observation.change = observed;
  cell.claim.made = true;
  cell.claim.result = answer;
  cell.claim.sealed = claims_sealed;
  cell.expectation = report::Expected{std::move(errnos), expected, "", "test"};
  return cell;
}

TEST(JudgeCell, HoldsWhenRefusedAndUnchanged) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, -EPERM, true, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Held);
  EXPECT_TRUE(judged.findings.empty());
}

TEST(JudgeCell, ARefaultOfTheSameFrameIsUnchanged) {
  EXPECT_EQ(
      seal::judge_cell(cell(Change::Refaulted, -EPERM, true, Change::Unchanged, {EPERM}), true)
          .verdict,
      Verdict::Held);
}

TEST(JudgeCell, NeverHoldsWhatWasNotObserved) {
  EXPECT_EQ(
      seal::judge_cell(cell(Change::Unobserved, -EPERM, true, Change::Unchanged, {EPERM}), true)
          .verdict,
      Verdict::Unobserved);
}

TEST(JudgeCell, AChangeBehindARefusalIsAViolationAndAFalseClaim) {
  const auto judged =
      seal::judge_cell(cell(Change::Gone, -EPERM, true, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Violation);
  ASSERT_EQ(judged.findings.size(), 2U) << "errno and sl both claim otherwise";
  EXPECT_EQ(judged.findings[0].first, "claim");
}

TEST(JudgeCell, AWrongErrnoIsAMismatchEvenIfNothingChanged) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, -EINVAL, true, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  ASSERT_EQ(judged.findings.size(), 1U);
  EXPECT_EQ(judged.findings[0].first, "expectation");
}

TEST(JudgeCell, AnUnsealedKernelIsExpectedToChange) {
  EXPECT_EQ(seal::judge_cell(cell(Change::Moved, 0, false, Change::Moved, {0}), false).verdict,
            Verdict::AsExpected);
}

TEST(JudgeCell, AnExpectedChangeThatDidNotHappenIsAMismatch) {
  const auto judged = seal::judge_cell(cell(Change::Unchanged, 0, false, Change::Gone, {0}), false);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings.size(), 1U);
}

TEST(JudgeCell, OtherPermissionsThanAskedForAreAMismatch) {
  report::Cell changed = cell(Change::PermissionChanged, 0, false, Change::PermissionChanged, {0});
  changed.expectation->permissions = "r--";
  changed.observation.permissions = "r--";
  EXPECT_EQ(seal::judge_cell(changed, false).verdict, Verdict::AsExpected);
  changed.observation.permissions = "rwx";
  EXPECT_EQ(seal::judge_cell(changed, false).verdict, Verdict::Mismatch);
}

TEST(JudgeCell, ASealThatSmapsDoesNotShowIsAMismatch) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, -EPERM, false, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  ASSERT_EQ(judged.findings.size(), 1U);
  EXPECT_EQ(judged.findings[0].first, "claim");
}

TEST(JudgeCell, AWrongAnswerIsAMismatchEvenWhereNothingWasSeen) {
  EXPECT_EQ(
      seal::judge_cell(cell(Change::Unobserved, -EINVAL, true, Change::Unchanged, {EPERM}), true)
          .verdict,
      Verdict::Mismatch);
}

TEST(JudgeCell, AnUnknownKernelIsHeldToItsOwnClaims) {
  report::Cell unknown = cell(Change::Gone, 0, true, std::nullopt, {});
  unknown.expectation.reset();
  EXPECT_EQ(seal::judge_cell(unknown, false).verdict, Verdict::Violation);
  unknown.claim.sealed = false;
  EXPECT_EQ(seal::judge_cell(unknown, false).verdict, Verdict::AsExpected);
}

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
  EXPECT_EQ(result.pages.kept, 2U);
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
  EXPECT_EQ(look(two_pages(), after).change, Change::Replaced);
}

TEST(Observe, PermissionChanged) {
  auto after = two_pages();
  after.placement.pages[0].now.permissions.write = true;
  const auto result = look(two_pages(), after);
  EXPECT_EQ(result.change, Change::PermissionChanged);
  EXPECT_NE(result.text.find("r-x -> rwx"), std::string::npos);
}

TEST(Observe, MovedNeedsBothAnEmptyPlaceAndAnotherOne) {
  auto after = two_pages();
  after.elsewhere.push_back({{0, 0}, arch::Gva{0x5000}, {true, false, true, 0}, 4096});
  EXPECT_EQ(look(two_pages(), after).change, Change::Added);
  after.placement.pages[0].now = {};
  EXPECT_EQ(look(two_pages(), after).change, Change::Moved);
}

TEST(Observe, ASecondPlaceThatWasThereBeforeIsNoChange) {
  auto both = two_pages();
  both.elsewhere.push_back({{0, 0}, arch::Gva{0x5000}, {true, false, true, 0}, 4096});
  EXPECT_EQ(look(both, both).change, Change::Unchanged);
}

TEST(Observe, RefaultedIsSeen) {
  auto after = two_pages();
  after.placement.pages[0].refaults = 1;
  EXPECT_EQ(look(two_pages(), after).change, Change::Refaulted);
}

TEST(Observe, PagesNeverPopulatedAreUnobserved) {
  auto before = two_pages();
  before.placement.pages[1].now = {};
  const auto result = look(before, before);
  EXPECT_EQ(result.change, Change::Unchanged);
  EXPECT_EQ(result.pages.observed, 1U);
  before.placement.pages[0].now = {};
  EXPECT_EQ(look(before, before).change, Change::Unobserved);
  EXPECT_EQ(look({}, {}).change, Change::Unobserved);
}

TEST(Observe, WhatWasDoneToAPageNeverPopulatedIsUnobserved) {
  auto before = two_pages();
  before.placement.pages[1].now = {};
  EXPECT_EQ(look(before, before, {1, 2}).change, Change::Unobserved);
  EXPECT_EQ(look(before, before, {0, 1}).change, Change::Unchanged);
  auto after = before;
  after.placement.pages[0].now = {};
  EXPECT_EQ(look(before, after, {1, 2}).change, Change::Gone) << "a change that shows is told";
}

}  // namespace
}  // namespace sealvisor::test
