// What is different where a clock is read: its frequency, its steps, its bounds, its controls.
#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/conclude.h"
#include "bench/counters.h"
#include "bench/experiment.h"
#include "bench/plan.h"
#include "bench/watched.h"
#include "tests/unit/bench/concluded.h"
#include "tests/unit/bench/generate.h"

namespace sealvisor::bench {
namespace {

using arch::Arch;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Boot boot_with_counter(Arch arch, std::uint64_t frequency, std::uint64_t step = 1,
                       double nop = 0.25) {
  Boot boot;
  boot.arch = arch;
  boot.counter = {frequency, "CPUID 0x15", step, 20, nop};
  return boot;
}

generate::Plan timed_plan() {
  generate::Plan plan;
  plan.lane = Lane::Time;
  plan.layouts = 6;
  plan.only = {"mmap/brk", "vdso/time"};
  return plan;
}

// --- the counter ---

TEST(RunCounter, IsOneForAllGuestsOfAnArchitecture) {
  const std::vector<Boot> boots = {boot_with_counter(Arch::X86_64, 1'000'100'000, 2, 0.5),
                                   boot_with_counter(Arch::Arm64, 25'000'000),
                                   boot_with_counter(Arch::X86_64, 1'000'000'000, 1, 0.25),
                                   boot_with_counter(Arch::X86_64, 999'900'000, 1, 1)};
  const auto counters = counters_of(boots);
  ASSERT_THAT(counters, SizeIs(2));
  EXPECT_EQ(counters[0].arch, Arch::X86_64);
  EXPECT_EQ(counters[0].frequency, 1'000'000'000U);
  EXPECT_NEAR(counters[0].spread, 1e-4, 1e-12);
  EXPECT_EQ(counters[0].step, 2U) << "the coarsest";
  EXPECT_DOUBLE_EQ(counters[0].nop_ticks, 0.5);
  EXPECT_DOUBLE_EQ(counters[1].nanoseconds(1), 40);
  EXPECT_EQ(counter_of(counters, Arch::Arm64), &counters[1]);
  EXPECT_EQ(counter_of({}, Arch::Arm64), nullptr);
  EXPECT_THAT(problems_of(counters), IsEmpty());
}

TEST(RunCounter, IsNotKnownIfOneGuestDoesNotKnowIt) {
  const auto counters = counters_of(std::vector<Boot>{
      boot_with_counter(Arch::X86_64, 1'000'000'000), boot_with_counter(Arch::X86_64, 0), Boot{}});
  ASSERT_THAT(counters, SizeIs(1));
  EXPECT_EQ(counters[0].frequency, 0U);
  EXPECT_EQ(counters[0].spread, 0);
}

TEST(RunCounter, ThatIsNotOneMakesTheRunVoid) {
  Collected collected = generate::collect(timed_plan());
  collected.boots[4].counter->frequency = 1'001'100'000;
  const Report report = concluded(collected);
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.void_because, ElementsAre(HasSubstr("counters are up to 0.11 % apart")));
  EXPECT_THAT(report.conclusion, HasSubstr("VOID: "));
  EXPECT_THAT(report.conclusion, HasSubstr("the first: x86_64: the guests' counters"));
  collected.boots[4].counter->frequency = 1'000'900'000;
  EXPECT_THAT(concluded(collected).void_because, IsEmpty());
}

TEST(RunCounter, WhatOneGuestMeasuredItWrongByIsNoDifference) {
  Collected exact = generate::collect(timed_plan());
  Collected off = exact;
  for (Boot& boot : off.boots) {
    if (boot.side == Side::B) boot.counter->frequency += 500'000;
  }
  // A twentieth of a per cent in all of b: by the median it is in a too, and cancels out.
  const double shift = concluded(exact).metrics[0].cost.shift->estimate;
  EXPECT_NEAR(concluded(off).metrics[0].cost.shift->estimate, shift,
              std::abs(shift) * 0.001 + 1e-9);
}

// --- bounds ---

Metric metric_of(Measure measure, double resolution) {
  Metric metric;
  metric.measure = measure;
  metric.resolution = resolution;
  return metric;
}

TEST(BoundOfTime, IsTheLargestOfThree) {
  const Bounds bounds;
  const auto bound = [&](Measure measure, double resolution, double median) {
    return value_of(bound_of(bounds, metric_of(measure, resolution)), median);
  };
  EXPECT_EQ(bound(Measure::Nanoseconds, 0.01, 100'000), 1000) << "a hundredth of the median";
  EXPECT_EQ(bound(Measure::Nanoseconds, 0.01, 25), 2) << "or what is too little to matter";
  EXPECT_EQ(bound(Measure::Nanoseconds, 40, 25), 80) << "or what the counter can't tell";
  EXPECT_EQ(bound(Measure::Ticks, 0.01, 100), 20);
  EXPECT_EQ(bound(Measure::Ticks, 30, 100), 60);
  EXPECT_EQ(bound(Measure::Total, 0, 100'000), 500) << "instructions have their own";
  EXPECT_EQ(bound(Measure::Kernel, 0, 100), 20);
}

TEST(BoundOfTime, IsNeverFinerThanTheCounter) {
  Collected collected = generate::collect(timed_plan());
  for (Boot& boot : collected.boots) boot.counter->step = 1280;
  const Report report = concluded(collected);
  // 1,280 ns over 64 operations.
  EXPECT_EQ(report.metrics[0].resolution, 20);
  EXPECT_EQ(report.metrics[0].cost.bound, 40);
}

// --- known costs ---

TEST(SensitivityByTime, ALargeKnownCostMustNotBeEquivalent) {
  generate::Plan plan = timed_plan();
  // 100 ns of 633.
  plan.known_costs = {{Arch::X86_64, "mmap/brk", Space::Kernel, 400, "__do_sys_brk"}};
  Collected collected = generate::collect(plan);
  Report report = concluded(collected);
  ASSERT_TRUE(report.sensitivity);
  ASSERT_THAT(report.sensitivity->lines, SizeIs(1));
  const SensitivityLine& line = report.sensitivity->lines[0];
  EXPECT_TRUE(line.asked);
  EXPECT_TRUE(line.good);
  EXPECT_DOUBLE_EQ(line.expected_shift, 100);
  EXPECT_NEAR(*line.shift, 100, 3);
  EXPECT_EQ(line.verdict, Verdict::Slower);
  EXPECT_TRUE(is_shown(*report.sensitivity));
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);

  // A slowed kernel that is not slower: the control must fire.
  for (Boot& boot : collected.boots) {
    if (boot.side != Side::Slowed) continue;
    for (const Boot& other : collected.boots) {
      if (other.side == Side::A && other.seed == boot.seed) boot.experiments = other.experiments;
    }
  }
  report = concluded(collected);
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_FALSE(report.sensitivity->lines[0].good);
  EXPECT_EQ(report.sensitivity->lines[0].verdict, Verdict::Equivalent);
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, HasSubstr("SENSITIVITY FAILED"));
}

TEST(SensitivityByTime, AsksOnlyForWhatIsTwoBoundsOrMore) {
  generate::Plan plan = timed_plan();
  // The bound of 633 ns is 6.33: 50 nops take 12.5, 52 take 13.
  for (const auto& [nops, asked] : {std::pair(50U, false), std::pair(52U, true)}) {
    plan.known_costs = {{Arch::X86_64, "mmap/brk", Space::Kernel, nops, "__do_sys_brk"}};
    const Report report = concluded(generate::collect(plan));
    EXPECT_EQ(report.sensitivity->lines[0].asked, asked) << nops;
    EXPECT_EQ(is_shown(*report.sensitivity), asked);
    EXPECT_TRUE(report.sensitivity->good);
  }
}

TEST(SensitivityByTime, WhatWasNotMeasuredWasNotFound) {
  generate::Plan plan = timed_plan();
  plan.known_costs = {{Arch::X86_64, "mmap/mremap-move", Space::Kernel, 400, "__do_sys_mremap"}};
  const Report report = concluded(generate::collect(plan));
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_EQ(report.sensitivity->lines[0].verdict, std::nullopt);
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
}

TEST(SensitivityByTime, AllKnownCostsOfAnOperationCount) {
  generate::Plan plan = timed_plan();
  plan.known_costs = {{Arch::X86_64, "mmap/brk", Space::Kernel, 400, "__do_sys_brk"},
                      {Arch::X86_64, "mmap/brk", Space::User, 200, "user"}};
  const Report report = concluded(generate::collect(plan));
  for (const SensitivityLine& line : report.sensitivity->lines) {
    EXPECT_DOUBLE_EQ(line.expected_shift, 150);
  }
}

// --- interception ---

TEST(Watched, IsComparedWithTheSameKernelAndSeedAndJudgesNothing) {
  Collected collected = generate::collect(timed_plan());
  for (const std::size_t i : {0U, 1U}) {
    WatchedBoot watched{collected.boots[i], "exact: tables guarded"};
    for (Measured& measured : watched.boot.experiments) {
      for (auto& ticks : measured.ticks) ticks *= 50;
    }
    collected.watched.push_back(std::move(watched));
  }
  collected.watched[1].boot.experiments[1].status = 110;
  const Report without = concluded(generate::collect(timed_plan()));
  const Report report = concluded(collected);
  ASSERT_TRUE(report.watched);
  EXPECT_THAT(report.watched->how, ElementsAre("exact: tables guarded"));
  ASSERT_THAT(report.watched->lines, SizeIs(4));
  const WatchedLine& line = report.watched->lines[0];
  EXPECT_EQ(line.experiment, "mmap/brk");
  EXPECT_EQ(line.side, Side::A);
  EXPECT_EQ(line.measure, Measure::Nanoseconds);
  EXPECT_NEAR(line.on / line.off, 50, 1e-9);
  EXPECT_NEAR(line.off, 633, 10);
  EXPECT_EQ(report.watched->lines[3].problem, "Connection timed out");
  EXPECT_EQ(report.counts.all(), without.counts.all());
  EXPECT_EQ(report.metrics[0].cost.shift->estimate, without.metrics[0].cost.shift->estimate);
  EXPECT_EQ(report.exit_code, without.exit_code);
  EXPECT_FALSE(without.watched);
}

TEST(Watched, WithoutABootToCompareWithThereIsNoValue) {
  Collected collected = generate::collect(timed_plan());
  WatchedBoot watched{collected.boots[0], "exact: tables guarded"};
  watched.boot.seed = 99;
  const auto counters = counters_of(collected.boots);
  const Watched result = watched_of(collected.boots, {&watched, 1}, counters);
  ASSERT_THAT(result.lines, SizeIs(2));
  EXPECT_EQ(result.lines[0].problem, "not run");
}

// --- the plan ---

TEST(TimedItem, HasABatchAndMoreSamples) {
  const Experiment* call = find_experiment("vdso/gettimeofday");
  ASSERT_NE(call, nullptr);
  const PlanItem counted = counted_item(*call);
  EXPECT_EQ(counted.batch, 1U);
  EXPECT_EQ(counted.timing, Timing::Marks);
  const PlanItem timed = timed_item(*call, false);
  EXPECT_EQ(timed.batch, call->clock_batch);
  EXPECT_EQ(timed.samples, call->samples * kTimedSamples);
  EXPECT_EQ(timed.timing, Timing::Clock);
  EXPECT_EQ(timed_item(*call, true).samples, call->samples);
  for (const Experiment& one : experiments()) {
    const ParsedItem parsed =
        parse_plan_line(std::string_view(plan_line(timed_item(one, false)))
                            .substr(0, plan_line(timed_item(one, false)).size() - 1));
    EXPECT_EQ(parsed.error, "") << one.name;
  }
}

}  // namespace
}  // namespace sealvisor::bench
