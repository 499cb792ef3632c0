// Cells that are observed in another way than before and after: in a child, with a bystander, by
// force, in a process that changes as a whole.
#include "vmm/run/cells.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using protocol::Moment;
using protocol::Type;
using report::Change;
using report::Exception;
using report::Verdict;

constexpr std::size_t kVdsoIndex = 0;
constexpr std::size_t kVvarIndex = 1;

/// One cell on the whole of a mapping on a sealed recipe, told as the agent would.
class FullCells : public testing::Test {
 protected:
  void begin(const char* scenario, const char* mapping) {
    guest_.learn_vdso();
    root_ = guest_.new_process();
    guest_.enter_user(root_);
    request_.arch = Arch::X86_64;
    request_.recipe = "lts-sealed";
    request_.sealed = sealed_;
    const scenario::Scenario* const named = scenario::find(scenario);
    ASSERT_NE(named, nullptr);
    request_.plan = {{named, 0, 1, scenario::mapping_named(mapping)}};
    course_.emplace(request_, guest_.identities);
    course_->set_compare([](Frame, Frame other) {
      return other == kCopy ? std::optional<std::uint32_t>(8) : std::nullopt;
    });
    protocol::Message message = of(Type::CellBegin);
    named->operation->name.copy(message.body.cell.operation, protocol::kNameSize - 1);
    std::strcpy(message.body.cell.mapping, mapping);
    std::strcpy(message.body.cell.form, "whole");
    const model::Placement& placement = *space().placement(*guest_.identities.named(mapping));
    message.body.cell.start = placement.base.value;
    message.body.cell.end = placement.base.value + placement.pages.size() * arch::kPageSize;
    course_->cell_begin(message, space(), claim_of(sealed_));
    touch(space(), Moment::BeforeOperation);
  }
  void act(std::int64_t result) {
    course_->before(of(Type::Before), space());
    protocol::Message after = of(Type::After);
    after.body.after.result = result;
    course_->after(after);
    touch(space(), Moment::AfterOperation);
  }
  report::Run end() {
    course_->cell_end(of(Type::CellEnd));
    report::Run run;
    run.ending.good = true;
    course_->finish(run);
    EXPECT_EQ(run.cells.size(), 1U);
    return run;
  }
  const model::AddressSpace& space() { return *guest_.spaces.find(root_); }
  static protocol::Message of(Type type) {
    protocol::Message message{};
    message.type = type;
    message.token = 1;
    return message;
  }
  void touch(const model::AddressSpace& whose, Moment moment) {
    protocol::Message touched = of(Type::Touched);
    touched.body.touched.moment = moment;
    course_->touched(touched, whose);
  }
  /// False: it was refused.
  bool bystander(std::vector<std::uint64_t> entries, std::uint32_t end,
                 std::uint64_t start = 0x10'0000) {
    protocol::Message message = of(Type::Bystander);
    message.body.bystander = {start, static_cast<std::uint32_t>(entries.size()), end};
    if (!course_->expects_bystander(message, space())) return false;
    course_->bystander(message, std::move(entries));
    return true;
  }
  seal::Violation violation(const char* invariant, std::size_t mapping, std::uint64_t whose) {
    return {invariant, whose, {mapping, 0}, FakeGuest::kVdsoPlace, "broken"};
  }

  static constexpr Frame kCopy{0x333};
  bool sealed_ = true;
  FakeGuest guest_{Arch::X86_64};
  Frame root_{};
  run::RunRequest request_;
  std::optional<run::Course> course_;
};

TEST_F(FullCells, PressureThatHitNoBystanderSaysNothing) {
  begin("pressure/swap", "[vdso]");
  bystander({1, 2, 3}, 0);
  act(0);
  bystander({1, 2, 3}, 1);
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved) << run.cells[0].observation.text;
}

TEST_F(FullCells, PressureThatHitABystanderHolds) {
  begin("pressure/swap", "[vdso]");
  bystander({1, 2, 3}, 0);
  act(0);
  bystander({1, 9, 3}, 1);
  EXPECT_EQ(end().cells[0].verdict, Verdict::Held);
}

