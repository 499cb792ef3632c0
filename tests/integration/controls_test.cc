// Negative controls and bad guests: each check fires, each failure has its message, nothing hangs.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/integration/guest.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

class Controls : public testing::TestWithParam<arch::Arch> {
 protected:
  report::Run run_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Controls, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

TEST_P(Controls, ADroppedEventIsFoundByTheRewalk) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  int left = 2000;
  request.mutate = [&left](Event& event) {
    // Turned into a record that changes nothing: as if the store had had no callback.
    if (event.kind == Kind::SlotWrite && event.old_value != event.new_value && --left == 0) {
      event.kind = Kind::UserEntry;
    }
  };
  run_guest(request, run_);
  EXPECT_EQ(left < 0, true) << "the mutation happened";
  EXPECT_GT(run_.counts.mismatches, 0U);
  const auto found = findings_of(run_, "monitor");
  ASSERT_EQ(found.size(), 1U) << text_of(run_.findings);
  EXPECT_NE(found[0].id.find("rewalk"), std::string::npos);
}

TEST_P(Controls, AChangedValueIsFoundByTheRewalk) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  int left = 2000;
  request.mutate = [&left](Event& event) {
    if (event.kind == Kind::SlotWrite && event.new_value != 0 && --left == 0) {
      event.new_value ^= std::uint64_t{1} << 13;
    }
  };
  run_guest(request, run_);
  EXPECT_GT(run_.counts.mismatches, 0U);
  EXPECT_EQ(findings_of(run_, "monitor").size(), 1U) << text_of(run_.findings);
}

// From this store on, the first that changes a table is missed: one that no later store puts right
// before the next re-walk. Runs are the same to the instruction, so it is the same one each time.
constexpr std::uint64_t kMissedStore = 2500;

TEST_P(Controls, AMissedStoreIsFoundByTheRewalk) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  request.drop_store = kMissedStore;
  run_guest(request, run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  EXPECT_GT(run_.counts.mismatches, 0U);
  const auto found = findings_of(run_, "monitor");
  ASSERT_EQ(found.size(), 1U) << text_of(run_.findings);
  EXPECT_NE(found[0].id.find("rewalk"), std::string::npos);
}

// No message comes between the processes of this one: its re-walks are those of the copies that are
// taken when a root is loaded, at least two for each fork.
TEST_P(Controls, CopiesAreComparedWhereNoMessageComes) {
  const run::RunRequest request = request_for(GetParam(), "lts-sealed", {"bench/fork-exec"});
  ASSERT_EQ(request.plan.size(), 1U);
  run_guest(request, run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  const std::uint64_t least = 2 * request.plan[0].count;
  EXPECT_LT(run_.counts.doorbells, least) << "else these may be theirs";
  EXPECT_GE(run_.counts.rewalks, run_.counts.doorbells + least);
  EXPECT_GT(run_.counts.rewalked_tables, 4 * run_.counts.rewalks);
  EXPECT_EQ(run_.counts.mismatches, 0U);
}

TEST_P(Controls, SymbolsOfAnotherArchitectureAreRefused) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  const arch::Arch other =
      GetParam() == arch::Arch::X86_64 ? arch::Arch::Arm64 : arch::Arch::X86_64;
  request.symbols = request_for(other, "lts-sealed", {"life/fork"}).symbols;
  const auto refused = run::run_one(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ExitCode::Usage);
  EXPECT_NE(refused.error().message.find("symbols "), std::string::npos) << refused.error().message;
}

TEST_P(Controls, AMissedStoreIsFoundByTheSecondWitness) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  request.drop_store = kMissedStore;
  request.witness = true;
  run_guest(request, run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  ASSERT_TRUE(run_.counts.witness_differences.has_value());
  EXPECT_GT(*run_.counts.witness_differences, 0U);
  const auto found = findings_of(run_, "monitor");
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const report::Finding& finding) {
    return finding.id.find("witness") != std::string::npos;
  })) << text_of(run_.findings);
}

