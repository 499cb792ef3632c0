// Guests of two vCPUs (docs/matrix.md, "Two vCPUs"): threads that race do so on both, what one
// changes is judged where the other runs, and a kernel that came up with one CPU counts for
// nothing. On x86-64 that takes kernels which only `./bootstrap test --full` builds.
#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/guest.h"

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;
using report::Cell;
using report::Verdict;

run::RunRequest two_vcpus(arch::Arch arch, const std::string& recipe,
                          const std::vector<std::string>& scenarios, bool full = false) {
  // The kernels of arm64 have two CPUs anyway.
  const std::string smp = arch == arch::Arch::X86_64 ? recipe + "-smp" : recipe;
  run::RunRequest request = request_for(arch, smp, scenarios, full);
  request.vcpus = 2;
  request.deadline = std::chrono::seconds(full ? 900 : 240);
  return request;
}

void expect_good(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.mismatches, 0U);
}

void expect_races(const report::Run& run) {
  expect_good(run);
  EXPECT_FALSE(run.cells.empty());
  for (const Cell& cell : run.cells) {
    // Of [vvar_vclock], which 6.12 has not, and what a known finding names.
    if (cell.verdict == Verdict::Skipped) continue;
    EXPECT_EQ(cell.verdict, run.sealed ? Verdict::Held : Verdict::AsExpected)
        << cell.mapping << " " << cell.operation << ": " << cell.observation.text;
  }
}

void expect_lives(const report::Run& run) {
  expect_good(run);
  EXPECT_FALSE(run.lives.empty());
  for (const report::Life& life : run.lives) {
    EXPECT_EQ(life.status, 0) << life.name;
    EXPECT_EQ(life.violations, 0U) << life.name;
  }
}

void expect_known_stores(const report::Run& run) {
  expect_good(run);
  EXPECT_GT(run.counts.known_stores.value_or(0), 0U);
  EXPECT_EQ(run.counts.witness_differences.value_or(1), 0U);
}

void expect_known_changes(const report::Run& run) {
  expect_good(run);
  EXPECT_EQ(run.counts.known_changes, 2000U);
  EXPECT_EQ(run.counts.known_changes_judged, 2000U);
}

void expect_campaign(const report::Run& run) {
  expect_good(run);
  ASSERT_TRUE(run.campaign);
  const report::Campaign& campaign = *run.campaign;
  EXPECT_GT(campaign.made, 400U);
  EXPECT_EQ(campaign.made, campaign.asked);
  EXPECT_EQ(campaign.reported, campaign.visible);
  EXPECT_EQ(campaign.recorded, campaign.transient);
  EXPECT_EQ(campaign.false_alarms, 0U);
}

struct Row {
  const char* name;
  const char* recipe;
  std::vector<std::string> scenarios;
  std::function<void(const report::Run&)> check;
  bool witness = false;
  bool full = false;  ///< On mappings of 32-bit processes and [uprobes] too.
};

const Row kRows[] = {
    {"RacesAreHeld", "lts-sealed", {"race/*"}, expect_races, false, true},
    {"RacesOfTheTwin", "lts-unsealed", {"race/*"}, expect_races, false, true},
    {"LivesAndDeaths", "lts-sealed", {"life/fork", "life/exec*", "life/thread*"}, expect_lives},
    {"ExactStores", "lts-sealed", {"control/stores"}, expect_known_stores, true},
    {"KnownChanges",
     "lts-sealed",
     {"control/tamper-entry", "control/tamper-compat"},
     expect_known_changes},
    {"ACampaign", "tampering", {"control/campaign"}, expect_campaign},
};

using ArchRow = std::tuple<arch::Arch, Row>;

struct RowName {
  std::string operator()(const testing::TestParamInfo<ArchRow>& one) const {
    return std::string(arch::name_of(std::get<0>(one.param))) + "_" + std::get<1>(one.param).name;
  }
};

class Smp : public testing::TestWithParam<ArchRow> {};
INSTANTIATE_TEST_SUITE_P(Table, Smp,
                         testing::Combine(testing::Values(arch::Arch::Arm64),
                                          testing::ValuesIn(kRows)),
                         RowName{});
INSTANTIATE_TEST_SUITE_P(InFull, Smp,
                         testing::Combine(testing::Values(arch::Arch::X86_64),
                                          testing::ValuesIn(kRows)),
                         RowName{});

