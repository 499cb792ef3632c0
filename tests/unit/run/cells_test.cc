#include "vmm/run/cells.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using protocol::Type;
using report::Verdict;

/// One cell, munmap of the whole [vdso] on a sealed recipe, told as the agent would.
class Course : public testing::Test {
 protected:
  void SetUp() override {
    guest_.learn_vdso();
    root_ = guest_.new_process();
    guest_.enter_user(root_);
    request_.arch = Arch::X86_64;
    request_.recipe = "lts-sealed";
    request_.sealed = true;
    scenario::PlanItem item;
    item.scenario = scenario::find("munmap/whole");
    item.cell = 1;
    item.mapping = scenario::mapping_named("[vdso]");
    request_.plan = {item};
    course_.emplace(request_, guest_.identities);
  }
  const model::AddressSpace& space() { return *guest_.spaces.find(root_); }
  static protocol::Message message(Type type) {
    protocol::Message message{};
    message.type = type;
    message.token = 1;
    return message;
  }
  void begin() {
    begin_only();
    touch(protocol::Moment::BeforeOperation);
    course_->before(message(Type::Before), space());
  }
  void begin_only() {
    protocol::Message begin = message(Type::CellBegin);
    std::strcpy(begin.body.cell.mapping, "[vdso]");
    std::strcpy(begin.body.cell.operation, "munmap");
    std::strcpy(begin.body.cell.form, "whole");
    const model::Placement& placement = *space().placement(*guest_.identities.named("[vdso]"));
    begin.body.cell.start = placement.base.value;
    begin.body.cell.end = placement.base.value + placement.pages.size() * arch::kPageSize;
    course_->cell_begin(begin, space(), claim_of(true));
  }
  void touch(protocol::Moment moment) {
    protocol::Message touched = message(Type::Touched);
    touched.body.touched.moment = moment;
    course_->touched(touched, space());
  }
  report::Run end(bool touched = true) {
    protocol::Message after = message(Type::After);
    after.body.after.result = -EPERM;
    course_->after(after);
    if (touched) touch(protocol::Moment::AfterOperation);
    course_->cell_end(message(Type::CellEnd));
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    return run;
  }
  seal::Violation violation(std::size_t mapping) {
    return {"S2", space().id, {mapping, 0}, FakeGuest::kVdsoPlace, "seen and gone again"};
  }

  FakeGuest guest_{Arch::X86_64};
  Frame root_{};
  run::RunRequest request_;
  std::optional<run::Course> course_;
};

TEST_F(Course, NothingHoldsThatWasNotTouchedAfterwards) {
  begin();
  const report::Run run = end(false);
  EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved);
}

/// It was on the way to do what is expected: that it did not come to that is the end's fault.
TEST_F(Course, ACellThatTheEndOfTheGuestCutShortIsUnobserved) {
  for (const bool good : {false, true}) {
    course_.emplace(request_, guest_.identities);
    begin();
    report::Run run;
    run.ending.good = good;
    course_->finish(run);
    ASSERT_EQ(run.cells.size(), 1U);
    EXPECT_EQ(run.cells[0].verdict, good ? Verdict::Mismatch : Verdict::Unobserved);
    EXPECT_EQ(run.findings.empty(), !good);
  }
}

/// What was seen before it was cut short is seen.
TEST_F(Course, AViolationInACellThatWasCutShortIsOne) {
  begin();
  course_->violation(violation(0));
  report::Run run;
  run.ending.good = false;
  course_->finish(run);
  ASSERT_EQ(run.cells.size(), 1U);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_EQ(run.findings[0].invariant, "S2");
}

TEST_F(Course, ASkipThatTheMonitorKnowsBetterIsAFinding) {
  for (const protocol::Skip reason :
       {protocol::Skip::NoMapping, protocol::Skip::TooFewPages, protocol::Skip::NoRoom}) {
    course_.emplace(request_, guest_.identities);
    begin_only();
    protocol::Message skip = message(Type::CellEnd);
    skip.body.cell_end.skipped = static_cast<std::uint32_t>(reason);
    course_->cell_end(skip);
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved);
    ASSERT_EQ(run.findings.size(), 1U);
    EXPECT_NE(run.findings[0].text.find("skipped it"), std::string::npos);
  }
}

TEST_F(Course, AGuestOfOursHasRoomForEachForm) {
  request_.plan[0].scenario = scenario::find("munmap/neighbour");
  for (const bool expectations : {true, false}) {
    request_.expectations = expectations;
    course_.emplace(request_, guest_.identities);
    protocol::Message begin = message(Type::CellBegin);
    std::strcpy(begin.body.cell.mapping, "[vdso]");
    std::strcpy(begin.body.cell.operation, "munmap");
    std::strcpy(begin.body.cell.form, "neighbour");
    course_->cell_begin(begin, space(), claim_of(true));
    protocol::Message skip = message(Type::CellEnd);
    skip.body.cell_end.skipped = static_cast<std::uint32_t>(protocol::Skip::NoRoom);
    course_->cell_end(skip);
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    EXPECT_EQ(run.cells[0].verdict, expectations ? Verdict::Unobserved : Verdict::Skipped);
    EXPECT_EQ(run.findings.size(), expectations ? 1U : 0U);
  }
}

