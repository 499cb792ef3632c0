#include "vmm/run/sequences.h"

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using protocol::Type;
using report::Change;
using report::SequenceVerdict;

/// rr-record, told as the guest would.
class SequencesTest : public testing::Test {
 protected:
  void SetUp() override {
    guest_.learn_vdso();
    root_ = guest_.new_process();
    guest_.enter_user(root_);
    use(true);
  }
  void use(bool sealed) {
    request_.arch = Arch::X86_64;
    request_.recipe = sealed ? "lts-sealed" : "lts-unsealed";
    request_.sealed = sealed;
    scenario::PlanItem item;
    item.scenario = scenario::find("compat/rr-record");
    request_.plan = {item};
    sequences_.emplace(request_, guest_.identities);
  }
  const model::AddressSpace& space() { return *guest_.spaces.find(root_); }
  static protocol::Message message(Type type) {
    protocol::Message message{};
    message.type = type;
    message.token = 7;
    return message;
  }
  std::vector<std::string> begin(const char* name = "compat/rr-record") {
    protocol::Message begin = message(Type::SequenceBegin);
    std::strcpy(begin.body.sequence_begin.name, name);
    begin.body.sequence_begin.mappings = 9;
    return sequences_->begin(begin, space());
  }
  std::vector<std::string> call(std::int64_t result, std::uint32_t index = 0) {
    protocol::Message call = message(Type::SequenceCall);
    std::strcpy(call.body.sequence_call.call, "munmap");
    std::strcpy(call.body.sequence_call.what, "[vvar]");
    call.body.sequence_call.index = index;
    call.body.sequence_call.ends = 1;
    call.body.sequence_call.result = result;
    return sequences_->call(call, space());
  }
  std::vector<std::string> end(std::uint32_t calls = 1, int signal = 0) {
    protocol::Message end = message(Type::SequenceEnd);
    end.body.sequence_end.calls = calls;
    end.body.sequence_end.signal = signal;
    end.body.sequence_end.mappings = 8;
    return sequences_->end(end, space());
  }
  void unmap_vvar() {
    guest_.unmap(root_, FakeGuest::kVvarPlace);
    guest_.enter_user(root_);
  }

  FakeGuest guest_{Arch::X86_64};
  Frame root_{};
  run::RunRequest request_;
  std::optional<run::Sequences> sequences_;
};

TEST_F(SequencesTest, ASealedKernelBreaksIt) {
  EXPECT_TRUE(begin().empty());
  EXPECT_TRUE(call(-EPERM).empty());
  EXPECT_TRUE(end().empty());
  const auto [rows, findings] = sequences_->finish();
  EXPECT_TRUE(findings.empty());
  ASSERT_EQ(rows.size(), 1U);
  const report::Sequence& row = rows[0];
  EXPECT_EQ(row.verdict, SequenceVerdict::Breaks);
  EXPECT_EQ(row.software, "rr");
  EXPECT_EQ(row.first_failed, 0U);
  EXPECT_EQ(row.calls[0].answer, "EPERM");
  EXPECT_TRUE(row.calls[0].outcomes.empty()) << "only what changed";
  ASSERT_EQ(row.outcomes.size(), 2U);
  for (const auto& outcome : row.outcomes) {
    EXPECT_EQ(outcome.observation.change, Change::Unchanged) << outcome.mapping;
  }
  EXPECT_EQ(row.mappings_before, 9U);
  EXPECT_EQ(row.mappings_left, 8U);
}

TEST_F(SequencesTest, AnUnsealedOneLetsItWork) {
  use(false);
  EXPECT_TRUE(begin().empty());
  unmap_vvar();
  EXPECT_TRUE(call(0).empty());
  EXPECT_TRUE(end().empty());
  const auto [rows, findings] = sequences_->finish();
  EXPECT_TRUE(findings.empty()) << findings[0].text;
  EXPECT_EQ(rows[0].verdict, SequenceVerdict::Works);
  EXPECT_FALSE(rows[0].first_failed);
  ASSERT_EQ(rows[0].calls[0].outcomes.size(), 1U);
  EXPECT_EQ(rows[0].calls[0].outcomes[0].mapping, "[vvar]");
  EXPECT_EQ(rows[0].calls[0].outcomes[0].observation.change, Change::Gone);
}

