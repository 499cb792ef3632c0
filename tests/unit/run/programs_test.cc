#include "vmm/run/programs.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/support/fake_guest.h"

namespace sealvisor::test {
namespace {

using protocol::ProcessEvent;
using protocol::ProgramOutcome;
using report::Change;

/// One program on a guest of plain memory, told as agent and engine would.
class Programs : public testing::TestWithParam<Arch> {
 protected:
  static constexpr Gva kStack{0x7ffffffde000};
  static constexpr Frame kStackFrame{0x430};
  static constexpr std::uint32_t kPid = 70;

  void SetUp() override {
    guest_.learn_vdso();
    request_.arch = GetParam();
    request_.recipe = "kernel";
    request_.sealed = true;
    run::ProgramRequest program;
    program.name = "one";
    program.run = "/bin/one";
    program.arguments = {"word"};
    program.output_bytes = 10;
    request_.programs = {program};
    auto memory = memory::GuestMemory::create(GetParam(), std::uint64_t{64} << 20);
    ASSERT_TRUE(memory) << memory.error().message;
    memory_.emplace(std::move(memory).value());
    narrator_.emplace(GetParam(), *memory_, nullptr);
    programs_.emplace(request_, guest_.identities, *memory_, *narrator_);
    agent_ = guest_.new_process();
    look(agent_);
    programs_->agents(space(agent_).id);
  }

  const model::AddressSpace& space(Frame root) { return *guest_.spaces.find(root); }
  /// User mode is about to run on `root`: what the session does then.
  void look(Frame root) {
    while (told_ < guest_.changes.size()) {
      if (programs_->active()) programs_->changed(guest_.changes[told_], root);
      ++told_;
    }
    model::Look seen;
    const model::AddressSpace* there = guest_.spaces.look(root, seen);
    programs_->looked(*there, seen, guest_.format, guest_.mirror);
    for (const model::PageTransition& transition : seen.transitions) {
      for (const auto& violation :
           seal::judge_transition(GetParam(), guest_.identities, *there, transition)) {
        EXPECT_TRUE(programs_->takes(violation));
      }
    }
    for (const model::Elsewhere& elsewhere : seen.new_elsewhere) {
      EXPECT_TRUE(programs_->takes(seal::judge_elsewhere(guest_.identities, *there, elsewhere)));
    }
  }
  void begin(bool traced = true) {
    protocol::ProgramBegin message{};
    message.traced = traced ? 1 : 0;
    EXPECT_EQ(programs_->begin(message), "");
  }
  /// The program's process, with a stack of its own.
  Frame exec() {
    const Frame root = guest_.new_process();
    guest_.map(root, kStack, kStackFrame, {.write = true});
    return root;
  }
  static protocol::Process process(ProcessEvent event) {
    protocol::Process message{};
    message.pid = kPid;
    message.event = event;
    message.bits = 64;
    message.marker_gva = kStack.value;
    message.marker_gpa = kStackFrame.gpa().value;
    std::strcpy(message.name, "/bin/one");
    return message;
  }
  void claim(const char* name, Gva place, bool sealed = true) {
    protocol::MappingClaim message{};
    message.start = place.value;
    message.end = place.value + 0x2000;
    message.sealed = sealed ? 1 : 0;
    std::strcpy(message.name, name);
    programs_->process_mapping(kPid, message);
  }
  void tell(ProcessEvent event, bool vdso = true, bool vvar = true) {
    if (vdso) claim("[vdso]", FakeGuest::kVdsoPlace);
    if (vvar) claim("[vvar]", FakeGuest::kVvarPlace);
    const auto root = programs_->process(process(event), guest_.spaces, false);
    EXPECT_EQ(root.has_value(), event == ProcessEvent::Exiting);
    if (!root) return;
    look(*root);
    programs_->touched(space(*root));
  }
  report::Run end(ProgramOutcome outcome = ProgramOutcome::Exited, std::int32_t value = 0) {
    protocol::ProgramEnd message{};
    message.outcome = outcome;
    message.value = value;
    EXPECT_EQ(programs_->end(message), "");
    report::Run run;
    run.ending.good = true;
    programs_->finish(run);
    return run;
  }
  static const report::ProgramMapping* mapping(const report::Run& run, const std::string& name) {
    if (run.programs.empty() || run.programs[0].spaces.empty()) return nullptr;
    for (const auto& one : run.programs[0].spaces[0].mappings) {
      if (one.name == name) return &one;
    }
    return nullptr;
  }
  static std::string text_of(const std::vector<report::Finding>& findings) {
    std::string text;
    for (const auto& finding : findings) text += finding.id + ": " + finding.text + "\n";
    return text;
  }
  void expect_change(const report::Run& run, const char* name, Change change,
                     std::uint32_t absent = 0) {
    const report::ProgramMapping* one = mapping(run, name);
    ASSERT_NE(one, nullptr) << name;
    EXPECT_EQ(one->change, change) << name << ": " << one->text;
    EXPECT_EQ(one->absent, absent) << name;
  }

