#include "bench/conclude.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "bench/controls.h"
#include "bench/foreign.h"
#include "bench/metrics.h"
#include "bench/paired.h"
#include "bench/profile.h"
#include "bench/watched.h"
#include "vmm/report/layout.h"

namespace sealvisor::bench {

namespace {

/// "3 metrics", "1 metric".
std::string count_of(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", report::grouped(count), what, count == 1 ? "" : "s");
}

// --- comparing ---

/// Layout by layout; if too few are of both (a baseline with other seeds), group by group.
Comparison compare_layouts(const std::vector<LayoutValue>& a, const std::vector<LayoutValue>& b,
                           const Bound& bound, MannWhitneyTable& table) {
  const auto pairs = pairs_of(a, b);
  if (!pairs) return compare(values_of(a), values_of(b), bound, table);
  return compare_pairs(pairs->a, pairs->b, bound);
}

void compare_sides(Metric& metric, const Bounds& bounds, bool slowed, MannWhitneyTable& table) {
  const Bound bound = bound_of(bounds, metric);
  metric.cost = compare_layouts(metric.a, metric.b, bound, table);
  metric.again = compare_layouts(metric.a, metric.control, bound, table);
  if (slowed) metric.sensitivity = compare_layouts(metric.a, metric.slowed, bound, table);
}

std::vector<Completeness> completeness_of(const Collected& collected) {
  std::vector<Completeness> result;
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const Side side : {Side::A, Side::B, Side::Control, Side::Slowed}) {
      const auto boots =
          std::count_if(collected.boots.begin(), collected.boots.end(),
                        [&](const Boot& boot) { return boot.arch == arch && boot.side == side; });
      const bool planned = std::any_of(
          collected.context.kernels.begin(), collected.context.kernels.end(),
          [&](const Kernel& kernel) { return kernel.arch == arch && kernel.side == side; });
      if (boots == 0 && !planned) continue;
      result.push_back(
          {arch, side, static_cast<std::uint64_t>(boots), collected.context.seeds.size()});
    }
  }
  return result;
}

Counts counts_of(const std::vector<Metric>& metrics) {
  Counts counts;
  for (const Metric& metric : metrics) {
    switch (metric.cost.verdict) {
      case Verdict::Equivalent:
        ++counts.equivalent;
        break;
      case Verdict::Slower:
        ++counts.slower;
        break;
      case Verdict::Faster:
        ++counts.faster;
        break;
      case Verdict::Undecided:
        ++counts.undecided;
        break;
    }
  }
  return counts;
}

// --- the baseline ---

bool is_same(const Metric& metric, const BaselineMetric& saved) {
  return metric.arch == saved.arch && metric.experiment == saved.experiment &&
         metric.measure == saved.measure;
}

BaselineUse use_baseline(std::vector<Metric>& metrics, const Baseline& baseline,
                         std::vector<std::string> waived, const Bounds& bounds,
                         MannWhitneyTable& table) {
  BaselineUse use{baseline.file, baseline.context.date, std::move(waived), {}, {}};
  for (Metric& metric : metrics) {
    const auto saved =
        std::find_if(baseline.metrics.begin(), baseline.metrics.end(),
                     [&](const BaselineMetric& one) { return is_same(metric, one); });
    if (saved == baseline.metrics.end()) {
      use.only_here.push_back(name_of(metric));
      continue;
    }
    const Bound bound = bound_of(bounds, metric);
    metric.baseline_a = compare_layouts(saved->a, metric.a, bound, table);
    metric.baseline_b = compare_layouts(saved->b, metric.b, bound, table);
  }
  for (const BaselineMetric& saved : baseline.metrics) {
    if (std::any_of(metrics.begin(), metrics.end(),
                    [&](const Metric& metric) { return is_same(metric, saved); })) {
      continue;
    }
    use.only_there.push_back(fmt::format("{} {} {}", arch::name_of(saved.arch), saved.experiment,
                                         name_of(saved.measure)));
  }
  return use;
}

// --- judging ---

std::vector<std::string> void_reasons(const Report& report) {
  std::vector<std::string> reasons = problems_of(report.counters);
  for (const Metric& metric : report.metrics) {
    const Comparison& again = metric.again;
    if (again.verdict == Verdict::Equivalent) continue;
    reasons.push_back(again.b.count == 0 ? fmt::format("{}: no A/A control", name_of(metric))
                                         : fmt::format("{}: A/A {}, shift {:+g} {}, bound {:g}",
                                                       name_of(metric), name_of(again.verdict),
                                                       again.shift ? again.shift->estimate : 0,
                                                       unit_of(metric.measure), again.bound));
  }
  return reasons;
}

bool is(const std::optional<Comparison>& compared, Verdict verdict) {
  return compared && compared->verdict == verdict;
}

bool is_slower_than_baseline(const Metric& metric) {
  return is(metric.baseline_a, Verdict::Slower) || is(metric.baseline_b, Verdict::Slower);
}