TEST_F(SequencesTest, TheTablesCountAndNotTheAnswer) {
  EXPECT_TRUE(begin().empty());
  unmap_vvar();
  EXPECT_TRUE(call(-EPERM).empty());
  EXPECT_TRUE(end().empty());
  const auto [rows, findings] = sequences_->finish();
  EXPECT_EQ(rows[0].verdict, SequenceVerdict::Unexpected);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].invariant, "claim");
}

TEST_F(SequencesTest, WhatUserModeSawMeanwhileCountsToo) {
  EXPECT_TRUE(begin().empty());
  EXPECT_TRUE(
      sequences_->takes({"S2", space().id, {0, 0}, FakeGuest::kVdsoPlace, "another frame"}));
  EXPECT_TRUE(call(-EPERM).empty());
  EXPECT_TRUE(end().empty());
  const auto [rows, findings] = sequences_->finish();
  EXPECT_EQ(rows[0].verdict, SequenceVerdict::Unexpected);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].invariant, "S2");
}

TEST_F(SequencesTest, TakesOnlyItsOwnViolations) {
  const seal::Violation own{"S1", space().id, {0, 0}, {}, ""};
  EXPECT_FALSE(sequences_->takes(own)) << "nothing is under way";
  EXPECT_TRUE(begin().empty());
  EXPECT_TRUE(sequences_->takes(own));
  EXPECT_FALSE(sequences_->takes({"S1", space().id + 1, {0, 0}, {}, ""}));
  EXPECT_FALSE(sequences_->takes({"S5", space().id, {0, 0}, {}, ""})) << "code never changes";
  EXPECT_FALSE(sequences_->takes({"S8", space().id, {0, 0}, {}, ""}));
}

TEST_F(SequencesTest, ProcessThatDies) {
  EXPECT_TRUE(begin().empty());
  EXPECT_EQ(end(0, 11).size(), 1U);
  const auto [rows, findings] = sequences_->finish();
  EXPECT_EQ(rows[0].verdict, SequenceVerdict::Unobserved);
  EXPECT_EQ(rows[0].signal, 11);
  EXPECT_FALSE(rows[0].complete);
}

TEST_F(SequencesTest, WhatDoesNotFitIsSaid) {
  EXPECT_EQ(call(0).size(), 1U) << "nothing is under way";
  EXPECT_EQ(end().size(), 1U);
  EXPECT_EQ(begin("compat/rr-replay").size(), 1U) << "not in the plan";
  EXPECT_TRUE(begin().empty());
  EXPECT_EQ(call(0, 3).size(), 1U) << "calls are counted";
  EXPECT_TRUE(call(-EPERM).empty());
  EXPECT_EQ(end(2).size(), 1U) << "one was not told";
  EXPECT_EQ(begin().size(), 1U) << "it ran already";
}

TEST_F(SequencesTest, OneThatNeverEndsAndOneThatNeverRan) {
  EXPECT_TRUE(begin().empty());
  auto [rows, findings] = sequences_->finish();
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].invariant, "monitor");
  use(true);
  auto [others, none] = sequences_->finish();
  ASSERT_EQ(others.size(), 1U);
  EXPECT_EQ(others[0].verdict, SequenceVerdict::Unobserved);
}

TEST_F(SequencesTest, KeepsAFewChangesOfEachCall) {
  EXPECT_FALSE(sequences_->wants_change(space().id));
  EXPECT_TRUE(begin().empty());
  EXPECT_FALSE(sequences_->wants_change(space().id + 1));
  for (std::size_t i = 0; i < run::Sequences::kMostCallChanges + 3; ++i) {
    if (sequences_->wants_change(space().id)) sequences_->change({});
  }
  EXPECT_TRUE(call(-EPERM).empty());
  EXPECT_TRUE(end().empty());
  const auto [rows, findings] = sequences_->finish();
  EXPECT_EQ(rows[0].calls[0].changes.size(), run::Sequences::kMostCallChanges);
  EXPECT_EQ(rows[0].calls[0].changes_left_out, 3U);
}

}  // namespace
}  // namespace sealvisor::test