/// Of a mapping that user mode reaches no page of nothing is known but where it is said to be; that
/// it lies between two others is seen.
TEST_F(Course, BetweenTwoSystemMappingsThereIsNoRoom) {
  request_.recipe = "upstream-sealed";
  request_.plan[0].scenario = scenario::find("munmap/neighbour");
  request_.plan[0].mapping = scenario::mapping_named("[vvar_vclock]");
  const model::Placement& vvar = *space().placement(*guest_.identities.named("[vvar]"));
  const std::uint64_t start = vvar.base.value + vvar.pages.size() * arch::kPageSize;
  const std::uint64_t end = FakeGuest::kVdsoPlace.value;
  for (const std::uint64_t beside : {std::uint64_t{0}, std::uint64_t{arch::kPageSize}}) {
    course_.emplace(request_, guest_.identities);
    protocol::Message begin = message(Type::CellBegin);
    std::strcpy(begin.body.cell.mapping, "[vvar_vclock]");
    std::strcpy(begin.body.cell.operation, "munmap");
    std::strcpy(begin.body.cell.form, "neighbour");
    course_->cell_begin(begin, space(), claim_of(true, start + beside, end));
    protocol::Message skip = message(Type::CellEnd);
    skip.body.cell_end.skipped = static_cast<std::uint32_t>(protocol::Skip::NoRoom);
    course_->cell_end(skip);
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    EXPECT_EQ(run.findings.size(), beside == 0 ? 0U : 1U) << beside;
  }
}

TEST_F(Course, WhatAGuestCanFillIsBounded) {
  begin();
  const std::size_t most = run::kMostViolations;
  for (std::size_t i = 0; i < most + 3; ++i) course_->violation(violation(0));
  for (std::size_t i = 0; i < 2 * run::kMostFindings; ++i) {
    course_->finding("monitor", "name-" + std::to_string(i), "made up");
  }
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Violation);
  EXPECT_LE(run.findings.size(), run::kMostFindings + 1);
  const auto said = [&](const char* words) {
    return std::any_of(run.findings.begin(), run.findings.end(), [&](const auto& finding) {
      return finding.text.find(words) != std::string::npos;
    });
  };
  EXPECT_TRUE(said("more than 10000 violations in one cell"));
  EXPECT_TRUE(said("more than 1000 findings"));
}

TEST_F(Course, ARangeThatIsNotTheFormsIsAFinding) {
  protocol::Message begin = message(Type::CellBegin);
  std::strcpy(begin.body.cell.mapping, "[vdso]");
  std::strcpy(begin.body.cell.operation, "munmap");
  std::strcpy(begin.body.cell.form, "whole");
  begin.body.cell.start = 0x1000;
  begin.body.cell.end = 0x2000;
  course_->cell_begin(begin, space(), claim_of(true));
  touch(protocol::Moment::BeforeOperation);
  course_->before(message(Type::Before), space());
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_NE(run.findings[0].text.find("0x1000"), std::string::npos);
}

TEST_F(Course, AScenarioThatNeverRanOrRanShortIsAFinding) {
  const scenario::Scenario* fork = scenario::find("life/fork");
  request_.plan = {{fork, 8, 0, nullptr}};
  const auto finish = [&] {
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    return run.findings;
  };
  course_.emplace(request_, guest_.identities);
  ASSERT_EQ(finish().size(), 1U) << "never ran";
  protocol::Scenario named{};
  std::strcpy(named.name, "life/fork");
  for (const auto& [count, spaces, findings] :
       {std::tuple(8U, 8U, 0U), std::tuple(7U, 8U, 1U), std::tuple(8U, 7U, 1U)}) {
    course_.emplace(request_, guest_.identities);
    course_->scenario_begin(named, {});
    named.count = count;
    run::Totals totals;
    totals.spaces = spaces;
    course_->scenario_end(named, totals);
    EXPECT_EQ(finish().size(), findings) << count << " " << spaces;
  }
}

TEST_F(Course, HoldsWhenNothingHappened) {
  begin();
  const report::Run run = end();
  ASSERT_EQ(run.cells.size(), 1U);
  EXPECT_EQ(run.cells[0].verdict, Verdict::Held);
  EXPECT_TRUE(run.findings.empty());
}

TEST_F(Course, AViolationThatIsUndoneBeforeTheCellEndsStillCounts) {
  begin();
  course_->violation(violation(0));
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].observation.change, report::Change::Unchanged);
  EXPECT_EQ(run.cells[0].verdict, Verdict::Violation);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_EQ(run.findings[0].id, "x86_64/lts-sealed/[vdso]/munmap/whole/S2");
}

TEST_F(Course, AViolationOfAnotherMappingIsAFindingOfItsOwn) {
  begin();
  course_->violation(violation(1));
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Held);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_NE(run.findings[0].id.find("[vvar]"), std::string::npos);
}

TEST_F(Course, CountsTheChangesThatItDoesNotKeep) {
  begin();
  EXPECT_FALSE(course_->wants_change(space().id + 1)) << "not the victim";
  for (std::size_t i = 0; i < run::kMostChanges + 3; ++i) {
    if (course_->wants_change(space().id)) course_->change({});
  }
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].changes.size(), run::kMostChanges);
  EXPECT_EQ(run.cells[0].changes_left_out, 3U);
}

TEST_F(Course, ACellThatNeverCameIsUnobserved) {
  report::Run run;
  course_->finish(run);
  ASSERT_EQ(run.cells.size(), 1U);
  EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved);
}

TEST_F(Course, RefusesACellThatThePlanDoesNotHave) {
  protocol::Message begin = message(Type::CellBegin);
  begin.token = 7;
  course_->cell_begin(begin, space(), claim_of(true));
  report::Run run;
  course_->finish(run);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_NE(run.findings[0].text.find("cell 7"), std::string::npos);
}

}  // namespace
}  // namespace sealvisor::test
