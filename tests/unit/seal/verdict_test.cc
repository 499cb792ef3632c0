#include "vmm/seal/verdict.h"

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using report::Change;
using report::Verdict;
using Findings = std::vector<std::pair<std::string, std::string>>;

report::Cell cell(Change observed, std::int64_t answer, bool claims_sealed,
                  std::optional<Change> expected, std::vector<int> errnos) {
  report::Cell cell;
  cell.observation.change = observed;
  cell.claim.made = true;
  cell.claim.result = answer;
  cell.claim.sealed = claims_sealed;
  cell.claim.text = answer < 0 ? "an error" : "ok";
  cell.observation.text = report::name_of(observed);
  cell.expectation = report::Expected{std::move(errnos), expected, "as said", "test"};
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
  EXPECT_EQ(judged.findings,
            (Findings{{"claim", "the kernel answered an error and yet: gone"},
                      {"claim", "the kernel claims that it is sealed (sl) and yet: gone"}}));
}

TEST(JudgeCell, AChangeThatIsNotExpectedIsAViolationThoughNothingIsClaimed) {
  const auto judged = seal::judge_cell(cell(Change::Gone, 0, false, Change::Unchanged, {0}), false);
  EXPECT_EQ(judged.verdict, Verdict::Violation);
  EXPECT_EQ(judged.findings, Findings{}) << "the kernel said that it did something";
}

/// What is expected of a kernel that is known to lie is a lie all the same.
TEST(JudgeCell, AContradictionIsAViolationEvenIfItIsExpected) {
  const auto judged =
      seal::judge_cell(cell(Change::Gone, -EPERM, false, Change::Gone, {EPERM}), false);
  EXPECT_EQ(judged.verdict, Verdict::Violation);
  EXPECT_EQ(judged.findings, (Findings{{"claim", "the kernel answered an error and yet: gone"}}));
}

TEST(JudgeCell, WhatNeverCameBackAnsweredNothing) {
  report::Cell silent = cell(Change::Unchanged, 0, false, Change::Unchanged, {0});
  silent.claim.made = false;
  const auto judged = seal::judge_cell(silent, false);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings,
            (Findings{{"expectation", "expected the answer as said (test), got none"}}));
  silent.observation.change = Change::Gone;
  silent.claim.result = -EPERM;
  EXPECT_EQ(seal::judge_cell(silent, false).findings, Findings{}) << "it refused nothing";
}

TEST(JudgeCell, AnAddressIsNoError) {
  // The last page of memory is where errors are, from -4095 on.
  EXPECT_EQ(seal::judge_cell(cell(Change::Moved, -4096, false, Change::Moved, {0}), false).verdict,
            Verdict::AsExpected);
  EXPECT_EQ(seal::judge_cell(cell(Change::Moved, -4095, false, Change::Moved, {0}), false).verdict,
            Verdict::Mismatch);
}

TEST(JudgeCell, WhereNoAnswerIsExpectedAnyWillDo) {
  for (const std::int64_t answer : {0, -EPERM}) {
    EXPECT_EQ(seal::judge_cell(cell(Change::Unchanged, answer, false, Change::Unchanged, {}), false)
                  .verdict,
              Verdict::AsExpected)
        << answer;
  }
}

TEST(JudgeCell, AWrongErrnoIsAMismatchEvenIfNothingChanged) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, -EINVAL, true, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings,
            (Findings{{"expectation", "expected the answer as said (test), got an error"}}));
}

TEST(JudgeCell, AnUnsealedKernelIsExpectedToChange) {
  EXPECT_EQ(seal::judge_cell(cell(Change::Moved, 0, false, Change::Moved, {0}), false).verdict,
            Verdict::AsExpected);
}

TEST(JudgeCell, AnExpectedChangeThatDidNotHappenIsAMismatch) {
  const auto judged = seal::judge_cell(cell(Change::Unchanged, 0, false, Change::Gone, {0}), false);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings,
            (Findings{{"expectation", "expected gone (test), observed unchanged"}}));
  EXPECT_EQ(seal::judge_cell(cell(Change::Refaulted, 0, false, Change::Gone, {0}), false).verdict,
            Verdict::Mismatch)
      << "a refault is no less than that";
}

TEST(JudgeCell, OtherPermissionsThanAskedForAreAMismatch) {
  report::Cell changed = cell(Change::PermissionChanged, 0, false, Change::PermissionChanged, {0});
  changed.expectation->permissions = "r--";
  changed.observation.permissions = "r--";
  EXPECT_EQ(seal::judge_cell(changed, false).verdict, Verdict::AsExpected);
  changed.observation.permissions = "rwx";
  const auto judged = seal::judge_cell(changed, false);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(
      judged.findings,
      (Findings{{"expectation", "expected permissions r-- (test), observed permission-changed"}}));
  changed.expectation->permissions = "";
  EXPECT_EQ(seal::judge_cell(changed, false).verdict, Verdict::AsExpected) << "none are named";
}

TEST(JudgeCell, ASealThatSmapsDoesNotShowIsAMismatch) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, -EPERM, false, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings, (Findings{{"claim", "smaps shows it without sl, expected a seal"}}));
}

TEST(JudgeCell, ASealThatSmapsShowsWhereNoneIsToBeIsAMismatch) {
  const auto judged =
      seal::judge_cell(cell(Change::Unchanged, 0, true, Change::Unchanged, {0}), false);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings, (Findings{{"claim", "smaps shows it with sl, expected none"}}));
}

