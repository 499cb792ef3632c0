#include "bench/conclude.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>

#include "bench/json.h"
#include "tests/unit/bench/concluded.h"
#include "tests/unit/bench/generate.h"

namespace sealvisor::bench {
namespace {

using generate::collect;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

generate::Plan small() {
  generate::Plan plan;
  plan.layouts = 6;
  plan.only = {"exec/fork-exit", "mmap/brk", "vdso/time"};
  return plan;
}

std::string refused(Collected collected, const Rules& rules = {},
                    ExitCode code = ExitCode::GuestFailed) {
  const auto report = conclude(std::move(collected), rules);
  EXPECT_FALSE(report.ok());
  if (report.ok()) return "";
  EXPECT_EQ(report.error().code, code);
  return report.error().message;
}

const Metric& metric(const Report& report, const std::string& name) {
  static const Metric kNone;
  const auto found = std::find_if(report.metrics.begin(), report.metrics.end(),
                                  [&](const Metric& one) { return name_of(one) == name; });
  EXPECT_NE(found, report.metrics.end()) << name;
  return found == report.metrics.end() ? kNone : *found;
}

Boot& boot_of(Collected& collected, Side side, std::uint64_t seed) {
  return *std::find_if(collected.boots.begin(), collected.boots.end(),
                       [&](const Boot& boot) { return boot.side == side && boot.seed == seed; });
}

Measured& measured_in(Collected& collected, Side side, std::uint64_t seed, const char* experiment) {
  auto& all = boot_of(collected, side, seed).experiments;
  return *std::find_if(all.begin(), all.end(),
                       [&](const Measured& one) { return one.experiment == experiment; });
}

// --- verdicts and exit codes ---

TEST(Conclude, TwinsThatDoTheSameAreEquivalent) {
  generate::Plan plan = small();
  plan.archs = {arch::Arch::X86_64, arch::Arch::Arm64};
  const Report report = concluded(collect(plan));
  EXPECT_EQ(report.metrics.size(), 18U);
  EXPECT_EQ(report.counts.equivalent, 18U);
  EXPECT_EQ(report.counts.all(), 18U);
  EXPECT_THAT(report.void_because, IsEmpty());
  EXPECT_THAT(report.missing, IsEmpty());
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  EXPECT_EQ(report.conclusion,
            "EQUIVALENT: lts-sealed against lts-unsealed: all 18 metrics equivalent; instructions, "
            "counted exactly; hardware latency was not measured here");
  // The timer interrupt in one sample of each boot is passed over.
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit total").cost.a.median, 61'000);
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit total").cost.a.interquartile_range(), 0);
  EXPECT_EQ(metric(report, "arm64 mmap/brk total").cost.a.median, 1710);
}

TEST(Conclude, PartsAreMeasuredApart) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  const Report report = concluded(collect(plan));
  const Metric& total = metric(report, "x86_64 exec/fork-exit total");
  EXPECT_EQ(total.cost.shift->estimate, 400);
  EXPECT_EQ(total.cost.bound, 305);
  EXPECT_EQ(total.cost.verdict, Verdict::Slower);
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit kernel").cost.shift->estimate, 400);
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit user").cost.shift->estimate, 0);
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit user").cost.verdict, Verdict::Equivalent);
  EXPECT_EQ(metric(report, "x86_64 mmap/brk total").cost.verdict, Verdict::Equivalent);
}

TEST(Conclude, SlowerFailsOnlyIfThatIsAskedFor) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  Report report = concluded(collect(plan));
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  EXPECT_THAT(report.conclusion, StartsWith("SLOWER: "));
  EXPECT_THAT(
      report.conclusion,
      HasSubstr("of 9 metrics 2 slower (worst: x86_64 exec/fork-exit kernel, +400 of 57340, "
                "bound 286.7), 7 equivalent"));
  for (const FailOn fail_on : {FailOn::Slower, FailOn::Any}) {
    report = concluded(collect(plan), {.fail_on = fail_on});
    EXPECT_EQ(report.exit_code, ExitCode::Failed);
    EXPECT_THAT(report.conclusion, StartsWith("REGRESSION: "));
  }
}

TEST(Conclude, FasterAndUndecidedFailOnAnyOnly) {
  generate::Plan faster = small();
  faster.b_adds = {{"exec/fork-exit", -400}};
  Collected undecided = collect(small());
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    for (auto& value : measured_in(undecided, Side::B, seed, "mmap/brk").user) value += 60;
    measured_in(undecided, Side::B, seed, "mmap/brk").profile.clear();
  }
  EXPECT_THAT(concluded(collect(faster)).conclusion, StartsWith("FASTER: "));
  const Report report = concluded(undecided);
  EXPECT_THAT(report.conclusion, StartsWith("UNDECIDED: "));
  EXPECT_EQ(metric(report, "x86_64 mmap/brk user").cost.verdict, Verdict::Undecided);
  EXPECT_TRUE(metric(report, "x86_64 mmap/brk user").cost.needed);
  for (const Collected& collected : {collect(faster), undecided}) {
    EXPECT_EQ(concluded(collected, {.fail_on = FailOn::Slower}).exit_code, ExitCode::AsExpected);
    EXPECT_EQ(concluded(collected, {.fail_on = FailOn::Any}).exit_code, ExitCode::Failed);
  }
}

