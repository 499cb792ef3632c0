#include "bench/foreign.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/guest/tool_output.h"
#include "bench/known_costs.h"

namespace sealvisor::bench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Metric metric(const char* experiment, std::vector<LayoutValue> a) {
  Metric metric;
  metric.experiment = experiment;
  metric.a = std::move(a);
  return metric;
}

/// A boot with runs of so many operations.
Boot boot_with_batches(std::uint32_t many, std::uint32_t few) {
  Boot boot;
  for (const auto& [name, batch] : {std::pair("tool/many", many), std::pair("tool/start", few)}) {
    Measured measured;
    measured.experiment = name;
    measured.batch = batch;
    boot.experiments.push_back(measured);
  }
  return boot;
}

std::vector<std::string_view> all_names() {
  std::vector<std::string_view> names;
  for (const Experiment& one : experiments()) names.push_back(one.name);
  return names;
}

TEST(CrossCheckPlans, NameExperimentsThatThereAre) {
  const auto plans = cross_check_plans(all_names());
  EXPECT_EQ(plans.size(), 6U);
  for (const CrossCheckPlan& plan : plans) {
    const Experiment* many = find_experiment(plan.foreign);
    const Experiment* few = find_experiment(plan.start);
    const Experiment* ours = find_experiment(plan.ours);
    ASSERT_TRUE(many != nullptr && few != nullptr && ours != nullptr) << plan.tool;
    EXPECT_EQ(many->group, Group::Foreign);
    EXPECT_EQ(few->group, Group::Foreign);
    EXPECT_NE(ours->group, Group::Foreign);
    EXPECT_GT(marks_batch(*many), marks_batch(*few)) << plan.tool;
    EXPECT_EQ(ours->on, On::Both) << plan.tool;
    EXPECT_TRUE(ours->quick) << plan.ours << ": the quick run is cross-checked too";
  }
}

/// The negative control: what is said to be slowed is what the slowed kernel's costs say of ours.
TEST(CrossCheckPlans, AreSlowedWhereOursIs) {
  for (const CrossCheckPlan& plan : cross_check_plans(all_names())) {
    const auto costs = known_costs(arch::Arch::X86_64, {plan.ours});
    EXPECT_EQ(plan.slowed != 0, !costs.empty()) << plan.tool;
    if (!costs.empty()) {
      EXPECT_EQ(costs[0].added % plan.slowed, 0U) << plan.tool;
    }
  }
}

TEST(CrossCheckPlans, AreOfWhatIsMeasured) {
  EXPECT_THAT(cross_check_plans({"mmap/brk-vmas-1"}), IsEmpty());
  const auto plans = cross_check_plans({"exec/fork-exit", "mmap/mremap-move-vmas-16"});
  ASSERT_THAT(plans, SizeIs(2));
  std::vector<std::string_view> names;
  for (const Experiment* one : foreign_experiments(plans)) names.push_back(one->name);
  EXPECT_THAT(names, ElementsAre("stress-ng/mremap", "stress-ng/mremap-start", "perf-bench/fork",
                                 "perf-bench/fork-start"));
}

TEST(TakeForeign, LeavesOutLayoutsThatLackARun) {
  std::vector<Metric> metrics = {metric("exec/fork-exit", {}),
                                 metric("tool/many", {{1, 150}, {2, 160}, {3, 170}}),
                                 metric("tool/start", {{1, 400}, {3, 500}})};
  const Boot boot = boot_with_batches(10, 2);
  const CrossCheckPlan plan{"tool", "tool/many", "tool/start", "exec/fork-exit"};
  const std::vector<Metric> foreign = take_foreign(metrics, std::vector{boot}, std::vector{plan});
  ASSERT_THAT(metrics, SizeIs(1));
  EXPECT_EQ(metrics[0].experiment, "exec/fork-exit");
  ASSERT_THAT(foreign, SizeIs(1));
  ASSERT_THAT(foreign[0].a, SizeIs(2));
  EXPECT_EQ(foreign[0].a[0].value, (150.0 * 10 - 400 * 2) / 8);
  EXPECT_EQ(foreign[0].a[1].seed, 3U);
  EXPECT_EQ(foreign[0].a[1].value, (170.0 * 10 - 500 * 2) / 8);
}

TEST(TakeForeign, TakesNothingOffWithTheSameNumberOfOperations) {
  std::vector<Metric> metrics = {metric("tool/many", {{1, 150}}), metric("tool/start", {{1, 150}})};
  const Boot boot = boot_with_batches(2, 2);
  const CrossCheckPlan plan{"tool", "tool/many", "tool/start", "exec/fork-exit"};
  EXPECT_THAT(take_foreign(metrics, std::vector{boot}, std::vector{plan})[0].a, IsEmpty());
}

TEST(ToolOutput, SaysHowManyOperationsThereWere) {
  constexpr std::string_view kStress =
      "stress-ng: metrc: [42] stressor       bogo ops real time\n"
      "stress-ng: metrc: [42] mremap               48      0.10\n"
      "stress-ng: metrc: [42] mremap             10.5 nanosecs per mremap call\n";
  EXPECT_EQ(number_behind(kStress, "] mremap "), 48U);
  EXPECT_EQ(number_behind(kStress, "] mmap "), 0U);
  EXPECT_EQ(number_behind("# Executed 10 execve() calls\n", "# Executed "), 10U);
  EXPECT_EQ(number_behind("# Executed 7", "# Executed "), 7U);
}

TEST(ToolOutput, TakesNoPartOfANumber) {
  EXPECT_EQ(number_behind("n 1,024 calls", "n "), 0U);
  EXPECT_EQ(number_behind("n 10.5", "n "), 0U);
  EXPECT_EQ(number_behind("n 1234567890", "n "), 0U);
  EXPECT_EQ(number_behind("n ", "n "), 0U);
  EXPECT_EQ(number_behind("n many", "n "), 0U);
  EXPECT_EQ(number_behind("", "n "), 0U);
}

}  // namespace
}  // namespace sealvisor::bench