TEST(JudgeCell, AWrongAnswerIsAMismatchEvenWhereNothingWasSeen) {
  const auto judged =
      seal::judge_cell(cell(Change::Unobserved, -EINVAL, true, Change::Unchanged, {EPERM}), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings,
            (Findings{{"expectation", "expected the answer as said (test), got an error"}}));
}

TEST(JudgeCell, AnUnknownKernelIsHeldToItsOwnClaims) {
  report::Cell unknown = cell(Change::Gone, 0, true, std::nullopt, {});
  unknown.expectation.reset();
  EXPECT_EQ(seal::judge_cell(unknown, false).verdict, Verdict::Violation);
  unknown.claim.sealed = false;
  EXPECT_EQ(seal::judge_cell(unknown, false).verdict, Verdict::AsExpected);
  unknown.claim.sealed = true;
  unknown.observation.change = Change::Unchanged;
  EXPECT_EQ(seal::judge_cell(unknown, false).verdict, Verdict::AsExpected)
      << "nobody promised that it holds";
}

TEST(JudgeCell, OfAnUnknownKernelNoAnswerIsWrong) {
  report::Cell unknown = cell(Change::Unobserved, 0, true, std::nullopt, {});
  unknown.expectation.reset();
  unknown.claim.made = false;
  const auto judged = seal::judge_cell(unknown, false);
  EXPECT_EQ(judged.verdict, Verdict::Unobserved);
  EXPECT_EQ(judged.findings, Findings{});
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
  EXPECT_TRUE(implied("procmem-dontneed", "[vdso]", Change::Privatised, "S5"));
  EXPECT_FALSE(implied("timens-setns", "[vvar]", Change::Gone, "S1")) << "it moves it";
  EXPECT_FALSE(implied("timens-setns", "[vvar]", Change::Moved, "S5")) << "it writes nothing";
  EXPECT_FALSE(implied("fork", "[uprobes]", Change::Replaced, "S1")) << "a child has none";
  EXPECT_FALSE(implied("made-up", "[vvar]", Change::Moved, "S4"));
}

TEST(Implied, ATimeNamespaceIsOfVvarAlone) {
  report::Cell one;
  one.operation = "timens-setns";
  one.mapping = "[vdso]";
  EXPECT_TRUE(seal::shows_namespace(one, "[vvar]", "S1"));
  EXPECT_TRUE(seal::shows_namespace(one, "[vvar]", "S2"));
  EXPECT_TRUE(seal::shows_namespace(one, "[vvar]", "S4"));
  EXPECT_FALSE(seal::shows_namespace(one, "[vvar]", "S3"));
  EXPECT_FALSE(seal::shows_namespace(one, "[vdso]", "S2"));
  one.operation = "munmap";
  EXPECT_FALSE(seal::shows_namespace(one, "[vvar]", "S2"));
  one.operation = "made-up";
  EXPECT_FALSE(seal::shows_namespace(one, "[vvar]", "S2"));
}

TEST(Verdict, SomeChangeMustBeSeen) {
  report::Cell one = cell(Change::Unchanged, 0, false, std::nullopt, {0});
  EXPECT_EQ(seal::judge_cell(one, false).verdict, Verdict::Mismatch);
  EXPECT_EQ(seal::judge_cell(one, false).findings,
            (Findings{{"expectation", "expected some change (test), observed unchanged"}}));
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
  const auto judged = seal::judge_cell(forced_cell(Change::Gone), true);
  EXPECT_EQ(judged.verdict, Verdict::Mismatch);
  EXPECT_EQ(judged.findings,
            (Findings{{"claim", "the kernel claims that it is sealed (sl) and yet: gone"},
                      {"expectation", "expected privatised (test), observed gone"}}));
}

/// procmem-dontneed: the write goes through, and the advice behind it is refused.
TEST(JudgeCell, WhatWasForcedBeforeTheRefusalContradictsNothing) {
  report::Cell forced = forced_cell(Change::Privatised);
  forced.operation = "procmem-dontneed";
  forced.claim.result = -EPERM;
  forced.expectation->errnos = {EPERM};
  const auto judged = seal::judge_cell(forced, true);
  EXPECT_EQ(judged.verdict, Verdict::Forced);
  EXPECT_EQ(judged.findings, Findings{});
}

/// proc_mem.force_override=never: then there is no such exception.
TEST(JudgeCell, AForcedWriteIsExceptedOnlyWhereItIsExpected) {
  report::Cell forced = cell(Change::Privatised, -EIO, true, Change::Unchanged, {EIO});
  forced.operation = "procmem-self";
  const auto judged = seal::judge_cell(forced, true);
  EXPECT_EQ(judged.verdict, Verdict::Violation);
  EXPECT_EQ(judged.findings.size(), 2U) << "EIO and sl both claim otherwise";
}

TEST(JudgeCell, OfAnUnknownKernelTheOperationTellsWhatIsForced) {
  report::Cell forced = forced_cell(Change::Privatised);
  forced.expectation.reset();
  EXPECT_EQ(seal::judge_cell(forced, false).verdict, Verdict::Forced);
  forced.claim.sealed = false;
  EXPECT_EQ(seal::judge_cell(forced, false).verdict, Verdict::AsExpected) << "nothing is claimed";
  forced.claim.sealed = true;
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