TEST(Conclude, TheBoundIsTheOneThatWasFixed) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  const Rules rules{.bounds = {.relative = 0.01}};
  EXPECT_EQ(concluded(collect(plan), rules).counts.slower, 0U);
}

// --- A/A ---

TEST(Conclude, ARunWhoseControlDiffersIsVoid) {
  generate::Plan plan = small();
  plan.control_adds = {{"mmap/brk", 30}};
  plan.b_adds = {{"exec/fork-exit", 400}};
  const Report report = concluded(collect(plan), {.fail_on = FailOn::Slower});
  EXPECT_THAT(report.void_because,
              ElementsAre("x86_64 mmap/brk total: A/A slower, shift +30 instructions, bound 20",
                          "x86_64 mmap/brk kernel: A/A slower, shift +30 instructions, bound 20"));
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("VOID: "));
  EXPECT_THAT(report.conclusion, HasSubstr("no verdict counts"));
}

TEST(Conclude, ASmallDifferenceOfTheControlIsAllowed) {
  generate::Plan plan = small();
  plan.control_adds = {{"mmap/brk", 19}};
  EXPECT_THAT(concluded(collect(plan)).void_because, IsEmpty());
}

TEST(Conclude, WithoutAControlARunIsVoid) {
  generate::Plan plan = small();
  plan.control = false;
  const Report report = concluded(collect(plan));
  EXPECT_THAT(report.void_because, SizeIs(9));
  EXPECT_THAT(report.void_because.front(), HasSubstr("no A/A control"));
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
}

TEST(Conclude, TooFewLayoutsMakeARunVoid) {
  generate::Plan plan = small();
  plan.layouts = 3;
  const Report report = concluded(collect(plan));
  EXPECT_EQ(report.counts.undecided, 9U);
  EXPECT_THAT(report.void_because, SizeIs(9));
}

// --- runs that are not whole ---

TEST(Conclude, AnInterruptedRunSaysWhatIsComplete) {
  Collected collected = collect(small());
  collected.interrupted = true;
  // Five boots of a, five of b, four of the control, the last one in the midst of it.
  collected.boots.resize(14);
  collected.boots.back().experiments.resize(1);
  const Report report = concluded(collected);
  EXPECT_TRUE(report.interrupted);
  EXPECT_EQ(report.exit_code, ExitCode::GuestFailed);
  EXPECT_THAT(report.conclusion, StartsWith("INTERRUPTED: "));
  EXPECT_THAT(report.missing, IsEmpty());
  ASSERT_THAT(report.complete, SizeIs(3));
  EXPECT_EQ(report.complete[0].boots, 5U);
  EXPECT_EQ(report.complete[2].boots, 4U);
  EXPECT_EQ(report.complete[2].wanted, 6U);
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit total").a.size(), 5U);
  EXPECT_EQ(metric(report, "x86_64 mmap/brk total").b.size(), 4U);
}

TEST(Conclude, WhatAnInterruptedRunDidNotGetToHasNotFailed) {
  Collected collected = collect(small());
  collected.boots.resize(1);
  Report report = concluded(collected);
  ASSERT_THAT(report.missing, SizeIs(3));
  EXPECT_EQ(report.missing[0].reason, "no boot of b has it");
  EXPECT_TRUE(report.missing[0].failed);
  collected.interrupted = true;
  report = concluded(collected);
  ASSERT_THAT(report.missing, SizeIs(3));
  EXPECT_FALSE(report.missing[0].failed);
  EXPECT_THAT(report.conclusion, StartsWith("INTERRUPTED: "));
}

TEST(Conclude, NothingMeasuredIsNoSuccess) {
  Collected collected = collect(small());
  collected.boots.clear();
  const Report report = concluded(collected);
  EXPECT_EQ(report.exit_code, ExitCode::GuestFailed);
  EXPECT_THAT(report.conclusion, StartsWith("NOTHING MEASURED: "));
}

TEST(Conclude, AGuestThatFailedIsSaid) {
  Collected collected = collect(small());
  collected.failures = {"x86_64 b with seed 6: the guest hung"};
  collected.boots.erase(collected.boots.begin() + 16);
  const Report report = concluded(collected);
  EXPECT_EQ(report.exit_code, ExitCode::GuestFailed);
  EXPECT_THAT(report.conclusion, StartsWith("GUEST FAILED: "));
  EXPECT_THAT(report.conclusion, HasSubstr("the guest hung"));
}

TEST(Conclude, ARegressionThatIsSureOutranksAnInterruption) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  Collected collected = collect(plan);
  collected.interrupted = true;
  collected.boots.resize(18);
  EXPECT_EQ(concluded(collected, {.fail_on = FailOn::Slower}).exit_code, ExitCode::Failed);
  EXPECT_EQ(concluded(collected).exit_code, ExitCode::GuestFailed);
}

TEST(Conclude, NoRegressionIsSureInAVoidRun) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  plan.control_adds = {{"mmap/brk", 30}};
  Collected collected = collect(plan);
  collected.interrupted = true;
  EXPECT_EQ(concluded(collected, {.fail_on = FailOn::Slower}).exit_code, ExitCode::GuestFailed);
}

