// `sealvisor lifetime` on real guests: what changes in a process's life is in the list, under the
// name of who changed it.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/app/lifetime.h"
#include "vmm/report/lifetime_report.h"

namespace sealvisor::test {
namespace {

using report::Effect;
using report::LifeChange;
using report::LifeVerdict;

class Lifetime : public testing::TestWithParam<arch::Arch> {
 protected:
  void watch(const std::string& recipe, const std::vector<std::string>& patterns,
             std::chrono::seconds deadline = std::chrono::seconds(180)) {
    run::RunRequest request = request_for(GetParam(), recipe, patterns);
    request.lifetime = true;
    request.deadline = deadline;
    for (scenario::PlanItem& item : request.plan) {
      if (item.scenario->name == "control/tamper-entry") item.count = 8;
    }
    run_guest(request, run_);
    EXPECT_TRUE(run_.ending.good) << run_.ending.text << "\n" << run_.ending.console_tail;
    EXPECT_EQ(run_.counts.mismatches, 0U);
    ASSERT_TRUE(run_.lifetime.has_value());
    EXPECT_GT(run_.lifetime->writes, 0U);
    EXPECT_EQ(run_.lifetime->without_stack, 0U);
    EXPECT_EQ(run_.lifetime->paths_incomplete, 0U) << listed();
  }

  /// Changes in life that `wanted` names.
  template <typename Wanted>
  [[nodiscard]] std::vector<LifeChange> in_life(Wanted wanted) const {
    std::vector<LifeChange> found;
    for (const LifeChange& change : run_.lifetime->changes) {
      if (change.in_life && wanted(change)) found.push_back(change);
    }
    return found;
  }

  /// Everything that is listed, for messages.
  [[nodiscard]] std::string listed() const {
    report::Report report;
    report.runs = {run_};
    return report::render_lifetime_text(report, {.width = 200});
  }

  [[nodiscard]] const report::MappingLife* mapping(const std::string& name) const {
    for (const report::MappingLife& life : run_.lifetime->mappings) {
      if (life.mapping == name) return &life;
    }
    return nullptr;
  }

  report::Run run_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Lifetime, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

bool by_kernel(const LifeChange& change) { return change.by_kernel; }

TEST_P(Lifetime, ProcessesThatLiveAndDieChangeNothing) {
  for (const char* const recipe : {"lts-sealed", "lts-unsealed"}) {
    SCOPED_TRACE(recipe);
    run_ = {};
    watch(recipe, {"life/fork", "life/vfork", "life/exec-*", "life/threads", "life/signals*"});
    EXPECT_TRUE(in_life([](const LifeChange&) { return true; }).empty()) << listed();
    for (const char* const name : {"[vdso]", "[vvar]"}) {
      const report::MappingLife* const life = mapping(name);
      ASSERT_NE(life, nullptr) << name;
      EXPECT_EQ(life->verdict, LifeVerdict::NeverChanged) << listed();
      EXPECT_GT(life->spaces, 10U);
      EXPECT_GT(life->filled_in + life->copied, 0U) << "a page gets there somehow";
      EXPECT_GT(life->removed_at_exit, 0U) << "and goes with its process";
    }
  }
}

// The kernel's one known change of a mapping: whoever enters a time namespace loses its page.
TEST_P(Lifetime, ATimeNamespaceChangesVvar) {
  watch("lts-sealed", {"storm/time-namespace"});
  const auto found = in_life(by_kernel);
  ASSERT_FALSE(found.empty()) << listed();
  for (const LifeChange& change : found) {
    EXPECT_EQ(change.mapping, "[vvar]") << listed();
    EXPECT_EQ(change.cause, "time namespace") << listed();
    EXPECT_GT(change.seen + change.at_end, 0U) << listed();
    EXPECT_NE(report::known_life_change(change), nullptr);
  }
  EXPECT_EQ(mapping("[vvar]")->verdict, LifeVerdict::Changed) << listed();
  EXPECT_EQ(mapping("[vdso]")->verdict, LifeVerdict::NeverChanged) << listed();
}

TEST_P(Lifetime, AProcessIsNamedForItsOwnCalls) {
  watch("lts-unsealed", {"control/own-calls"});
  const auto own = in_life([](const LifeChange& change) { return change.cause == "system call"; });
  ASSERT_FALSE(own.empty()) << listed();
  EXPECT_TRUE(in_life(by_kernel).empty()) << listed();
  const auto unmapped = [](const LifeChange& change) {
    return change.effect == Effect::Removed && change.by.find("munmap") != std::string::npos &&
           change.seen != 0;
  };
  EXPECT_TRUE(std::any_of(own.begin(), own.end(), unmapped)) << listed();
  EXPECT_EQ(mapping("[vdso]")->verdict, LifeVerdict::NeverChanged) << "by the kernel itself";
}

TEST_P(Lifetime, ASealLeavesNothingOfThem) {
  watch("lts-sealed", {"control/own-calls"});
  EXPECT_TRUE(in_life([](const LifeChange&) { return true; }).empty()) << listed();
}

TEST_P(Lifetime, AStoreFromOutsideIsNamed) {
  watch("lts-sealed", {"control/tamper-entry"});
  const auto found = in_life([](const LifeChange& change) { return change.cause == "outside"; });
  ASSERT_FALSE(found.empty()) << listed();
  std::uint64_t writes = 0;
  for (const LifeChange& change : found) writes += change.writes;
  EXPECT_GE(writes, 8U) << listed();
  EXPECT_TRUE(in_life(by_kernel).empty()) << listed();
}

TEST_P(Lifetime, TheCommandWritesWhatItsSchemaAccepts) {
  const Folder folder;
  const std::filesystem::path json = folder.path() / "lifetime.json";
  Child lifetime({program_path(), "lifetime", "--arch", std::string(arch::name_of(GetParam())),
                  "--scenario", "life/fork", "--scenario", "storm/time-namespace", "--scenario",
                  "storm/inspection", "--scenario", "control/own-calls", "--json", json.string()});
  ASSERT_EQ(lifetime.finish(), 0) << lifetime.text();
  EXPECT_NE(lifetime.text().find("AS EXPECTED"), std::string::npos) << lifetime.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/lifetime.schema.json", json.string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
}

/// What takes minutes, or a kernel that nothing else needs: ./bootstrap test --full.
class LifetimeLong : public Lifetime {};
INSTANTIATE_TEST_SUITE_P(BothArchs, LifetimeLong, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

TEST_P(LifetimeLong, NothingIsFoundInAllThatIsTriedByDefault) {
  watch("lts-sealed", app::lifetime_scenarios(), std::chrono::seconds(900));
  if (HasFatalFailure()) return;
  const report::Report report = report::conclude_lifetime({run_}, {});
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected) << report.conclusion << "\n" << listed();
}

// The control of the whole: a kernel that zaps [vdso] whenever it delivers a signal.
TEST_P(LifetimeLong, ARestlessKernelIsFoundOut) {
  watch("restless", {"life/signals*"});
  const auto found = in_life(by_kernel);
  ASSERT_FALSE(found.empty()) << listed();
  for (const LifeChange& change : found) EXPECT_EQ(change.mapping, "[vdso]") << listed();
  EXPECT_EQ(mapping("[vdso]")->verdict, LifeVerdict::Changed) << listed();
  // A kernel that is no control gets findings for it.
  run_.control = false;
  const report::Report report = report::conclude_lifetime({run_}, {});
  EXPECT_EQ(report.exit_code, ExitCode::Failed) << report.conclusion;
}

}  // namespace
}  // namespace sealvisor::test