TEST_P(Smp, ComesOutAsItMust) {
  const auto& [arch, row] = GetParam();
  run::RunRequest request = two_vcpus(arch, row.recipe, row.scenarios, row.full);
  request.witness = row.witness;
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  row.check(run);
}

struct ArchName {
  std::string operator()(const testing::TestParamInfo<arch::Arch>& one) const {
    return arch::name_of(one.param);
  }
};

class SmpOf : public testing::TestWithParam<arch::Arch> {};
INSTANTIATE_TEST_SUITE_P(Table, SmpOf, testing::Values(arch::Arch::Arm64), ArchName{});
INSTANTIATE_TEST_SUITE_P(InFull, SmpOf, testing::Values(arch::Arch::X86_64), ArchName{});

/// The control: nothing of such a run may count.
TEST_P(SmpOf, AKernelWithOneCpuIsVoid) {
  run::RunRequest request = two_vcpus(GetParam(), "lts-sealed", {"munmap/whole"});
  request.kernel_arguments = "maxcpus=1";
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  EXPECT_FALSE(run.ending.good);
  EXPECT_THAT(run.ending.text, testing::HasSubstr("on 1 CPU(s), and the machine has 2"));
  for (const Cell& cell : run.cells) EXPECT_NE(cell.verdict, Verdict::Held);
}

/// One thread runs both: the same run twice is the same to the instruction.
TEST_P(SmpOf, TwoRunsAreTheSameAndBothVcpusDoWork) {
  std::array<std::vector<Event>, 2> runs;
  for (std::vector<Event>& events : runs) {
    trace_guest(two_vcpus(GetParam(), "lts-sealed", {"race/munmap*", "life/fork"}), events);
    if (HasFatalFailure()) return;
  }
  const auto& [first, second] = runs;
  ASSERT_EQ(first.size(), second.size());
  const auto same = [](const Event& a, const Event& b) {
    return a.kind == b.kind && a.vcpu == b.vcpu && a.icount == b.icount && a.gpa == b.gpa &&
           a.old_value == b.old_value && a.new_value == b.new_value;
  };
  EXPECT_TRUE(std::equal(first.begin(), first.end(), second.begin(), same));
  for (const Kind kind : {Kind::RootLoad, Kind::SlotWrite, Kind::UserEntry, Kind::Doorbell}) {
    for (const unsigned vcpu : {0U, 1U}) {
      EXPECT_TRUE(
          std::any_of(first.begin(), first.end(),
                      [&](const Event& event) { return event.kind == kind && event.vcpu == vcpu; }))
          << event::name_of(kind) << " on vCPU " << vcpu;
    }
  }
  EXPECT_TRUE(std::is_sorted(first.begin(), first.end(), [](const Event& a, const Event& b) {
    return a.icount < b.icount;
  })) << "one order for both";
}

using ArchRecipe = std::tuple<arch::Arch, const char*>;
class SmpMatrix : public testing::TestWithParam<ArchRecipe> {};
INSTANTIATE_TEST_SUITE_P(InFull, SmpMatrix,
                         testing::Combine(testing::ValuesIn(arch::kAllArchs),
                                          testing::Values("lts-sealed", "lts-unsealed")),
                         [](const testing::TestParamInfo<ArchRecipe>& one) {
                           const bool sealed = std::string(std::get<1>(one.param)) == "lts-sealed";
                           return std::string(arch::name_of(std::get<0>(one.param))) +
                                  (sealed ? "_sealed" : "_unsealed");
                         });

/// Most of what there is; `verify --full --variant smp` tries all of it.
TEST_P(SmpMatrix, MostOfItComesOutAsItMust) {
  const auto& [arch, recipe] = GetParam();
  report::Run run;
  run_guest(two_vcpus(arch, recipe, {"m*/*", "race/*", "fork/*", "timens/*", "procmem/*"}, true),
            run);
  if (HasFatalFailure()) return;
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_EQ(run.counts.mismatches, 0U);
  for (const Cell& cell : run.cells) {
    EXPECT_NE(cell.verdict, Verdict::Violation) << cell.mapping << " " << cell.operation;
    EXPECT_NE(cell.verdict, Verdict::Mismatch) << cell.mapping << " " << cell.operation;
  }
  for (const report::Finding& finding : run.findings) {
    EXPECT_NE(finding.invariant, "monitor") << finding.id << ": " << finding.text;
  }
}

}  // namespace
}  // namespace sealvisor::test