TEST(Conclude, ExperimentsThatAreNotThereAreListed) {
  struct Case {
    std::function<void(Collected&)> change;
    const char* reason;
    bool failed;
  };
  const auto for_all = [](Side side, const auto& change) {
    return [=](Collected& collected) {
      for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        change(measured_in(collected, side, seed, "mmap/brk"));
      }
    };
  };
  const auto unsupported = [](Measured& measured) { measured.status = ENOTSUP; };
  const auto a_lacks = for_all(Side::A, unsupported);
  const auto b_lacks = for_all(Side::B, unsupported);
  const std::vector<Case> cases = {
      {[&](Collected& collected) {
         a_lacks(collected);
         b_lacks(collected);
       },
       "not on these guests", false},
      {b_lacks, "not supported on b", true},
      {a_lacks, "not supported on a", true},
      {[&](Collected& collected) {
         measured_in(collected, Side::A, 2, "mmap/brk").status = ENOTSUP;
       },
       "not supported in some boots only", true},
      {[&](Collected& collected) {
         measured_in(collected, Side::B, 3, "mmap/brk").status = ENOMEM;
       },
       "b with seed 3: Cannot allocate memory", true},
      {[&](Collected& collected) {
         measured_in(collected, Side::A, 1, "mmap/brk").problem = "a checksum is wrong";
       },
       "a with seed 1: a checksum is wrong", true},
      {[&](Collected& collected) {
         measured_in(collected, Side::A, 1, "mmap/brk").kernel.clear();
         measured_in(collected, Side::A, 1, "mmap/brk").user.clear();
         measured_in(collected, Side::A, 1, "mmap/brk").profile.clear();
       },
       "a with seed 1: no samples", true},
      {[&](Collected& collected) {
         auto& all = boot_of(collected, Side::B, 4).experiments;
         all.erase(all.begin() + 1);
       },
       "b with seed 4: not run", true},
  };
  for (const Case& one : cases) {
    Collected collected = collect(small());
    one.change(collected);
    const Report report = concluded(collected);
    ASSERT_THAT(report.missing, SizeIs(1)) << one.reason;
    EXPECT_EQ(report.missing[0].experiment, "mmap/brk");
    EXPECT_EQ(report.missing[0].reason, one.reason);
    EXPECT_EQ(report.missing[0].failed, one.failed) << one.reason;
    EXPECT_EQ(report.exit_code, one.failed ? ExitCode::GuestFailed : ExitCode::AsExpected)
        << one.reason;
  }
}

TEST(Conclude, SamplesThatContradictEachOtherAreRefused) {
  Collected collected = collect(small());
  measured_in(collected, Side::A, 2, "mmap/brk").user.pop_back();
  EXPECT_THAT(
      refused(collected),
      HasSubstr("x86_64 mmap/brk in a with seed 2: 4 samples of user mode, 5 of the kernel"));
  collected = collect(small());
  measured_in(collected, Side::B, 2, "mmap/brk").batch = 4;
  EXPECT_THAT(refused(collected), HasSubstr("samples of 4 operations, elsewhere of 1"));
  measured_in(collected, Side::B, 2, "mmap/brk").batch = 0;
  EXPECT_THAT(refused(collected), HasSubstr("samples of no operation"));
  collected = collect(small());
  boot_of(collected, Side::B, 2).seed = 3;
  EXPECT_THAT(refused(collected), HasSubstr("two boots of x86_64 b with seed 3"));
}

TEST(Conclude, TimesAreNanosecondsOfOneOperation) {
  generate::Plan plan = small();
  plan.lane = Lane::Time;
  Collected collected = collect(plan);
  Report report = concluded(collected);
  ASSERT_THAT(report.metrics, SizeIs(3));
  EXPECT_EQ(report.metrics[0].measure, Measure::Nanoseconds);
  EXPECT_NEAR(report.metrics[0].cost.a.median, 61'000.0 / 3, 2);
  EXPECT_THAT(report.conclusion, HasSubstr("time by the guest's own counter"));
  EXPECT_EQ(report.conclusion.find("instruction"), std::string::npos);
  // A slower counter, the same ticks.
  for (Boot& boot : collected.boots) boot.counter->frequency = 500'000'000;
  report = concluded(collected);
  EXPECT_NEAR(report.metrics[0].cost.a.median, 2 * 61'000.0 / 3, 4);
  EXPECT_NEAR(*ticks_of(report.metrics[0], report.metrics[0].cost.a.median), 61'000.0 / 3, 2);
  // All figures of an architecture have one unit: what one guest does not know, nobody does.
  boot_of(collected, Side::A, 1).counter->frequency = 0;
  report = concluded(collected);
  EXPECT_EQ(report.metrics[0].measure, Measure::Ticks);
  EXPECT_EQ(report.metrics[1].measure, Measure::Ticks);
  // An emulated host's time is no latency of hardware.
  collected.context.engine = "kvm-nested";
  EXPECT_THAT(concluded(collected).conclusion, HasSubstr(kNoLatency));
}

// --- profiles ---

TEST(Profile, SumsMatchTheTotals) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}, {"mmap/brk", -7}};
  const Report report = concluded(collect(plan));
  ASSERT_THAT(report.profiles, SizeIs(3));
  for (const ProfileDifference& profile : report.profiles) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    for (const SymbolDifference& symbol : profile.symbols) {
      a += symbol.a;
      b += symbol.b;
    }
    EXPECT_EQ(a, profile.total_a);
    EXPECT_EQ(b, profile.total_b);
    EXPECT_EQ(profile.operations, 30U);
    EXPECT_EQ(profile.layouts, 6U);
  }
  const ProfileDifference& fork = report.profiles[0];
  EXPECT_EQ(fork.symbols[0].symbol, "can_modify_mm");
  EXPECT_EQ(fork.symbols[0].difference(), 400 * 30);
  EXPECT_EQ(fork.total_b - fork.total_a, 400U * 30);
  EXPECT_EQ(report.profiles[1].symbols[0].difference(), -7 * 30);
  // Boots keep their samples, not their profiles.
  for (const Boot& boot : report.boots) {
    for (const Measured& measured : boot.experiments) EXPECT_THAT(measured.profile, IsEmpty());
  }
}