TEST_P(Controls, AHungGuestEndsAtItsDeadline) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"munmap/whole", "control/hang"});
  request.deadline = std::chrono::seconds(20);
  run_guest(request, run_);
  EXPECT_FALSE(run_.ending.good);
  EXPECT_NE(run_.ending.text.find("deadline"), std::string::npos) << run_.ending.text;
  ASSERT_EQ(run_.cells.size(), 3U);
  EXPECT_EQ(run_.cells[0].verdict, report::Verdict::Held) << "evidence from before is kept";
  EXPECT_LT(run_.seconds, 60);
}

TEST_P(Controls, APanicIsNamed) {
  run_guest(request_for(GetParam(), "lts-sealed", {"munmap/whole", "control/panic"}), run_);
  EXPECT_FALSE(run_.ending.good);
  EXPECT_EQ(run_.ending.text, "kernel panic");
  EXPECT_NE(run_.ending.console_tail.find("Kernel panic"), std::string::npos);
  EXPECT_EQ(run_.cells[0].verdict, report::Verdict::Held);
}

TEST_P(Controls, AConsoleFloodIsCutOff) {
  run_guest(request_for(GetParam(), "lts-sealed", {"control/flood-console"}), run_);
  EXPECT_FALSE(run_.ending.good);
  EXPECT_NE(run_.ending.text.find("console"), std::string::npos) << run_.ending.text;
}

TEST_P(Controls, ADoorbellFloodIsCutOff) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"control/flood-doorbell"});
  request.doorbell_limit = 2000;
  run_guest(request, run_);
  EXPECT_FALSE(run_.ending.good);
  EXPECT_NE(run_.ending.text.find("doorbell flood"), std::string::npos) << run_.ending.text;
}

TEST_P(Controls, ABadMessageIsAFindingThatNamesIt) {
  run_guest(request_for(GetParam(), "lts-sealed", {"control/bad-message"}), run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  const auto found = findings_of(run_, "monitor");
  ASSERT_FALSE(found.empty());
  EXPECT_NE(found[0].text.find("type"), std::string::npos) << found[0].text;
}

TEST_P(Controls, ABadPointerIsAFindingThatNamesIt) {
  run_guest(request_for(GetParam(), "lts-sealed", {"control/bad-pointer"}), run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  const auto found = findings_of(run_, "monitor");
  ASSERT_FALSE(found.empty());
  EXPECT_NE(found[0].text.find("address 0x"), std::string::npos) << found[0].text;
}

/// The QEMU process that is our child, or 0.
pid_t qemu_child() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stat(entry.path() / "stat");
    std::string line;
    std::getline(stat, line);
    const std::size_t end = line.rfind(')');
    if (end == std::string::npos || line.find("qemu-system") == std::string::npos) continue;
    if (std::atoi(line.c_str() + end + 4) == ::getpid()) return std::atoi(name.c_str());
  }
  return 0;
}

TEST_P(Controls, AKilledEngineKeepsTheEvidence) {
  run::RunRequest request =
      request_for(GetParam(), "lts-sealed", {"munmap/whole", "life/thousand"});
  bool killed = false;
  // The plan runs life first: kill once the cell is done, which the order of events tells.
  std::reverse(request.plan.begin(), request.plan.end());
  request.progress = [&killed](std::string_view scenario) {
    if (scenario != "life/thousand") return;
    const pid_t child = qemu_child();
    killed = child != 0 && ::kill(child, SIGKILL) == 0;
  };
  run_guest(request, run_);
  EXPECT_TRUE(killed);
  EXPECT_FALSE(run_.ending.good);
  EXPECT_FALSE(run_.ending.text.empty());
  EXPECT_LT(run_.seconds, 60);
  EXPECT_GT(run_.counts.table_writes, 0U);
  const report::Cell* cell = find_cell(run_, "[vdso]", "munmap", "whole");
  ASSERT_NE(cell, nullptr);
  EXPECT_EQ(cell->verdict, report::Verdict::Held) << cell->observation.text;
  EXPECT_EQ(qemu_child(), 0) << "no QEMU is left behind";
}

}  // namespace
}  // namespace sealvisor::test