bool is_regression(const Metric& metric, FailOn fail_on) {
  const auto differs = [](const std::optional<Comparison>& compared) {
    return compared && compared->verdict != Verdict::Equivalent;
  };
  switch (fail_on) {
    case FailOn::Nothing:
      return is_slower_than_baseline(metric);
    case FailOn::Slower:
      return metric.cost.verdict == Verdict::Slower || is_slower_than_baseline(metric);
    case FailOn::Any:
      break;
  }
  return metric.cost.verdict != Verdict::Equivalent || differs(metric.baseline_a) ||
         differs(metric.baseline_b);
}

bool experiment_failed(const Report& report) {
  return std::any_of(report.missing.begin(), report.missing.end(),
                     [](const Missing& missing) { return missing.failed; });
}

bool is_incomplete(const Report& report) {
  return report.interrupted || !report.failures.empty() || experiment_failed(report) ||
         report.metrics.empty();
}

std::uint64_t count_regressions(const Report& report) {
  if (!report.void_because.empty()) return 0;
  return static_cast<std::uint64_t>(
      std::count_if(report.metrics.begin(), report.metrics.end(),
                    [&](const Metric& metric) { return is_regression(metric, report.fail_on); }));
}

/// --fail-on any: a metric that the baseline has and this run has not is not known to be the same.
bool baseline_is_missed(const Report& report) {
  return report.fail_on == FailOn::Any && report.baseline && !report.baseline->only_there.empty();
}

bool cross_check_failed(const Report& report) {
  return std::any_of(report.cross_checks.begin(), report.cross_checks.end(),
                     [](const CrossCheck& check) { return !check.good(); });
}

bool control_failed(const Report& report) {
  return !report.void_because.empty() || (report.sensitivity && !report.sensitivity->good) ||
         (report.repeats && !report.repeats->differing.empty()) || cross_check_failed(report);
}

ExitCode exit_code_of(const Report& report) {
  if (count_regressions(report) > 0) return ExitCode::Failed;
  // A control that lacks boots says nothing about the kernels.
  if (is_incomplete(report)) return ExitCode::GuestFailed;
  return control_failed(report) || baseline_is_missed(report) ? ExitCode::Failed
                                                              : ExitCode::AsExpected;
}

// --- the conclusion ---

std::string headline(const Report& report) {
  if (!report.failures.empty()) return "GUEST FAILED";
  if (report.interrupted) return "INTERRUPTED";
  if (report.metrics.empty()) return "NOTHING MEASURED";
  if (experiment_failed(report)) return "EXPERIMENT FAILED";
  if (!report.void_because.empty()) return "VOID";
  if (report.repeats && !report.repeats->differing.empty()) return "NOT REPEATABLE";
  if (report.sensitivity && !report.sensitivity->good) return "SENSITIVITY FAILED";
  if (cross_check_failed(report)) return "CROSS-CHECK FAILED";
  if (count_regressions(report) > 0) return "REGRESSION";
  if (report.counts.slower > 0) return "SLOWER";
  if (report.counts.undecided > 0) return "UNDECIDED";
  return report.counts.faster > 0 ? "FASTER" : "EQUIVALENT";
}

std::string worst_of(const Report& report) {
  const Metric& worst = *worst_first(report.metrics).front();
  if (!worst.cost.shift) return "";
  return fmt::format(" (worst: {}, {:+g} of {:g}, bound {:g})", name_of(worst),
                     worst.cost.shift->estimate, worst.cost.a.median, worst.cost.bound);
}

std::string verdicts_text(const Report& report) {
  const Counts& counts = report.counts;
  std::vector<std::string> parts;
  const auto add = [&](std::uint64_t count, Verdict verdict) {
    if (count > 0) parts.push_back(fmt::format("{} {}", report::grouped(count), name_of(verdict)));
  };
  add(counts.slower, Verdict::Slower);
  add(counts.undecided, Verdict::Undecided);
  add(counts.faster, Verdict::Faster);
  const std::string worst =
      counts.slower > 0 || counts.undecided > 0 || counts.faster > 0 ? worst_of(report) : "";
  if (parts.empty()) {
    return fmt::format("all {} equivalent", count_of(counts.all(), "metric"));
  }
  return fmt::format("of {} {}{}, {} equivalent", count_of(counts.all(), "metric"),
                     fmt::join(parts, ", "), worst, report::grouped(counts.equivalent));
}