TEST(Profile, WhatDoesNotSumUpIsRefused) {
  Collected collected = collect(small());
  measured_in(collected, Side::B, 2, "mmap/brk").profile[1].count += 1;
  EXPECT_THAT(
      refused(collected),
      HasSubstr("the profile of x86_64 mmap/brk in b with seed 2: its symbols of the kernel "
                "sum up to"));
  collected = collect(small());
  measured_in(collected, Side::A, 2, "mmap/brk").profile[0].count += 1;
  EXPECT_THAT(refused(collected), HasSubstr("its symbols of the user mode sum up to"));
  collected = collect(small());
  // The right sum, of the wrong sides.
  measured_in(collected, Side::A, 2, "mmap/brk").profile[0].count += 1;
  measured_in(collected, Side::A, 2, "mmap/brk").profile[1].count -= 1;
  EXPECT_THAT(refused(collected), HasSubstr("sum up to"));
}

TEST(Profile, ASymbolTwiceAndUnequalWorkAreRefused) {
  Collected collected = collect(small());
  auto& profile = measured_in(collected, Side::A, 2, "mmap/brk").profile;
  profile.push_back({profile[1].space, profile[1].symbol, 0});
  EXPECT_THAT(refused(collected), HasSubstr("is in it twice"));
  collected = collect(small());
  Measured& fewer = measured_in(collected, Side::B, 2, "mmap/brk");
  fewer.user.pop_back();
  fewer.kernel.pop_back();
  EXPECT_THAT(refused(collected), HasSubstr("it is of 4 operations, a's of 5"));
}

TEST(Profile, LayoutsThatOneSideLacksAreLeftOut) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  Collected collected = collect(plan);
  measured_in(collected, Side::B, 2, "exec/fork-exit").profile.clear();
  const Report report = concluded(collected);
  EXPECT_EQ(report.profiles[0].layouts, 5U);
  EXPECT_EQ(report.profiles[0].symbols[0].difference(), 400 * 25);
}

// --- sensitivity, repetition, cross-checks ---

generate::Plan sensitive() {
  generate::Plan plan = small();
  plan.known_costs = {{arch::Arch::X86_64, "exec/fork-exit", Space::Kernel, 1000, "bprm_execve"},
                      {arch::Arch::X86_64, "exec/fork-exit", Space::Kernel, 64, "do_mmap"},
                      {arch::Arch::X86_64, "vdso/time", Space::Vdso, 40, "__vdso_clock_gettime"}};
  return plan;
}

TEST(Sensitivity, FindsWhatIsKnown) {
  const Report report = concluded(collect(sensitive()));
  ASSERT_TRUE(report.sensitivity);
  EXPECT_TRUE(report.sensitivity->good);
  EXPECT_THAT(report.sensitivity->others, IsEmpty());
  ASSERT_THAT(report.sensitivity->lines, SizeIs(3));
  const SensitivityLine& first = report.sensitivity->lines[0];
  EXPECT_EQ(first.expected_shift, 1064);
  EXPECT_EQ(first.shift, 1064);
  EXPECT_EQ(first.in_function, 1000);
  EXPECT_EQ(first.function, "bprm_execve");
  EXPECT_EQ(report.sensitivity->lines[2].shift, 40);
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
}

TEST(Sensitivity, OneInstructionMayBeMissingAndNoMore) {
  for (const std::uint64_t off : {1U, 2U}) {
    Collected collected = collect(sensitive());
    collected.known_costs[0].added += off;
    const Report report = concluded(collected);
    EXPECT_EQ(report.sensitivity->good, off == 1);
    EXPECT_EQ(report.exit_code, off == 1 ? ExitCode::AsExpected : ExitCode::Failed);
    EXPECT_THAT(report.conclusion, StartsWith(off == 1 ? "EQUIVALENT: " : "SENSITIVITY FAILED: "));
  }
}

TEST(Sensitivity, TheFunctionMustBeNamed) {
  Collected collected = collect(sensitive());
  collected.known_costs[2].function = "__vdso_getcpu";
  const Report report = concluded(collected);
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_EQ(report.sensitivity->lines[2].function, "__vdso_clock_gettime");
  EXPECT_EQ(report.sensitivity->lines[2].in_function, 0);
}