  FakeGuest guest_{GetParam()};
  run::RunRequest request_;
  std::optional<memory::GuestMemory> memory_;
  std::optional<run::Narrator> narrator_;
  std::optional<run::Programs> programs_;
  Frame agent_{};
  std::size_t told_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Archs, Programs, testing::ValuesIn(arch::kAllArchs), ArchName());

TEST_P(Programs, ThatChangesNothingIsSaidSo) {
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  tell(ProcessEvent::Exiting);
  tell(ProcessEvent::Ended, false, false);
  const report::Run run = end();
  ASSERT_EQ(run.programs.size(), 1U);
  const report::Program& program = run.programs[0];
  EXPECT_TRUE(report::succeeded(program));
  EXPECT_EQ(program.command, (std::vector<std::string>{"/bin/one", "word"}));
  ASSERT_EQ(program.processes.size(), 1U);
  EXPECT_EQ(program.processes[0].image, "/bin/one");
  EXPECT_EQ(program.processes[0].status, 0);
  EXPECT_EQ(program.processes[0].first.size(), 2U);
  ASSERT_EQ(program.spaces.size(), 1U);
  EXPECT_EQ(program.spaces[0].pids, std::vector<std::uint32_t>{kPid});
  EXPECT_EQ(program.spaces[0].image, "/bin/one");
  EXPECT_TRUE(program.spaces[0].touched);
  expect_change(run, "[vdso]", Change::Unchanged);
  expect_change(run, "[vvar]", Change::Unchanged);
  EXPECT_EQ(mapping(run, "[vvar]")->seen, 1U);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Programs, TheAgentsOwnIsNoneOfIt) {
  begin();
  look(agent_);
  const report::Run run = end();
  EXPECT_TRUE(run.programs[0].spaces.empty());
}

TEST_P(Programs, WhatIsGoneAfterATouchIsGone) {
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  guest_.unmap(root, Gva{FakeGuest::kVdsoPlace.value + 0x1000});
  look(root);
  tell(ProcessEvent::Exiting, false);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Gone);
  EXPECT_EQ(mapping(run, "[vdso]")->changes.size(), 2U);
  expect_change(run, "[vvar]", Change::Unchanged);
  ASSERT_EQ(run.findings.size(), 1U) << text_of(run.findings);
  EXPECT_EQ(run.findings[0].invariant, "S1");
  EXPECT_EQ(run.findings[0].id,
            std::string(arch::name_of(GetParam())) + "/kernel/program/one/[vdso]/S1");
}

TEST_P(Programs, OnAnUnsealedKernelAChangeIsNoFinding) {
  request_.sealed = false;
  begin();
  const Frame root = exec();
  claim("[vdso]", FakeGuest::kVdsoPlace, false);
  (void)programs_->process(process(ProcessEvent::Exec), guest_.spaces, false);
  look(root);
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  guest_.unmap(root, Gva{FakeGuest::kVdsoPlace.value + 0x1000});
  look(root);
  tell(ProcessEvent::Exiting, false);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Gone);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Programs, WhatNobodyTouchedAgainIsAbsentAndNotGone) {
  begin(false);
  const Frame root = exec();
  look(root);
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  look(root);
  const report::Run run = end();
  EXPECT_FALSE(run.programs[0].traced);
  expect_change(run, "[vdso]", Change::Unchanged, 1);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Programs, DataThatIsAbsentIsGoneOnlyIfTheKernelListsItNoMore) {
  for (const bool listed : {true, false}) {
    programs_.emplace(request_, guest_.identities, *memory_, *narrator_);
    programs_->agents(space(agent_).id);
    begin();
    const Frame root = exec();
    tell(ProcessEvent::Exec);
    look(root);
    guest_.unmap(root, FakeGuest::kVvarPlace);
    look(root);
    tell(ProcessEvent::Exiting, true, listed);
    const report::Run run = end();
    expect_change(run, "[vvar]", listed ? Change::Unchanged : Change::Gone, listed ? 1 : 0);
    // Else the next one's stack is not of one address space alone.
    guest_.unmap(root, kStack);
  }
}

