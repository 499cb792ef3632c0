#include "vmm/seal/sequence.h"

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "guest/compat/list.h"

namespace sealvisor::seal {
namespace {

using report::Change;
using report::SequenceVerdict;
using Findings = std::vector<std::pair<std::string, std::string>>;

report::MappingOutcome outcome(const char* mapping, Change change) {
  report::MappingOutcome result;
  result.mapping = mapping;
  result.observation.change = change;
  result.observation.text = report::name_of(change);
  return result;
}

report::SequenceCall call(const char* name, const char* what, std::int64_t result) {
  report::SequenceCall made;
  made.call = name;
  made.what = what;
  made.result = result;
  made.answer = result < 0 ? "EPERM" : "ok";
  return made;
}

/// rr-record as a sealed kernel answers it.
report::Sequence refused() {
  report::Sequence sequence;
  sequence.name = "compat/rr-record";
  sequence.complete = true;
  sequence.calls = {call("munmap", "[vvar]", -EPERM)};
  sequence.first_failed = 0;
  sequence.outcomes = {outcome("[vvar]", Change::Unchanged), outcome("[vdso]", Change::Unchanged)};
  return sequence;
}

/// And an unsealed one.
report::Sequence done() {
  report::Sequence sequence = refused();
  sequence.calls = {call("munmap", "[vvar]", 0)};
  sequence.calls[0].outcomes = {outcome("[vvar]", Change::Gone)};
  sequence.first_failed.reset();
  sequence.outcomes = {outcome("[vvar]", Change::Gone), outcome("[vdso]", Change::Unchanged)};
  return sequence;
}

SequenceJudgement judge(const report::Sequence& sequence, bool sealed) {
  const auto expectation = expect_sequence(sequence.name, sealed);
  EXPECT_TRUE(expectation);
  return judge_sequence(sequence, &*expectation);
}

TEST(ExpectSequence, KnowsEachOfTheList) {
  for (const compat::Sequence& one : compat::kSequences) {
    const auto sealed = expect_sequence(one.scenario, true);
    ASSERT_TRUE(sealed) << one.scenario;
    EXPECT_FALSE(sealed->first_failed.empty()) << one.scenario;
    EXPECT_EQ(sealed->error, EPERM) << one.scenario;
    EXPECT_TRUE(sealed->changes.empty()) << one.scenario;
    const auto open = expect_sequence(one.scenario, false);
    ASSERT_TRUE(open) << one.scenario;
    EXPECT_TRUE(open->first_failed.empty()) << one.scenario;
    EXPECT_FALSE(open->changes.empty()) << one.scenario << " would be no control";
    EXPECT_FALSE(sealed->source.empty());
    EXPECT_FALSE(open->source.empty());
  }
  EXPECT_FALSE(expect_sequence("compat/none", true));
}

TEST(JudgeSequence, WhatIsExpectedBreaksOrWorks) {
  EXPECT_EQ(judge(refused(), true).verdict, SequenceVerdict::Breaks);
  EXPECT_TRUE(judge(refused(), true).findings.empty());
  EXPECT_EQ(judge(done(), false).verdict, SequenceVerdict::Works);
  EXPECT_TRUE(judge(done(), false).findings.empty());
}

TEST(JudgeSequence, EachMistakeOfAKernelIsAFinding) {
  // A seal that lets it through.
  EXPECT_EQ(judge(done(), true).verdict, SequenceVerdict::Unexpected);
  const std::string source = std::string(expect_sequence("compat/rr-record", true)->source);
  EXPECT_EQ(judge(done(), true).findings,
            (Findings{{"expectation", "expected munmap [vvar]: EPERM; all mappings unchanged (" +
                                          source + "); no call failed"},
                      {"expectation", "[vvar] is gone, expected unchanged (" + source + ")"}}));
  // An unsealed kernel that refuses.
  EXPECT_EQ(judge(refused(), false).verdict, SequenceVerdict::Unexpected);
  // Another errno.
  report::Sequence other = refused();
  other.calls[0].result = -EINVAL;
  other.calls[0].answer = "EINVAL";
  EXPECT_EQ(
      judge(other, true).findings,
      (Findings{{"expectation", "expected munmap [vvar]: EPERM; all mappings unchanged (" + source +
                                    "); munmap [vvar] was the first to fail, with EINVAL"}}));
  // Another call.
  other = refused();
  other.calls[0].what = "[vdso]";
  EXPECT_EQ(judge(other, true).verdict, SequenceVerdict::Unexpected);
  // It says no and does it.
  report::Sequence lie = refused();
  lie.calls[0].outcomes = {outcome("[vvar]", Change::Gone)};
  lie.outcomes[0] = outcome("[vvar]", Change::Gone);
  const SequenceJudgement judgement = judge(lie, true);
  EXPECT_EQ(judgement.verdict, SequenceVerdict::Unexpected);
  EXPECT_EQ(judgement.findings,
            (Findings{{"claim", "munmap [vvar]: the kernel answered EPERM and yet: [vvar] gone"},
                      {"expectation", "[vvar] is gone, expected unchanged (" + source + ")"}}));
  // Something else goes too.
  report::Sequence more = done();
  more.outcomes[1] = outcome("[vdso]", Change::Gone);
  EXPECT_EQ(judge(more, false).verdict, SequenceVerdict::Unexpected);
  // It says yes and does nothing.
  report::Sequence idle = done();
  idle.calls[0].outcomes = {};
  idle.outcomes[0] = outcome("[vvar]", Change::Unchanged);
  EXPECT_EQ(judge(idle, false).verdict, SequenceVerdict::Unexpected);
}

TEST(JudgeSequence, ARefaultOfTheSameFrameIsNoChange) {
  report::Sequence sequence = refused();
  sequence.calls[0].outcomes = {outcome("[vvar]", Change::Refaulted)};
  sequence.outcomes[0] = outcome("[vvar]", Change::Refaulted);
  EXPECT_EQ(judge(sequence, true).findings, Findings{});
  EXPECT_EQ(judge(sequence, true).verdict, SequenceVerdict::Breaks);
}

TEST(JudgeSequence, AnAddressIsNoRefusal) {
  report::Sequence sequence = done();
  sequence.calls[0].result = -4096;  // As high as addresses go: errors begin behind it.
  EXPECT_EQ(judge(sequence, false).verdict, SequenceVerdict::Works);
  sequence.calls[0].result = -4095;
  EXPECT_EQ(judge(sequence, false).verdict, SequenceVerdict::Unexpected);
}

TEST(JudgeSequence, NothingIsSaidOfWhatWasNotSeen) {
  report::Sequence cut = refused();
  cut.complete = false;
  EXPECT_EQ(judge(cut, true).verdict, SequenceVerdict::Unobserved);
  cut.calls[0].result = -EINTR;
  cut.calls[0].answer = "EINTR";
  for (const bool known : {true, false}) {
    const auto expectation = expect_sequence(cut.name, true);
    const auto judgement = judge_sequence(cut, known ? &*expectation : nullptr);
    EXPECT_EQ(judgement.verdict, SequenceVerdict::Unobserved);
    EXPECT_EQ(judgement.findings, Findings{}) << "whatever made it fail made it end";
  }
  report::Sequence blind = refused();
  for (auto& one : blind.outcomes) one = outcome(one.mapping.c_str(), Change::Unobserved);
  EXPECT_EQ(judge(blind, true).verdict, SequenceVerdict::Unobserved);
  report::Sequence half = refused();
  half.outcomes[0] = outcome("[vvar]", Change::Unobserved);
  EXPECT_EQ(judge(half, true).verdict, SequenceVerdict::Unobserved) << "nobody saw that it held";
  half = done();
  half.outcomes[0] = outcome("[vvar]", Change::Unobserved);
  EXPECT_EQ(judge(half, false).verdict, SequenceVerdict::Unobserved) << "nor that it went";
  report::Sequence without = refused();
  without.outcomes = {outcome("[vdso]", Change::Unchanged)};
  EXPECT_EQ(judge(without, true).verdict, SequenceVerdict::Unobserved)
      << "the process never showed what the sequence is about";
}

TEST(JudgeSequence, OfAnUnknownKernelOnlyContradictions) {
  EXPECT_EQ(judge_sequence(refused(), nullptr).verdict, SequenceVerdict::Breaks);
  EXPECT_EQ(judge_sequence(done(), nullptr).verdict, SequenceVerdict::Works);
  report::Sequence lie = refused();
  lie.calls[0].outcomes = {outcome("[vvar]", Change::Gone)};
  EXPECT_EQ(judge_sequence(lie, nullptr).verdict, SequenceVerdict::Unexpected);
}

TEST(JudgeSequence, AFailureThatNoSealExplainsIsNoneOfItsDoing) {
  report::Sequence other = refused();
  other.calls[0].result = -ENOMEM;
  other.calls[0].answer = "ENOMEM";
  SequenceJudgement judgement = judge_sequence(other, nullptr);
  EXPECT_EQ(judgement.verdict, SequenceVerdict::Unexpected);
  EXPECT_EQ(judgement.findings,
            (Findings{{"expectation",
                       "munmap [vvar] was the first to fail, with ENOMEM, which is not what a seal "
                       "does"}}));
  other = refused();
  other.calls[0].what = "[vdso]";
  judgement = judge_sequence(other, nullptr);
  EXPECT_EQ(judgement.verdict, SequenceVerdict::Unexpected);
}

/// Of one that is on no list only the process itself says which mappings it is about.
TEST(JudgeSequence, OfAnUnknownSequenceWhatTheProcessShows) {
  const auto judged = [](const report::Sequence& listed) {
    report::Sequence unlisted = listed;
    unlisted.name = "compat/none";
    // What is known of the one says nothing of the other.
    const SequenceJudgement first = judge_sequence(listed, nullptr);
    const SequenceJudgement second = judge_sequence(unlisted, nullptr);
    EXPECT_EQ(first.findings, Findings{});
    return second.verdict;
  };
  EXPECT_EQ(judged(done()), SequenceVerdict::Works);
  EXPECT_EQ(judged(refused()), SequenceVerdict::Unexpected) << "no seal is known to forbid that";
  report::Sequence without = done();
  without.calls[0].outcomes = {};
  without.outcomes = {};
  EXPECT_EQ(judged(without), SequenceVerdict::Unobserved) << "it showed none";
}

TEST(DescribeExpectation, InWords) {
  EXPECT_EQ(describe(*expect_sequence("compat/rr-record", true)),
            "munmap [vvar]: EPERM; all mappings unchanged");
  EXPECT_EQ(describe(*expect_sequence("compat/rr-move", false)),
            "every call good; [vdso] moved, [vvar] moved, [vvar_vclock] moved");
  EXPECT_EQ(describe({.first_failed = "munmap [vvar]", .error = 4000}),
            "munmap [vvar]: errno 4000; all mappings unchanged");
}

}  // namespace
}  // namespace sealvisor::seal