TEST(Sensitivity, TheFunctionMustBeAmongTheLargestDifferences) {
  Collected collected = collect(sensitive());
  // Its cost is there, but others differ more, and sum up to nothing.
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (SymbolCount& symbol :
         measured_in(collected, Side::Slowed, seed, "exec/fork-exit").profile) {
      if (symbol.symbol == "copy_page_range") symbol.count += 5 * 2000;
      if (symbol.symbol == "load_elf_binary") symbol.count -= 5 * 2000;
    }
  }
  const Report report = concluded(collected);
  const SensitivityLine& line = report.sensitivity->lines[0];
  EXPECT_EQ(line.in_function, 1000);
  EXPECT_EQ(line.shift, 1064);
  EXPECT_EQ(line.function, "copy_page_range");
  EXPECT_FALSE(line.good);
}

TEST(Sensitivity, EverythingElseMustBeEquivalent) {
  generate::Plan plan = sensitive();
  Collected collected = collect(plan);
  // What was added to brk is not known.
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Measured& measured = measured_in(collected, Side::Slowed, seed, "mmap/brk");
    for (auto& value : measured.kernel) value += 30;
    measured.profile.clear();
  }
  const Report report = concluded(collected);
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_THAT(report.sensitivity->others,
              ElementsAre("x86_64 mmap/brk total: slower", "x86_64 mmap/brk kernel: slower"));
}

TEST(Sensitivity, WithoutBootsOrProfilesNothingIsFound) {
  Collected collected = collect(sensitive());
  std::erase_if(collected.boots, [](const Boot& boot) { return boot.side == Side::Slowed; });
  Report report = concluded(collected);
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_FALSE(report.sensitivity->lines[0].shift);
  generate::Plan plan = sensitive();
  plan.profiles = false;
  report = concluded(collect(plan));
  EXPECT_FALSE(report.sensitivity->good);
  EXPECT_EQ(report.sensitivity->lines[0].shift, 1064);
  EXPECT_EQ(report.sensitivity->lines[0].function, "");
}

TEST(Repeats, TheSameSeedGivesTheSameFigures) {
  Collected collected = collect(small());
  collected.repeats = {boot_of(collected, Side::A, 2), boot_of(collected, Side::B, 5)};
  Report report = concluded(collected);
  ASSERT_TRUE(report.repeats);
  EXPECT_EQ(report.repeats->boots, 2U);
  EXPECT_EQ(report.repeats->samples, 30U);
  EXPECT_THAT(report.repeats->differing, IsEmpty());
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);

  collected.repeats[1].experiments[0].kernel[3] -= 1;
  collected.repeats[0].experiments[1].user.pop_back();
  collected.repeats[0].experiments[1].kernel.pop_back();
  collected.repeats[0].experiments.pop_back();
  report = concluded(collected);
  EXPECT_THAT(
      report.repeats->differing,
      ElementsAre(
          "x86_64 mmap/brk, a with seed 2: 5 samples, then 4",
          "x86_64 vdso/time, a with seed 2: was not run again",
          "x86_64 exec/fork-exit, b with seed 5: differs by up to 1 instructions in a sample"));
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("NOT REPEATABLE: "));
  collected.repeats = {Boot{.seed = 99}};
  EXPECT_THAT(concluded(collected).repeats->differing,
              ElementsAre("x86_64 a with seed 99 was not booted before"));
}

TEST(CrossChecks, RatiosAgreeOrNot) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 6100}};
  Collected collected = collect(plan);
  collected.cross_checks = {{"stress-ng brk", "mmap/brk", "", "vdso/time"},
                            {"stress-ng exec", "mmap/brk", "", "exec/fork-exit"},
                            {"stress-ng none", "nothing/here", "", "exec/fork-exit"},
                            {"stress-ng nowhere", "nothing/here", "", "nothing/there"}};
  const Report report = concluded(collected);
  ASSERT_THAT(report.cross_checks, SizeIs(3));
  EXPECT_TRUE(report.cross_checks[0].agrees);
  EXPECT_FALSE(report.cross_checks[1].agrees);
  EXPECT_NEAR(report.cross_checks[1].ours->ratio.estimate, 1.1, 1e-9);
  EXPECT_EQ(report.cross_checks[1].foreign->ratio.estimate, 1);
  EXPECT_FALSE(report.cross_checks[1].seen) << "there is no slowed kernel";
  EXPECT_FALSE(report.cross_checks[2].agrees);
  EXPECT_FALSE(report.cross_checks[2].foreign);
  // Other people's numbers are for this only: no metric of ours.
  EXPECT_THAT(report.metrics, SizeIs(6));
  EXPECT_THAT(report.foreign, SizeIs(3));
  EXPECT_THAT(report.profiles, SizeIs(2)) << "nor is how they work inside explained";
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("CROSS-CHECK FAILED: "));
}

TEST(CrossChecks, LittleDifferencesAgree) {
  const auto agrees = [](std::int64_t more) {
    generate::Plan plan = small();
    plan.b_adds = {{"exec/fork-exit", more}};
    Collected collected = collect(plan);
    collected.cross_checks = {{"stress-ng exec", "mmap/brk", "", "exec/fork-exit"}};
    return concluded(std::move(collected)).cross_checks.at(0).agrees;
  };
  EXPECT_TRUE(agrees(0));
  EXPECT_TRUE(agrees(300));   // 0.49 % apart
  EXPECT_FALSE(agrees(310));  // 0.51 %
  EXPECT_FALSE(agrees(-310));
}