TEST_P(Programs, WhatCameBackWasRefaulted) {
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  look(root);
  guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
  look(root);
  tell(ProcessEvent::Exiting);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Refaulted);
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
}

TEST_P(Programs, AnotherFrameOrOtherPermissionsAreKeptThoughUndone) {
  for (const bool frame : {true, false}) {
    programs_.emplace(request_, guest_.identities, *memory_, *narrator_);
    programs_->agents(space(agent_).id);
    begin();
    const Frame root = exec();
    tell(ProcessEvent::Exec);
    look(root);
    guest_.map(root, FakeGuest::kVdsoPlace, frame ? FakeGuest::kOther : FakeGuest::kVdso,
               {.exec = frame});
    look(root);
    guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
    look(root);
    tell(ProcessEvent::Exiting);
    const report::Run run = end();
    expect_change(run, "[vdso]", frame ? Change::Replaced : Change::PermissionChanged);
    EXPECT_FALSE(mapping(run, "[vdso]")->text.empty());
    EXPECT_FALSE(mapping(run, "[vdso]")->changes.empty());
    ASSERT_FALSE(run.findings.empty());
    EXPECT_EQ(run.findings[0].invariant, frame ? "S2" : "S3") << text_of(run.findings);
    guest_.unmap(root, kStack);
  }
}

/// As ptrace and /proc/PID/mem do it: the page is a private copy from then on.
TEST_P(Programs, WhatIsWrittenByForceIsAClassOfItsOwn) {
  for (const bool sealed : {true, false}) {
    request_.sealed = sealed;
    programs_.emplace(request_, guest_.identities, *memory_, *narrator_);
    programs_->set_compare([](Frame, Frame) { return std::optional<std::uint32_t>(3); });
    programs_->agents(space(agent_).id);
    begin();
    const Frame root = exec();
    (void)programs_->process(process(ProcessEvent::Exec), guest_.spaces, false);
    look(root);
    guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kOther, {.exec = true});
    look(root);
    EXPECT_TRUE(programs_->takes({"S5", space(root).id, {0, 0}, FakeGuest::kVdsoPlace, "3 bytes"}));
    tell(ProcessEvent::Exiting);
    const report::Run run = end();
    expect_change(run, "[vdso]", Change::Privatised);
    EXPECT_NE(mapping(run, "[vdso]")->text.find("a copy but for 3 bytes"), std::string::npos)
        << mapping(run, "[vdso]")->text;
    ASSERT_EQ(run.programs[0].spaces[0].violations.size(), 2U);
    EXPECT_EQ(run.programs[0].spaces[0].violations[0].invariant, "S2");
    EXPECT_EQ(run.programs[0].spaces[0].violations[1].invariant, "S5");
    EXPECT_EQ(report::forced_mappings(run.programs[0]), 1U);
    EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
    guest_.unmap(root, kStack);
  }
}

