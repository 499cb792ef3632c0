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

/// Two mappings, one of code; frame 9 is a copy of frame 1 but for three bytes, frame 8 is not.
TEST(Observe, OnlyCodeIsComparedWithItsCopies) {
  model::Identities identities;
  model::SystemMapping code;
  code.code = true;
  code.frames = {arch::Frame{1}, std::nullopt};
  identities.add(code);
  model::SystemMapping data;
  data.frames = {arch::Frame{3}};
  identities.add(data);
  const seal::CompareFrames compare = [](arch::Frame, arch::Frame other) {
    return std::optional<std::uint32_t>(other.number == 9 ? 3 : 4000);
  };
  const auto copied = [&](std::size_t mapping, std::uint32_t page, std::uint64_t frame) {
    return seal::copied_bytes(identities, {mapping, page}, arch::Frame{frame}, compare);
  };
  EXPECT_EQ(copied(0, 0, 9), 3U);
  EXPECT_EQ(copied(0, 0, 1), std::nullopt) << "its own";
  EXPECT_EQ(copied(0, 0, 8), std::nullopt) << "something else";
  EXPECT_EQ(copied(0, 1, 9), std::nullopt) << "nothing to compare with";
  EXPECT_EQ(copied(1, 0, 9), std::nullopt) << "data";
  EXPECT_EQ(seal::copied_bytes(identities, {0, 0}, arch::Frame{9}, {}), std::nullopt);
}

TEST(Implied, OnlyWhatTheExpectedChangeIs) {
  const auto implied = [](Change change, const char* invariant, const char* breaks = "") {
    report::Cell one;
    one.expectation.emplace();
    one.expectation->change = change;
    one.expectation->breaks = breaks;
    return seal::implied(one, invariant);
  };
  EXPECT_TRUE(implied(Change::Gone, "S1"));
  EXPECT_TRUE(implied(Change::Moved, "S4"));
  EXPECT_TRUE(implied(Change::Replaced, "S2"));
  EXPECT_TRUE(implied(Change::Privatised, "S2"));
  EXPECT_TRUE(implied(Change::PermissionChanged, "S3"));
  EXPECT_TRUE(implied(Change::Refaulted, "S5", "S2 S5"));
  EXPECT_FALSE(implied(Change::Gone, "S2"));
  EXPECT_FALSE(implied(Change::Privatised, "S5"));
  EXPECT_FALSE(implied(Change::PermissionChanged, "S4"));
  EXPECT_FALSE(implied(Change::Replaced, "S5"));
  EXPECT_FALSE(implied(Change::Unchanged, "S1"));
  report::Cell any;
  any.expectation.emplace();
  EXPECT_TRUE(seal::implied(any, "S6")) << "any change is expected";
}

/// Of a kernel of which nothing is known beforehand, what the operation itself does is excepted, of
/// the mapping that it does it to.
TEST(Implied, WithoutExpectationsByTheOperation) {
  const auto implied = [](const char* operation, const char* mapping, Change change,
                          const char* invariant) {
    report::Cell one;
    one.operation = operation;
    one.mapping = mapping;
    one.observation.change = change;
    return seal::implied(one, invariant);
  };
  EXPECT_TRUE(implied("procmem-self", "[vdso]", Change::Privatised, "S2"));
  EXPECT_TRUE(implied("procmem-self", "[vdso]", Change::Privatised, "S5"));
  EXPECT_FALSE(implied("procmem-self", "[vdso]", Change::Privatised, "S4"));
  EXPECT_FALSE(implied("procmem-self", "[vdso]", Change::Replaced, "S2"));
  EXPECT_FALSE(implied("munmap", "[vdso]", Change::Privatised, "S2"));
  EXPECT_TRUE(implied("timens-setns", "[vvar]", Change::Moved, "S4"));
  EXPECT_TRUE(implied("timens-setns", "[vvar] (32-bit)", Change::Moved, "S2"));
  EXPECT_FALSE(implied("timens-setns", "[vvar]", Change::Moved, "S3"));
  EXPECT_FALSE(implied("timens-setns", "[vdso]", Change::Moved, "S4"));
  EXPECT_FALSE(implied("timens-setns", "[vvar_vclock]", Change::Moved, "S4"));
  EXPECT_TRUE(implied("fork", "[uprobes]", Change::Gone, "S1"));
  EXPECT_FALSE(implied("fork", "[vdso]", Change::Gone, "S1"));
  EXPECT_FALSE(implied("munmap", "[uprobes]", Change::Gone, "S1"));
}