TEST(CrossChecks, TheSameLargeDifferenceAgrees) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 6100}, {"mmap/brk", 190}};
  Collected collected = collect(plan);
  collected.cross_checks = {{"stress-ng exec", "mmap/brk", "", "exec/fork-exit"}};
  const Report report = concluded(std::move(collected));
  EXPECT_TRUE(report.cross_checks.at(0).agrees);
  EXPECT_NE(report.exit_code, ExitCode::Failed) << "slower alone fails no run";
}

/// What a layout moves is the same in a and b: it must not make intervals wide that all would meet.
TEST(CrossChecks, AreLayoutByLayout) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 610}};  // 1 %
  plan.layout_noise = 0.05;
  Collected collected = collect(plan);
  for (Boot& boot : collected.boots) {
    for (Measured& measured : boot.experiments) {
      measured.profile.clear();
      if (boot.side == Side::A) continue;
      // Of b and the control what a had, and what was added.
      const std::int64_t more =
          boot.side == Side::B && measured.experiment == "exec/fork-exit" ? 610 : 0;
      const Measured& twin =
          measured_in(collected, Side::A, boot.seed, measured.experiment.c_str());
      for (std::size_t i = 0; i < measured.kernel.size(); ++i) {
        measured.user[i] = twin.user[i];
        measured.kernel[i] = twin.kernel[i] + static_cast<std::uint64_t>(more);
      }
    }
  }
  collected.cross_checks = {{"stress-ng exec", "mmap/brk", "", "exec/fork-exit"}};
  const CrossCheck check = concluded(std::move(collected)).cross_checks.at(0);
  EXPECT_FALSE(check.agrees);
  EXPECT_LT(check.ours->ratio.ninety_five->upper - check.ours->ratio.ninety_five->lower, 0.003);
}

/// A tool that has all of `name` in it, and takes `start` instructions to start.
void add_tool(Collected& collected, const std::string& name, std::uint64_t start) {
  for (Boot& boot : collected.boots) {
    for (const auto& [tool, batch] : {std::pair("tool/many", 10U), std::pair("tool/start", 2U)}) {
      Measured measured = measured_in(collected, boot.side, boot.seed, name.c_str());
      measured.experiment = tool;
      measured.batch = batch;
      for (std::size_t i = 0; i < measured.kernel.size(); ++i) {
        measured.user[i] *= batch;
        measured.kernel[i] = measured.kernel[i] * batch + start;
      }
      for (SymbolCount& symbol : measured.profile) symbol.count *= batch;
      measured.profile.push_back({Space::Kernel, "of its own", start * measured.kernel.size()});
      boot.experiments.push_back(measured);
    }
  }
  collected.cross_checks = {{"a tool", "tool/many", "tool/start", name, 500}};
}

TEST(CrossChecks, WhatAToolTakesToStartIsTakenOff) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 6100}};
  Collected collected = collect(plan);
  // More by far than all operations.
  add_tool(collected, "exec/fork-exit", 100'000'000);
  const Report report = concluded(collected);
  ASSERT_THAT(report.cross_checks, SizeIs(1));
  EXPECT_EQ(report.cross_checks[0].foreign->median, report.cross_checks[0].ours->median);
  EXPECT_NEAR(report.cross_checks[0].foreign->ratio.estimate, 1.1, 1e-9);
  EXPECT_TRUE(report.cross_checks[0].agrees);
  EXPECT_THAT(report.foreign, SizeIs(3)) << "the run of few operations is no metric of its own";
  EXPECT_THAT(report.metrics, SizeIs(9));

  // Without a start there is nothing to take off, and so no number.
  for (Boot& boot : collected.boots) {
    std::erase_if(boot.experiments,
                  [](const Measured& measured) { return measured.experiment == "tool/start"; });
  }
  const Report lacking = concluded(collected);
  EXPECT_FALSE(lacking.cross_checks.at(0).foreign);
  EXPECT_FALSE(lacking.cross_checks[0].agrees);
  EXPECT_NE(lacking.exit_code, ExitCode::AsExpected);
}