TEST_P(Programs, ACopyThatMayBeWrittenWasNotMadeByForce) {
  programs_->set_compare([](Frame, Frame) { return std::optional<std::uint32_t>(0); });
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kOther, {.write = true, .exec = true});
  look(root);
  tell(ProcessEvent::Exiting);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Replaced);
  EXPECT_EQ(report::forced_mappings(run.programs[0]), 0U);
  EXPECT_NE(text_of(run.findings).find("/S2"), std::string::npos) << text_of(run.findings);
  EXPECT_NE(text_of(run.findings).find("/S3"), std::string::npos) << text_of(run.findings);
}

TEST_P(Programs, WhatMovedIsNamedWithItsNewPlace) {
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  const Gva away{0x7ffff7000000};
  for (std::uint64_t page = 0; page < 2; ++page) {
    guest_.unmap(root, Gva{FakeGuest::kVdsoPlace.value + page * 0x1000});
    guest_.map(root, Gva{away.value + page * 0x1000}, Frame{FakeGuest::kVdso.number + page},
               {.exec = true});
  }
  look(root);
  tell(ProcessEvent::Exiting, false);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Moved);
  EXPECT_NE(mapping(run, "[vdso]")->text.find("0x7ffff7000000"), std::string::npos)
      << mapping(run, "[vdso]")->text;
  EXPECT_NE(text_of(run.findings).find("/S4"), std::string::npos) << text_of(run.findings);
}

TEST_P(Programs, TeardownIsNoChange) {
  begin();
  const Frame root = exec();
  tell(ProcessEvent::Exec);
  look(root);
  const std::uint64_t id = space(root).id;
  guest_.unmap(root, FakeGuest::kVdsoPlace);
  while (told_ < guest_.changes.size()) programs_->changed(guest_.changes[told_++], root);
  programs_->ended(id);
  const report::Run run = end();
  expect_change(run, "[vdso]", Change::Unchanged);
  EXPECT_TRUE(run.programs[0].spaces[0].ended);
  EXPECT_TRUE(mapping(run, "[vdso]")->changes.empty());
}

TEST_P(Programs, CodeThatAllShareMustNotChangeOnAnyKernel) {
  request_.sealed = false;
  begin();
  const Frame root = exec();
  look(root);
  EXPECT_TRUE(programs_->takes({"S5", 0, {0, 0}, Gva{0}, "a store changed its code"}));
  const report::Run run = end();
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_EQ(run.findings[0].invariant, "S5");
}

TEST_P(Programs, AClaimThatTheRecipeDoesNotMakeIsAFinding) {
  begin();
  const Frame root = exec();
  claim("[vdso]", FakeGuest::kVdsoPlace, false);
  (void)programs_->process(process(ProcessEvent::Exec), guest_.spaces, false);
  look(root);
  const report::Run run = end();
  ASSERT_EQ(run.findings.size(), 1U) << text_of(run.findings);
  EXPECT_EQ(run.findings[0].invariant, "claim");
}

TEST_P(Programs, AFrameInTwoAddressSpacesJoinsNothing) {
  begin();
  const Frame one = exec();
  const Frame other = exec();
  tell(ProcessEvent::Exec);
  look(one);
  look(other);
  EXPECT_FALSE(programs_->process(process(ProcessEvent::Exiting), guest_.spaces, false));
  const report::Run run = end();
  ASSERT_EQ(run.programs[0].spaces.size(), 2U);
  for (const auto& space : run.programs[0].spaces) {
    EXPECT_TRUE(space.pids.empty());
    EXPECT_FALSE(space.touched);
  }
}

TEST_P(Programs, WithIsolatedTablesUserModesRootIsTheSecond) {
  begin();
  // Side by side, the kernel's first.
  guest_.next_table = (guest_.next_table + 1) & ~std::uint64_t{1};
  const Frame kernels = guest_.new_table();
  const Frame users = guest_.new_table();
  for (const Frame root : {kernels, users}) {
    guest_.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
    guest_.map(root, kStack, kStackFrame, {.write = true});
    guest_.load_root(root);
  }
  const bool x86 = GetParam() == Arch::X86_64;
  EXPECT_FALSE(programs_->process(process(ProcessEvent::Exec), guest_.spaces, true));
  look(users);
  const auto root = programs_->process(process(ProcessEvent::Exiting), guest_.spaces, true);
  EXPECT_EQ(root, x86 ? std::optional(users) : std::nullopt);
}