TEST(Implied, ATimeNamespaceIsOfVvarAlone) {
  report::Cell one;
  one.operation = "timens-setns";
  one.mapping = "[vdso]";
  EXPECT_TRUE(seal::shows_namespace(one, "[vvar]", "S2"));
  EXPECT_TRUE(seal::shows_namespace(one, "[vvar]", "S4"));
  EXPECT_FALSE(seal::shows_namespace(one, "[vvar]", "S3"));
  EXPECT_FALSE(seal::shows_namespace(one, "[vdso]", "S2"));
  one.operation = "munmap";
  EXPECT_FALSE(seal::shows_namespace(one, "[vvar]", "S2"));
}

TEST(Verdict, SomeChangeMustBeSeen) {
  report::Cell one = cell(Change::Unchanged, 0, false, std::nullopt, {0});
  EXPECT_EQ(seal::judge_cell(one, false).verdict, Verdict::Mismatch);
  one.observation.change = Change::Refaulted;
  EXPECT_EQ(seal::judge_cell(one, false).verdict, Verdict::Mismatch);
  one.observation.change = Change::Moved;
  EXPECT_EQ(seal::judge_cell(one, false).verdict, Verdict::AsExpected);
}

TEST(Implied, NamesAreTakenApart) {
  using Names = std::vector<std::string_view>;
  EXPECT_EQ(seal::invariants_in(""), Names{});
  EXPECT_EQ(seal::invariants_in("S5"), Names{"S5"});
  EXPECT_EQ(seal::invariants_in("S2 S5"), (Names{"S2", "S5"}));
}

/// Of a sealed mapping that is written to by force, as the table has it.
report::Cell forced_cell(Change observed) {
  report::Cell forced = cell(observed, 8, true, Change::Privatised, {0});
  forced.operation = "procmem-self";
  forced.expectation->exception = report::Exception::Forced;
  return forced;
}

TEST(JudgeCell, AForcedWriteIsAClassOfItsOwn) {
  const auto judged = seal::judge_cell(forced_cell(Change::Privatised), true);
  EXPECT_EQ(judged.verdict, Verdict::Forced);
  EXPECT_TRUE(judged.findings.empty()) << "sl does not claim that nothing is forced";
  report::Cell open = forced_cell(Change::Privatised);
  open.claim.sealed = false;
  EXPECT_EQ(seal::judge_cell(open, false).verdict, Verdict::AsExpected);
}

TEST(JudgeCell, AForcedWriteThatDidAnythingElseIsNone) {
  EXPECT_EQ(seal::judge_cell(forced_cell(Change::Unchanged), true).verdict, Verdict::Mismatch);
  EXPECT_EQ(seal::judge_cell(forced_cell(Change::Gone), true).verdict, Verdict::Mismatch);
  EXPECT_FALSE(seal::judge_cell(forced_cell(Change::Gone), true).findings.empty());
}

TEST(JudgeCell, OfAnUnknownKernelTheOperationTellsWhatIsForced) {
  report::Cell forced = forced_cell(Change::Privatised);
  forced.expectation.reset();
  EXPECT_EQ(seal::judge_cell(forced, false).verdict, Verdict::Forced);
  forced.operation = "munmap";
  EXPECT_EQ(seal::judge_cell(forced, false).verdict, Verdict::Violation);
}

TEST(JudgeCell, ARefaultThatIsExpectedMustBeSeen) {
  EXPECT_EQ(
      seal::judge_cell(cell(Change::Refaulted, 0, false, Change::Refaulted, {0}), false).verdict,
      Verdict::AsExpected);
  EXPECT_EQ(
      seal::judge_cell(cell(Change::Unchanged, 0, false, Change::Refaulted, {0}), false).verdict,
      Verdict::Mismatch);
}

}  // namespace
}  // namespace sealvisor::test