TEST(CrossChecks, BothMustSeeTheSlowedKernel) {
  const auto concluded_with = [](std::uint64_t known, const auto& change) {
    Collected collected = collect(sensitive());
    add_tool(collected, "exec/fork-exit", 5000);
    collected.cross_checks[0].slowed = known;
    for (Boot& boot : collected.boots) {
      if (boot.side != Side::Slowed) continue;
      for (Measured& measured : boot.experiments) change(measured);
    }
    return concluded(std::move(collected));
  };
  const auto nothing = [](Measured&) {};
  Report report = concluded_with(500, nothing);
  EXPECT_EQ(report.cross_checks.at(0).seen, true) << "two calls in an operation";
  EXPECT_EQ(report.cross_checks[0].foreign->slowed->estimate, 1064);
  EXPECT_EQ(report.cross_checks[0].foreign->in_function, 1000);
  EXPECT_EQ(report.cross_checks[0].ours->slowed->estimate, 1064);
  EXPECT_EQ(report.cross_checks[0].ours->in_function, 1000);
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  EXPECT_EQ(concluded_with(2000, nothing).cross_checks.at(0).seen, true)
      << "half a call, on average";
  // Less than what half a call costs more.
  report = concluded_with(2002, nothing);
  EXPECT_EQ(report.cross_checks.at(0).seen, false);
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("CROSS-CHECK FAILED: "));
  // More than nothing, where nothing was added.
  EXPECT_EQ(concluded_with(0, nothing).cross_checks.at(0).seen, false);
  // A tool that is blind, and one that sees it elsewhere.
  report = concluded_with(1000, [](Measured& measured) {
    if (!measured.experiment.starts_with("tool/")) return;
    for (auto& value : measured.kernel) value -= 1000 * measured.batch;
    for (SymbolCount& symbol : measured.profile) {
      if (symbol.symbol == "bprm_execve") symbol.count -= 5 * 1000 * measured.batch;
    }
  });
  EXPECT_EQ(report.cross_checks.at(0).seen, false);
  EXPECT_TRUE(report.cross_checks[0].agrees) << "that is another question";
  report = concluded_with(1000, [](Measured& measured) {
    if (!measured.experiment.starts_with("tool/")) return;
    for (SymbolCount& symbol : measured.profile) {
      if (symbol.symbol == "bprm_execve") symbol.count -= 5 * 1000 * measured.batch;
      if (symbol.symbol == "of its own") symbol.count += 5 * 1000 * measured.batch;
    }
  });
  EXPECT_EQ(report.cross_checks.at(0).seen, false);
  // In the function, and yet the operation is no dearer.
  report = concluded_with(1000, [](Measured& measured) {
    if (!measured.experiment.starts_with("tool/")) return;
    for (auto& value : measured.kernel) value -= 1000 * measured.batch;
    for (SymbolCount& symbol : measured.profile) {
      if (symbol.symbol == "copy_page_range") symbol.count -= 5 * 1000 * measured.batch;
    }
  });
  EXPECT_EQ(report.cross_checks.at(0).foreign->in_function, 1000);
  EXPECT_EQ(report.cross_checks[0].seen, false);
}

// --- order ---

TEST(Conclude, TheWorstComesFirst) {
  generate::Plan plan;
  plan.layouts = 6;
  plan.b_adds = {{"exec/fork-exit", 400}, {"mmap/brk", -100}, {"mmap/mseal", 500}};
  const Report report = concluded(collect(plan));
  const auto order = worst_first(report.metrics);
  ASSERT_EQ(order.size(), report.metrics.size());
  EXPECT_EQ(name_of(*order[0]), "x86_64 mmap/mseal total");
  EXPECT_EQ(name_of(*order[2]), "x86_64 exec/fork-exit kernel");
  EXPECT_EQ(name_of(*order[4]), "x86_64 mmap/brk total");
  EXPECT_EQ(order.back()->cost.verdict, Verdict::Equivalent);
}

// --- baselines ---

Baseline saved(const generate::Plan& plan) {
  auto baseline = parse_baseline(render_json(concluded(collect(plan))), "saved.json");
  EXPECT_TRUE(baseline.ok()) << (baseline ? "" : baseline.error().message);
  return baseline ? std::move(baseline.value()) : Baseline{};
}

TEST(Baseline, KeepsEachValue) {
  generate::Plan plan = small();
  plan.layout_noise = 0.001;
  const Report report = concluded(collect(plan));
  const Baseline baseline = saved(plan);
  ASSERT_EQ(baseline.metrics.size(), report.metrics.size());
  for (std::size_t i = 0; i < report.metrics.size(); ++i) {
    EXPECT_EQ(baseline.metrics[i].experiment, report.metrics[i].experiment);
    EXPECT_EQ(baseline.metrics[i].measure, report.metrics[i].measure);
    EXPECT_EQ(values_of(baseline.metrics[i].a), values_of(report.metrics[i].a));
    EXPECT_EQ(values_of(baseline.metrics[i].b), values_of(report.metrics[i].b));
  }
  EXPECT_THAT(differences(report.context, baseline.context), IsEmpty());
}

TEST(Baseline, TheSameAgainIsEquivalent) {
  const Report report = concluded(collect(small()), {.baseline = saved(small())});
  ASSERT_TRUE(report.baseline);
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  for (const Metric& one : report.metrics) {
    EXPECT_EQ(one.baseline_a->verdict, Verdict::Equivalent);
    EXPECT_EQ(one.baseline_b->verdict, Verdict::Equivalent);
  }
  EXPECT_THAT(report.conclusion, HasSubstr("0 metrics slower than in the baseline"));
}

TEST(Baseline, SlowerThanItIsARegression) {
  generate::Plan plan = small();
  plan.b_adds = {{"exec/fork-exit", 400}};
  const Report report = concluded(collect(plan), {.baseline = saved(small())});
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("REGRESSION: "));
  EXPECT_THAT(report.conclusion, HasSubstr("2 metrics slower than in the baseline"));
  EXPECT_EQ(metric(report, "x86_64 exec/fork-exit total").baseline_b->shift->estimate, 400);
  // Faster than it is none, unless anything is one.
  EXPECT_EQ(concluded(collect(small()), {.baseline = saved(plan)}).exit_code, ExitCode::AsExpected);
  EXPECT_EQ(
      concluded(collect(small()), {.fail_on = FailOn::Any, .baseline = saved(plan)}).exit_code,
      ExitCode::Failed);
}