std::string conclusion_of(const Report& report) {
  const Context& context = report.context;
  std::vector<std::string> parts;
  if (!report.failures.empty()) {
    parts.push_back(fmt::format("{}, the first: {}", count_of(report.failures.size(), "failure"),
                                report.failures.front()));
  }
  if (experiment_failed(report)) {
    const auto first = std::find_if(report.missing.begin(), report.missing.end(),
                                    [](const Missing& missing) { return missing.failed; });
    parts.push_back(
        fmt::format("{} {}: {}", arch::name_of(first->arch), first->experiment, first->reason));
  }
  if (report.metrics.empty()) {
    parts.emplace_back("no metric has values of both kernels");
  } else if (!report.void_because.empty()) {
    const std::size_t apart = problems_of(report.counters).size();
    const std::size_t unequal = report.void_because.size() - apart;
    parts.push_back(fmt::format(
        "{}the first: {}; no verdict counts",
        unequal == 0 ? ""
                     : fmt::format("A/A is not equivalent in {}, ", count_of(unequal, "metric")),
        report.void_because[unequal == 0 ? 0 : apart]));
  } else {
    parts.push_back(verdicts_text(report));
  }
  if (report.baseline && report.void_because.empty()) {
    const auto slower =
        std::count_if(report.metrics.begin(), report.metrics.end(), is_slower_than_baseline);
    parts.push_back(fmt::format("{} slower than in the baseline",
                                count_of(static_cast<std::uint64_t>(slower), "metric")));
  }
  return report::printable(fmt::format("{}: {} against {}: {}; {}", headline(report), context.b,
                                       context.a, fmt::join(parts, "; "), text_of_lane(context)));
}

Status add_profiles(Report& report, const std::vector<Boot>& boots) {
  for (const Side side : {Side::B, Side::Slowed}) {
    auto found = profile_differences(boots, side);
    if (!found) return found.error();
    std::move(found.value().begin(), found.value().end(), std::back_inserter(report.profiles));
  }
  return {};
}

/// How a tool works inside is not what is explained. That its counts sum up was looked at.
void leave_out_foreign(std::vector<ProfileDifference>& profiles,
                       const std::vector<CrossCheckPlan>& plans) {
  std::erase_if(profiles, [&](const ProfileDifference& profile) {
    return std::any_of(plans.begin(), plans.end(), [&](const CrossCheckPlan& plan) {
      return profile.experiment == plan.foreign || profile.experiment == plan.start;
    });
  });
}

/// What was measured, as it was, without what the differences say already.
std::vector<Boot> without_profiles(std::vector<Boot> boots) {
  for (Boot& boot : boots) {
    for (Measured& measured : boot.experiments) measured.profile.clear();
  }
  return boots;
}

}  // namespace

Result<Report> conclude(Collected collected, const Rules& rules) {
  std::vector<std::string> waived;
  if (rules.baseline) {
    auto checked = check_baseline(collected.context, *rules.baseline, rules.may_differ);
    if (!checked) return checked.error();
    waived = std::move(checked.value());
  }
  Report report;
  report.bounds = rules.bounds;
  report.fail_on = rules.fail_on;
  report.interrupted = collected.interrupted;
  report.failures = std::move(collected.failures);
  report.complete = completeness_of(collected);
  const bool whole = !report.interrupted && report.failures.empty();
  const Lane lane = collected.context.lane;
  if (lane == Lane::Time) report.counters = counters_of(collected.boots);
  auto measured = metrics_of(collected.boots, lane, report.counters, whole);
  if (!measured) return measured.error();
  report.missing = std::move(measured.value().missing);
  report.metrics = std::move(measured.value().metrics);

  MannWhitneyTable table;
  const bool slowed = !collected.known_costs.empty();
  report.foreign = take_foreign(report.metrics, collected.boots, collected.cross_checks);
  for (Metric& metric : report.metrics) compare_sides(metric, rules.bounds, slowed, table);
  for (Metric& metric : report.foreign) compare_sides(metric, rules.bounds, slowed, table);
  if (rules.baseline) {
    report.baseline =
        use_baseline(report.metrics, *rules.baseline, std::move(waived), rules.bounds, table);
  }
  if (auto added = add_profiles(report, collected.boots); !added) return added.error();
  if (slowed) {
    report.sensitivity =
        lane == Lane::Instructions
            ? judge_sensitivity(collected.known_costs, report.metrics, report.profiles)
            : judge_sensitivity_by_time(collected.known_costs, report.metrics, report.counters);
  }
  if (!collected.repeats.empty()) {
    report.repeats = judge_repeats(collected.boots, collected.repeats);
  }
  if (!collected.watched.empty()) {
    report.watched = watched_of(collected.boots, collected.watched, report.counters);
  }
  std::vector<Metric> both = report.metrics;
  both.insert(both.end(), report.foreign.begin(), report.foreign.end());
  report.cross_checks = judge_cross_checks(collected.cross_checks, both, rules.bounds.relative,
                                           collected.known_costs, report.profiles, table);
  leave_out_foreign(report.profiles, collected.cross_checks);

  report.boots = without_profiles(std::move(collected.boots));
  report.context = std::move(collected.context);
  report.void_because = void_reasons(report);
  report.counts = counts_of(report.metrics);
  report.exit_code = exit_code_of(report);
  report.conclusion = conclusion_of(report);
  return report;
}

}  // namespace sealvisor::bench