/// What is told of the bystander must be of the same pages, each once, in front of the operation
/// and behind it; else an agent could tell of whatever changed.
TEST_F(FullCells, ABystanderIsNotWhateverTheAgentSays) {
  begin("pressure/swap", "[vdso]");
  EXPECT_FALSE(bystander({1, 2, 3}, 1)) << "an end without a beginning";
  EXPECT_FALSE(bystander({1, 2, 3}, 0, 0x10'0008)) << "no page begins there";
  EXPECT_FALSE(bystander({}, 0)) << "no page";
  EXPECT_TRUE(bystander({1, 2, 3}, 0));
  EXPECT_FALSE(bystander({1, 2, 3}, 0, 0x20'0000)) << "a second one";
  EXPECT_FALSE(bystander({1, 9, 3}, 1)) << "before the operation";
  act(0);
  EXPECT_FALSE(bystander({9, 9, 9}, 1, 0x20'0000)) << "other pages";
  EXPECT_FALSE(bystander({9, 9}, 1)) << "fewer";
  EXPECT_TRUE(bystander({1, 2, 3}, 1));
  EXPECT_FALSE(bystander({1, 9, 3}, 1)) << "again";
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Unobserved);
  ASSERT_EQ(run.findings.size(), 1U) << "all are of one name";
  EXPECT_EQ(run.findings[0].invariant, "monitor");
}

TEST_F(FullCells, ACellWithoutABystanderHasNone) {
  begin("munmap/whole", "[vdso]");
  EXPECT_FALSE(bystander({1, 2, 3}, 0));
}

TEST_F(FullCells, ASkipTakesNothingBack) {
  begin("munmap/whole", "[vdso]");
  act(0);
  course_->violation(violation("S2", kVdsoIndex, space().id));
  protocol::Message skip = of(Type::CellEnd);
  skip.body.cell_end.skipped = static_cast<std::uint32_t>(protocol::Skip::TooFewPages);
  course_->cell_end(skip);
  report::Run run;
  run.ending.good = true;
  course_->finish(run);
  ASSERT_EQ(run.cells.size(), 1U);
  EXPECT_EQ(run.cells[0].verdict, Verdict::Violation);
  std::vector<std::string> invariants;
  for (const report::Finding& finding : run.findings) invariants.push_back(finding.invariant);
  EXPECT_NE(std::find(invariants.begin(), invariants.end(), "monitor"), invariants.end());
  EXPECT_NE(std::find(invariants.begin(), invariants.end(), "S2"), invariants.end());
}

TEST_F(FullCells, WhatAChildHasIsLookedAtToo) {
  sealed_ = false;
  begin("madvise/dontfork-fork", "[vdso]");
  act(0);
  const Frame child = guest_.new_table();
  guest_.map(child, Gva{0x10000}, Frame{0x300});
  guest_.load_root(child);
  guest_.enter_user(child);
  const model::AddressSpace& empty = *guest_.spaces.find(child);
  course_->forked(space().id, empty.id);
  course_->violation(violation("S8", kVdsoIndex, empty.id));
  touch(empty, Moment::InChild);
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].observation.change, Change::Gone);
  EXPECT_EQ(run.cells[0].observation.text, "in the forked child: gone");
  EXPECT_EQ(run.cells[0].verdict, Verdict::AsExpected);
  EXPECT_EQ(run.cells[0].broken, std::vector<std::string>{"S8"});
  EXPECT_TRUE(run.findings.empty());
}

TEST_F(FullCells, AChildThatNeverCameSaysNothing) {
  begin("madvise/dontfork-fork", "[vdso]");
  act(-EPERM);
  touch(space(), Moment::InChild);  // the victim itself is no child of it
  EXPECT_EQ(end().cells[0].verdict, Verdict::Unobserved);
}

TEST_F(FullCells, AForcedWriteIsToldAsWhatItIs) {
  begin("procmem/self", "[vdso]");
  course_->before(of(Type::Before), space());
  guest_.map(root_, FakeGuest::kVdsoPlace, kCopy, {.exec = true});
  guest_.enter_user(root_);
  for (const char* invariant : {"S5", "S2"}) {
    course_->violation(violation(invariant, kVdsoIndex, space().id));
  }
  protocol::Message after = of(Type::After);
  after.body.after.result = 8;
  course_->after(after);
  touch(space(), Moment::AfterOperation);
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Forced) << run.cells[0].observation.text;
  EXPECT_EQ(run.cells[0].observation.change, Change::Privatised);
  EXPECT_EQ(run.cells[0].broken, (std::vector<std::string>{"S2", "S5"}));
  EXPECT_TRUE(run.findings.empty());
}

/// The class promises S2 and S5: a forced write without other code is not what it is said to be.
TEST_F(FullCells, AForcedWriteThatBreaksLessIsAMismatch) {
  begin("procmem/self", "[vdso]");
  course_->before(of(Type::Before), space());
  guest_.map(root_, FakeGuest::kVdsoPlace, kCopy, {.exec = true});
  guest_.enter_user(root_);
  course_->violation(violation("S2", kVdsoIndex, space().id));
  protocol::Message after = of(Type::After);
  after.body.after.result = 8;
  course_->after(after);
  touch(space(), Moment::AfterOperation);
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Mismatch);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_NE(run.findings[0].text.find("S5 was not seen to break"), std::string::npos);
}

TEST_F(FullCells, AForcedWriteThatBreaksMoreIsAViolation) {
  begin("procmem/self", "[vdso]");
  act(8);
  course_->violation(violation("S4", kVdsoIndex, space().id));
  const report::Run run = end();
  EXPECT_EQ(run.cells[0].verdict, Verdict::Violation);
}

/// All of a process enters a time namespace: the cell of [vdso] does not judge what [vvar] does.
TEST_F(FullCells, WhatIsExpectedOfAnotherMappingIsLeftToItsCell) {
  begin("timens/setns", "[vdso]");
  act(0);
  course_->violation(violation("S2", kVvarIndex, space().id));
  course_->violation(violation("S3", kVvarIndex, space().id));
  const report::Run run = end();
  ASSERT_EQ(run.findings.size(), 1U) << "S2 is expected there, S3 is not";
  EXPECT_EQ(run.findings[0].invariant, "S3");
}

}  // namespace
}  // namespace sealvisor::test
