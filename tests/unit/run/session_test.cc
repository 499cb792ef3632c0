#include "vmm/run/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/run/run.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;
using testing::HasSubstr;
using testing::Not;

/// Each entry of the root is the root: 512 * 512 * 512 ways.
TEST(Session, EndsAGuestWhoseTablesCantBeSearchedAndSearchesNoMore) {
  constexpr arch::Frame kProcessRoot{0x100};
  auto memory = memory::GuestMemory::create(arch::Arch::X86_64, 64U << 20);
  ASSERT_TRUE(memory) << memory.error().message;
  arch::Table table{};
  std::fill(table.begin(), table.end(), kProcessRoot.gpa().value | 7);
  ASSERT_EQ(::pwrite(memory.value().fd().get(), table.data(), sizeof(table),
                     static_cast<off_t>(kProcessRoot.gpa().value)),
            static_cast<ssize_t>(sizeof(table)));

  run::RunRequest request;
  request.arch = arch::Arch::X86_64;
  run::Session session(request, memory.value(), nullptr);
  Event registers{};
  registers.kind = Kind::Registers;
  registers.old_value = 1ULL << 31;  // CR0.PG
  registers.new_value = 1ULL << 5;   // CR4.PAE
  registers.aux = 0xC00;             // EFER.LMA, NXE
  session.on_event(registers);
  Event load{};
  load.kind = Kind::RootLoad;
  load.gpa = kProcessRoot.gpa().value;
  load.root = kProcessRoot.gpa().value;
  session.on_event(load);
  Event doorbell = load;
  doorbell.kind = Kind::Doorbell;
  for (int message = 0; message < 3; ++message) {
    session.on_event(doorbell);
    const run::Commands commands = session.on_stopped(doorbell);
    ASSERT_TRUE(commands.give_up);
    EXPECT_THAT(*commands.give_up, HasSubstr("more ways than can be searched"));
  }
  report::Run run;
  session.finish(run);
  EXPECT_EQ(run.counts.doorbells, 3U);
  EXPECT_EQ(run.counts.rewalks, 1U);
  EXPECT_FALSE(run.findings.empty());
}

using Kernel = ScriptedRun::Kernel;

/// A guest of two vCPUs, of which the second runs a process of its own.
class TwoVcpus : public testing::Test {
 protected:
  TwoVcpus() : request_(ScriptedRun::request(folder_.path())) { request_.vcpus = 2; }
  void play(std::function<void(ScriptedRun&)> at_the_end, std::uint32_t cpus = 2) {
    ScriptedRun script(request_, Kernel::Refuses);
    script.cpus = cpus;
    script.at_the_end = std::move(at_the_end);
    script.play(run_);
    gave_up_ = script.gave_up;
  }
  /// Loads a process's root on the second vCPU, and lets user mode run there.
  static Frame start_other(ScriptedRun& script) {
    script.guest().vcpu = 1;
    const Frame root = script.guest().new_process();
    script.pump();
    script.enter_user(root);
    return root;
  }
  [[nodiscard]] std::string findings() const {
    std::string all;
    for (const report::Finding& finding : run_.findings) {
      all += finding.id + ": " + finding.text + "\n";
    }
    return all;
  }

  app::Temporary folder_;
  run::RunRequest request_;
  report::Run run_;
  std::string gave_up_;
};

TEST_F(TwoVcpus, RunAndRingEachOnItsOwnRoot) {
  play([](ScriptedRun& script) { start_other(script); });
  EXPECT_EQ(gave_up_, "");
  EXPECT_TRUE(run_.ending.good) << "the last message came from the first vCPU";
  EXPECT_THAT(findings(), Not(HasSubstr("monitor")));
  EXPECT_EQ(run_.counts.violations, 0U);
  EXPECT_EQ(run_.counts.mismatches, 0U);
}

TEST_F(TwoVcpus, AChangeUnderTheOthersRootIsJudgedWhereUserModeRuns) {
  play([](ScriptedRun& script) {
    const Frame other = start_other(script);
    script.guest().vcpu = 0;
    script.guest().map(other, Gva{0x10000000}, FakeGuest::kVdso, {.write = true});
    script.pump();
    script.guest().vcpu = 1;
    script.enter_user(other);
  });
  EXPECT_THAT(findings(), HasSubstr("/S4: [vdso] page 0 is reachable at 0x10000000"));
  EXPECT_EQ(run_.counts.violations, 1U);
}

TEST_F(TwoVcpus, AChangeThatIsUndoneInTimeIsNone) {
  play([](ScriptedRun& script) {
    const Frame other = start_other(script);
    script.guest().vcpu = 0;
    script.guest().map(other, Gva{0x10000000}, FakeGuest::kVdso, {.write = true});
    script.guest().unmap(other, Gva{0x10000000});
    script.pump();
    script.guest().vcpu = 1;
    script.enter_user(other);
  });
  EXPECT_EQ(run_.counts.violations, 0U);
}

TEST_F(TwoVcpus, WhatTheOtherHasLoadedIsWalkedAgain) {
  play([](ScriptedRun& script) {
    const Frame other = start_other(script);
    script.guest().secret_store(script.guest().leaf_slot(other, FakeGuest::kVdsoPlace), 0);
  });
  EXPECT_THAT(findings(), HasSubstr("rewalk"));
  EXPECT_NE(run_.counts.mismatches, 0U);
}

/// The control: a kernel that came up with one CPU says nothing about two.
TEST_F(TwoVcpus, AKernelOnOneOfThemIsEnded) {
  play({}, 1);
  EXPECT_EQ(gave_up_, "its kernel runs on 1 CPU(s), and the machine has 2");
}

TEST_F(TwoVcpus, AKernelThatOnlySaysThatItRunsOnBothIsFoundOut) {
  play({});
  EXPECT_EQ(gave_up_, "");
  EXPECT_THAT(findings(), HasSubstr("user mode ran on 1 of 2 vCPUs"));
}

}  // namespace
}  // namespace sealvisor::test
