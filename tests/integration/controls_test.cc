// Negative controls and bad guests: each check fires, each failure has its message. Guests that do
// not come to their own end are in ends_test.cc.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "vmm/report/conclude.h"
#include "vmm/report/text.h"

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

/// The instruction whose store the controls of the re-walk and of the witness miss on purpose. Most
/// stores would not do: a later one puts the slot right, or the table is gone, before its next
/// re-walk, and which ones depends on each byte of kernel and agent. So it is chosen from a first
/// run that misses nothing: a single store to a last-level table that is still as it left it when
/// the table is copied for a re-walk. Runs of one request are the same to the instruction, so that
/// the second run does the same at the same count. 0 if there is none.
std::uint64_t lasting_store(const std::vector<Event>& events) {
  std::map<std::uint64_t, std::uint64_t> last;  // slot -> icount of the store to it
  std::vector<std::uint64_t> lasted;
  const auto slots_of = [&](std::uint64_t frame) {
    return std::pair(last.lower_bound(frame), last.lower_bound(frame + arch::kPageSize));
  };
  for (const Event& event : events) {
    if (event.kind == Kind::SlotWrite) {
      last.erase(event.gpa);
      const bool plain = event.parts == 1 && event.level == 1 && event.icount != 0;
      // One that sets or clears the slot: accessed and dirty bits alone are compared by nobody.
      if (plain && (event.old_value == 0) != (event.new_value == 0)) last[event.gpa] = event.icount;
    } else if (event.kind == Kind::TableAdded || event.kind == Kind::TableRemoved) {
      const auto [first, end] = slots_of(event.gpa);
      last.erase(first, end);
    } else if (event.kind == Kind::TableCopy) {
      const auto [first, end] = slots_of(event.gpa);
      for (auto slot = first; slot != end; ++slot) lasted.push_back(slot->second);
      last.erase(first, end);
    }
  }
  return lasted.empty() ? 0 : lasted[lasted.size() / 2];
}

TEST_P(Controls, AMissedStoreIsFoundByTheRewalk) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"life/fork"});
  std::vector<Event> events;
  trace_guest(request, events);
  request.drop_store = lasting_store(events);
  ASSERT_NE(request.drop_store, 0U) << "no store lasts until its table is copied";
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
  request.witness = true;
  std::vector<Event> events;
  trace_guest(request, events);
  request.drop_store = lasting_store(events);
  ASSERT_NE(request.drop_store, 0U) << "no store lasts until its table is copied";
  run_guest(request, run_);
  EXPECT_TRUE(run_.ending.good) << run_.ending.text;
  ASSERT_TRUE(run_.counts.witness_differences.has_value());
  EXPECT_GT(*run_.counts.witness_differences, 0U);
  const auto found = findings_of(run_, "monitor");
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const report::Finding& finding) {
    return finding.id.find("witness") != std::string::npos;
  })) << text_of(run_.findings);
}

/// control/stores must go red, and name the class of the store that is wrong.
void expect_red(const report::Run& run, std::string_view store_class) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  const auto found = findings_of(run, "monitor");
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const report::Finding& finding) {
    return finding.id.find("/control/stores/") != std::string::npos &&
           finding.text.starts_with(std::string(store_class) + ": ");
  })) << text_of(run.findings);
  const report::Report report = report::conclude({run}, {}, {});
  EXPECT_EQ(report.exit_code, ExitCode::Failed) << report.conclusion;
  EXPECT_NE(report::render_text(report, {.width = 1000}).find(std::string(store_class) + ": "),
            std::string::npos)
      << "the class is in what a person reads";
}

/// User mode stores to tables in this control only; of its classes the first with this width has
/// the first of these stores.
TEST_P(Controls, AKnownStoreThatIsWrongTurnsTheExactCountRed) {
  struct Row {
    std::uint8_t width;
    const char* x86_64;
    const char* arm64;
  };
  constexpr auto kRows = std::to_array<Row>({{2, "mov-2", "strh"}, {4, "mov-4", "str-w"}});
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.x86_64);
    const char* store_class = GetParam() == arch::Arch::X86_64 ? row.x86_64 : row.arm64;
    run::RunRequest request = request_for(GetParam(), "lts-sealed", {"control/stores"});
    std::uint64_t icount = 0;
    request.mutate = [&](Event& event) {
      const bool known = event.kind == Kind::SlotWrite && (event.flags & event::kUserMode) != 0;
      if (!known || event.size != row.width || icount != 0) return;
      icount = event.icount;
      event.new_value ^= 1;
    };
    run_guest(request, run_);
    ASSERT_NE(icount, 0U) << "no store of this width came";
    expect_red(run_, store_class);  // changed on its way

    request.mutate = nullptr;
    request.drop_store = icount;
    run_ = {};
    run_guest(request, run_);
    expect_red(run_, store_class);  // lost where it was made
  }
}

/// The same of code: a store that comes with another value, and one that never comes.
TEST_P(Controls, AKnownStoreToCodeThatIsWrongTurnsItsCountRed) {
  for (const bool lost : {false, true}) {
    SCOPED_TRACE(lost ? "lost" : "changed");
    run::RunRequest request = request_for(GetParam(), "lts-sealed", {"control/stores-code"});
    bool spoilt = false;
    request.mutate = [&](Event& event) {
      const bool known = event.kind == Kind::ContentWrite && event.size == 4;
      if (!known || std::exchange(spoilt, true)) return;
      event.new_value ^= 1;
      if (lost) event.kind = Kind::UserEntry;
    };
    run_ = {};
    run_guest(request, run_);
    EXPECT_TRUE(spoilt) << "no store of this width came";
    const auto found = findings_of(run_, "monitor");
    EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const report::Finding& finding) {
      return finding.id.find("/control/stores-code/") != std::string::npos;
    })) << text_of(run_.findings);
  }
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