TEST(Baseline, MetricsThatOneLacksAreListed) {
  generate::Plan fewer = small();
  fewer.only = {"mmap/brk"};
  Report report = concluded(collect(fewer), {.baseline = saved(small())});
  EXPECT_THAT(report.baseline->only_there, SizeIs(6));
  EXPECT_THAT(report.baseline->only_there.front(), HasSubstr("x86_64 exec/fork-exit total"));
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  report = concluded(collect(fewer), {.fail_on = FailOn::Any, .baseline = saved(small())});
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  report = concluded(collect(small()), {.baseline = saved(fewer)});
  EXPECT_THAT(report.baseline->only_here, SizeIs(6));
  EXPECT_FALSE(metric(report, "x86_64 vdso/time total").baseline_a);
}

TEST(Baseline, OfSomethingElseIsRefusedUnlessItMayDiffer) {
  struct Case {
    std::function<void(Context&)> change;
    Same what;
    const char* says;
  };
  const std::vector<Case> cases = {
      {[](Context& context) { context.host_cpu = "Other"; }, Same::Machine,
       "the host's CPU is 'Other', in the baseline 'Example CPU'"},
      {[](Context& context) { context.host_arch = "arm64"; }, Same::Machine,
       "the host's architecture is 'arm64'"},
      {[](Context& context) { context.virtual_host = "KVM"; }, Same::Machine,
       "what shows that the host is virtual is 'KVM', in the baseline ''"},
      {[](Context& context) { context.engine = "kvm"; }, Same::Engine, "the engine is 'kvm'"},
      {[](Context& context) { context.engine_version = "QEMU 11"; }, Same::Engine,
       "the engine's version is 'QEMU 11'"},
      {[](Context& context) { context.cpu_model = "a72"; }, Same::Engine, "the guest's CPU"},
      {[](Context& context) { context.watched = true; }, Same::Engine,
       "interception is 'on', in the baseline 'off'"},
      {[](Context& context) { context.kernels[0].image_hash = "x"; }, Same::Kernels,
       "the image x86_64 of a is 'x', in the baseline 'image-x86_64-a'"},
      {[](Context& context) { context.kernels[1].config_hash = "x"; }, Same::Kernels,
       "the configuration x86_64 of b is 'x'"},
      {[](Context& context) { context.kernels[1].recipe = "x"; }, Same::Kernels,
       "the recipe x86_64 of b is 'x'"},
      {[](Context& context) { context.kernels[1].release = "7.3"; }, Same::Kernels,
       "the release x86_64 of b is '7.3'"},
      {[](Context& context) { context.kernels[0].arch = arch::Arch::Arm64; }, Same::Kernels,
       "the baseline has no kernel arm64 of a"},
      {[](Context& context) { context.programs_hash = "x"; }, Same::Programs,
       "the hash of the guest's programs is 'x'"},
  };
  const Baseline baseline = saved(small());
  for (const Case& one : cases) {
    Collected collected = collect(small());
    one.change(collected.context);
    const std::string message = refused(collected, {.baseline = baseline}, ExitCode::Usage);
    EXPECT_THAT(message, HasSubstr("saved.json is of something else: "));
    EXPECT_THAT(message, HasSubstr(one.says));
    EXPECT_THAT(message, HasSubstr(std::string("--baseline-anyway ") + name_of(one.what)));
    const Report report = concluded(collected, {.baseline = baseline, .may_differ = {one.what}});
    ASSERT_TRUE(report.baseline);
    EXPECT_THAT(report.baseline->waived, ElementsAre(HasSubstr(one.says)));
    std::vector<Same> others;
    for (const Same what : kAllSame) {
      if (what != one.what) others.push_back(what);
    }
    EXPECT_FALSE(conclude(collected, {.baseline = baseline, .may_differ = others}).ok());
  }
}

TEST(Baseline, TheControlsKernelMayDiffer) {
  Collected collected = collect(small());
  collected.context.kernels[2].image_hash = "relinked otherwise";
  EXPECT_TRUE(conclude(collected, {.baseline = saved(small())}).ok());
}

TEST(Baseline, FilesThatAreNoneAreRefused) {
  const std::string good = render_json(concluded(collect(small())));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    text.replace(place, from.size(), to);
    return text;
  };
  generate::Plan bad = small();
  bad.control_adds = {{"mmap/brk", 30}};
  struct Case {
    std::string text;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"", "it is not JSON"},
      {"[]", "did not write it"},
      {"{\"sealvisor\": 1}", "did not write it"},
      {with("sealvisor-bench-2", "sealvisor-bench-3"), "its schema is 'sealvisor-bench-3'"},
      {with("\"host_cpu\":", "\"host\":"), "'host_cpu' is missing"},
      {with("\"measure\":\"total\"", "\"measure\":\"most\""), "'measure' is missing or is not"},
      {with("\"value\":61000.0", "\"value\":\"61000\""), "'value' is missing or is not"},
      {with("\"interrupted\": false", "\"interrupted\": true"), "that run was interrupted"},
      {render_json(concluded(collect(bad))), "that run was void"},
  };
  for (const Case& one : cases) {
    const auto baseline = parse_baseline(one.text, "x.json");
    ASSERT_FALSE(baseline.ok()) << one.says;
    EXPECT_EQ(baseline.error().code, ExitCode::Usage);
    EXPECT_THAT(baseline.error().message, StartsWith("x.json: no baseline: "));
    EXPECT_THAT(baseline.error().message, HasSubstr(one.says));
  }
}

}  // namespace
}  // namespace sealvisor::bench