TEST_P(Programs, TheNameOnTheStackStandsInForATracersWord) {
  begin(false);
  auto bytes = Mapping::map(memory_->fd(), memory_->size(), PROT_READ | PROT_WRITE, "memory");
  ASSERT_TRUE(bytes);
  // The frames of this guest lie below the RAM of an arm64 one, where no name can be read.
  const bool readable = memory_->base().value == 0;
  const std::uint64_t at = readable ? kStackFrame.gpa().value : 0;
  constexpr std::string_view kName = "/bin/dynamic";
  std::memcpy(bytes.value().data() + at + 0x1000 - 8 - kName.size() - 1, kName.data(),
              kName.size());
  const Frame root = exec();
  look(root);
  const report::Run run = end();
  EXPECT_EQ(run.programs[0].spaces[0].image, readable ? kName : "");
}

TEST_P(Programs, OutputIsKeptUpToTheBound) {
  begin();
  programs_->piece(protocol::Content::Output, "12345678");
  programs_->piece(protocol::Content::Errors, "abc");
  programs_->piece(protocol::Content::Output, "90xyz");
  const report::Run run = end(ProgramOutcome::Killed, 11);
  const report::Program& program = run.programs[0];
  EXPECT_EQ(program.output, "1234567890");
  EXPECT_EQ(program.errors, "abc");
  EXPECT_EQ(program.output_left_out, 3U);
  EXPECT_EQ(report::outcome_text(program), "killed by SIGSEGV");
}

TEST_P(Programs, MessagesOutOfTurnAreRefused) {
  protocol::ProgramEnd end_message{};
  EXPECT_NE(programs_->end(end_message), "");
  protocol::ProgramBegin begin_message{};
  begin_message.index = 1;
  EXPECT_NE(programs_->begin(begin_message), "");
  begin();
  begin_message.index = 0;
  EXPECT_NE(programs_->begin(begin_message), "");
  end_message.index = 1;
  EXPECT_NE(programs_->end(end_message), "");
}

TEST_P(Programs, OneThatNeverRanIsAFinding) {
  report::Run run;
  run.ending.good = true;
  programs_->finish(run);
  ASSERT_EQ(run.programs.size(), 1U);
  EXPECT_EQ(run.programs[0].outcome, report::Program::Outcome::CutOff);
  ASSERT_EQ(run.findings.size(), 1U);
  EXPECT_EQ(run.findings[0].invariant, "monitor");
}

TEST_P(Programs, OneThatTheGuestCutOffIsKept) {
  begin();
  const Frame root = exec();
  look(root);
  programs_->piece(protocol::Content::Output, "so far");
  report::Run run;
  programs_->finish(run);
  EXPECT_EQ(run.programs[0].outcome, report::Program::Outcome::CutOff);
  EXPECT_EQ(run.programs[0].output, "so far");
  EXPECT_EQ(run.programs[0].spaces.size(), 1U);
  EXPECT_TRUE(run.findings.empty());
}

TEST_P(Programs, ManyProcessesAreCounted) {
  begin();
  for (std::uint32_t pid = 1; pid <= run::Programs::kMostProcesses + 5; ++pid) {
    protocol::Process message{};
    message.pid = pid;
    message.event = ProcessEvent::Begun;
    (void)programs_->process(message, guest_.spaces, false);
    message.event = ProcessEvent::Ended;
    (void)programs_->process(message, guest_.spaces, false);
  }
  const report::Run run = end();
  EXPECT_EQ(run.programs[0].processes.size(), run::Programs::kMostProcesses);
  EXPECT_EQ(run.programs[0].processes_left_out, 5U);
}

}  // namespace
}  // namespace sealvisor::test
