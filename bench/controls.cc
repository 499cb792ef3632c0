#include "bench/controls.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "bench/foreign.h"
#include "bench/paired.h"

namespace sealvisor::bench {

namespace {

/// Rounding of values that come from integers; an instruction is one.
constexpr double kOneInstruction = 1 + 1e-9;

Measure measure_of(Space space) { return space == Space::Kernel ? Measure::Kernel : Measure::User; }

bool is_about(const KnownCost& known, arch::Arch arch, const std::string& experiment) {
  return known.arch == arch && known.experiment == experiment;
}

/// Sum of what is known to be added to `measure`.
double expected_shift(std::span<const KnownCost> known, const KnownCost& one) {
  double sum = 0;
  for (const KnownCost& other : known) {
    if (is_about(other, one.arch, one.experiment) &&
        measure_of(other.space) == measure_of(one.space)) {
      sum += static_cast<double>(other.added);
    }
  }
  return sum;
}

/// Instructions that are known to be added to an operation of the experiment, user mode's and the
/// kernel's.
std::uint64_t added_in_all(std::span<const KnownCost> known, const KnownCost& one) {
  std::uint64_t sum = 0;
  for (const KnownCost& other : known) {
    if (is_about(other, one.arch, one.experiment)) sum += other.added;
  }
  return sum;
}

const Comparison* comparison_found(std::span<const Metric> metrics, const KnownCost& known) {
  const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& metric) {
    return is_about(known, metric.arch, metric.experiment) &&
           metric.measure == measure_of(known.space);
  });
  if (found == metrics.end() || !found->sensitivity || !found->sensitivity->shift) return nullptr;
  return &*found->sensitivity;
}

const ProfileDifference* profile_found(std::span<const ProfileDifference> profiles,
                                       const KnownCost& known) {
  const auto found =
      std::find_if(profiles.begin(), profiles.end(), [&](const ProfileDifference& one) {
        return one.with == Side::Slowed && is_about(known, one.arch, one.experiment);
      });
  return found == profiles.end() ? nullptr : &*found;
}

void name_function(SensitivityLine& line, const ProfileDifference& profile, std::size_t costs) {
  const auto is_it = [&](const SymbolDifference& symbol) {
    return symbol.space == line.known.space && symbol.symbol == line.known.function;
  };
  const auto begin = profile.symbols.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(std::min(costs, profile.symbols.size()));
  const bool named = std::any_of(begin, end, is_it);
  line.function = named || begin == end ? line.known.function : begin->symbol;
  if (begin == end) line.function.clear();
  const auto found = std::find_if(begin, profile.symbols.end(), is_it);
  const double difference =
      found == profile.symbols.end() ? 0 : static_cast<double>(found->difference());
  line.in_function = difference / static_cast<double>(profile.operations);
  const auto is_near = [](double value, double expected) {
    return std::abs(value - expected) <= kOneInstruction;
  };
  // In the function to the instruction. The whole operation takes longer then, and time is counted
  // in instructions: what the scheduler does by the clock can come out otherwise.
  line.good = named && line.shift &&
              std::abs(*line.shift - line.expected_shift) <= line.shift_bound &&
              is_near(*line.in_function, static_cast<double>(line.known.added));
}

bool has_known_cost(std::span<const KnownCost> known, const Metric& metric) {
  return std::any_of(known.begin(), known.end(), [&](const KnownCost& one) {
    return is_about(one, metric.arch, metric.experiment) &&
           (metric.measure == Measure::Total || metric.measure == measure_of(one.space));
  });
}

std::uint64_t greatest_difference(const std::vector<std::uint64_t>& one,
                                  const std::vector<std::uint64_t>& other) {
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < std::min(one.size(), other.size()); ++i) {
    most = std::max(most, one[i] > other[i] ? one[i] - other[i] : other[i] - one[i]);
  }
  return most;
}

/// What is not the same in `again`; empty: all of it is.
std::string difference_between(const Measured& first, const Measured* again) {
  if (again == nullptr) return "was not run again";
  if (first.status != again->status) return "ended differently";
  if (first.kernel.size() != again->kernel.size() || first.user.size() != again->user.size()) {
    return fmt::format("{} samples, then {}", first.kernel.size(), again->kernel.size());
  }
  const std::uint64_t most = std::max(greatest_difference(first.kernel, again->kernel),
                                      greatest_difference(first.user, again->user));
  return most == 0 ? "" : fmt::format("differs by up to {} instructions in a sample", most);
}

void compare_repeat(Repeats& result, const Boot& boot, const Boot& repeat) {
  for (const Measured& first : boot.experiments) {
    const auto found =
        std::find_if(repeat.experiments.begin(), repeat.experiments.end(),
                     [&](const Measured& one) { return one.experiment == first.experiment; });
    const Measured* again = found == repeat.experiments.end() ? nullptr : &*found;
    const std::string difference = difference_between(first, again);
    if (difference.empty()) {
      result.samples += first.kernel.size();
      continue;
    }
    result.differing.push_back(fmt::format("{} {}, {} with seed {}: {}", arch::name_of(boot.arch),
                                           first.experiment, name_of(boot.side), boot.seed,
                                           difference));
  }
}

/// Of the whole operation; nullptr: there is none.
const Metric* metric_for(std::span<const Metric> metrics, arch::Arch arch,
                         const std::string& experiment) {
  const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& metric) {
    return metric.arch == arch && metric.experiment == experiment &&
           metric.measure != Measure::User && metric.measure != Measure::Kernel;
  });
  return found == metrics.end() ? nullptr : &*found;
}

std::optional<CrossMeasured> measured_by(const Metric* metric, MannWhitneyTable& table) {
  if (metric == nullptr) return std::nullopt;
  const auto pairs = pairs_of(metric->a, metric->b);
  const auto ratio = pairs ? ratio_of_pairs(pairs->a, pairs->b)
                           : ratio_of(values_of(metric->a), values_of(metric->b), table);
  if (!ratio) return std::nullopt;
  CrossMeasured measured{metric->cost.a.median, *ratio};
  if (metric->sensitivity) measured.slowed = metric->sensitivity->shift;
  return measured;
}

bool within(double value, double expected, double bound) {
  return std::abs(value - expected) <= bound;
}

/// Whether the slowed kernel costs `in_function` more in the whole operation, within the bound.
bool costs(const Metric* metric, double in_function) {
  return metric != nullptr && metric->sensitivity && metric->sensitivity->shift &&
         within(metric->sensitivity->shift->estimate, in_function, metric->sensitivity->bound);
}

bool is_equivalent(const Metric* metric) {
  return metric != nullptr && metric->sensitivity &&
         metric->sensitivity->verdict == Verdict::Equivalent;
}

/// Fills in what the slowed kernel costs, and whether it is seen.
void check_slowed(CrossCheck& check, const Metric* foreign, const Metric* ours,
                  std::span<const KnownCost> known, std::span<const ProfileDifference> profiles) {
  if (check.plan.slowed == 0) {
    check.seen = is_equivalent(foreign) && is_equivalent(ours);
    return;
  }
  check.seen = false;
  const auto cost = std::find_if(known.begin(), known.end(), [&](const KnownCost& one) {
    return is_about(one, check.arch, check.plan.ours);
  });
  if (cost == known.end() || !check.foreign || !check.ours) return;
  const auto of_tool = added_in_function(profiles, *cost, check.plan.foreign, check.plan.start);
  const auto of_us = added_in_function(profiles, *cost, check.plan.ours, "");
  check.foreign->in_function = of_tool;
  check.ours->in_function = of_us;
  if (!of_tool || !of_us) return;
  // Not each operation of a tool comes to the call: stress-ng --exec now and then takes a file that
  // is no program (its stress-exec.c, garbage_prog).
  check.seen = *of_tool >= static_cast<double>(check.plan.slowed) / 2 &&
               within(*of_us, static_cast<double>(cost->added), kOneInstruction) &&
               costs(foreign, *of_tool) && costs(ours, *of_us);
}

bool agree(const Ratio& one, const Ratio& other, double relative) {
  if (!one.ninety_five || !other.ninety_five) return false;
  const Interval& first = *one.ninety_five;
  const Interval& second = *other.ninety_five;
  // Below zero where they meet. Exact counts have intervals without width, which never do.
  const double apart = std::max(first.lower - second.upper, second.lower - first.upper);
  return apart < relative;
}

}  // namespace

Sensitivity judge_sensitivity(std::span<const KnownCost> known, std::span<const Metric> metrics,
                              std::span<const ProfileDifference> profiles) {
  Sensitivity result;
  result.good = true;
  for (const KnownCost& one : known) {
    SensitivityLine line;
    line.known = one;
    line.expected_shift = expected_shift(known, one);
    if (const Comparison* found = comparison_found(metrics, one)) {
      line.shift = found->shift->estimate;
      line.shift_bound = found->bound;
    }
    const auto costs =
        static_cast<std::size_t>(std::count_if(known.begin(), known.end(), [&](const auto& other) {
          return is_about(other, one.arch, one.experiment);
        }));
    if (const auto* profile = profile_found(profiles, one)) name_function(line, *profile, costs);
    result.good = result.good && line.good;
    result.lines.push_back(std::move(line));
  }
  for (const Metric& metric : metrics) {
    if (has_known_cost(known, metric)) continue;
    if (metric.sensitivity && metric.sensitivity->verdict == Verdict::Equivalent) continue;
    result.others.push_back(fmt::format(
        "{}: {}", name_of(metric),
        name_of(metric.sensitivity ? metric.sensitivity->verdict : Verdict::Undecided)));
    result.good = false;
  }
  return result;
}

Sensitivity judge_sensitivity_by_time(std::span<const KnownCost> known,
                                      std::span<const Metric> metrics,
                                      std::span<const RunCounter> counters) {
  Sensitivity result;
  result.good = true;
  for (const KnownCost& one : known) {
    SensitivityLine line;
    line.known = one;
    const auto metric = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& other) {
      return is_about(one, other.arch, other.experiment);
    });
    if (metric == metrics.end() || !metric->sensitivity || !metric->sensitivity->shift) {
      // What is asked for and was not measured is not found.
      result.good = false;
      result.lines.push_back(std::move(line));
      continue;
    }
    const RunCounter* counter = counter_of(counters, one.arch);
    const double ticks =
        counter == nullptr ? 0 : counter->nop_ticks * static_cast<double>(added_in_all(known, one));
    line.expected_shift = metric->measure == Measure::Nanoseconds && counter != nullptr
                              ? counter->nanoseconds(ticks)
                              : ticks;
    const Comparison& found = *metric->sensitivity;
    line.shift = found.shift->estimate;
    line.shift_bound = found.bound;
    line.verdict = found.verdict;
    line.asked = line.expected_shift >= kAskedBounds * found.bound;
    line.good =
        !line.asked || (found.verdict != Verdict::Equivalent && found.verdict != Verdict::Faster);
    result.good = result.good && line.good;
    result.lines.push_back(std::move(line));
  }
  return result;
}

Repeats judge_repeats(std::span<const Boot> boots, std::span<const Boot> repeats) {
  Repeats result;
  for (const Boot& repeat : repeats) {
    const auto found = std::find_if(boots.begin(), boots.end(), [&](const Boot& boot) {
      return boot.arch == repeat.arch && boot.side == repeat.side && boot.seed == repeat.seed;
    });
    ++result.boots;
    if (found != boots.end()) {
      compare_repeat(result, *found, repeat);
    } else {
      result.differing.push_back(fmt::format("{} {} with seed {} was not booted before",
                                             arch::name_of(repeat.arch), name_of(repeat.side),
                                             repeat.seed));
    }
  }
  return result;
}

std::vector<CrossCheck> judge_cross_checks(std::span<const CrossCheckPlan> plans,
                                           std::span<const Metric> metrics, double relative,
                                           std::span<const KnownCost> known,
                                           std::span<const ProfileDifference> profiles,
                                           MannWhitneyTable& table) {
  std::vector<CrossCheck> result;
  for (const CrossCheckPlan& plan : plans) {
    for (const arch::Arch arch : arch::kAllArchs) {
      const Metric* const foreign = metric_for(metrics, arch, plan.foreign);
      const Metric* const ours = metric_for(metrics, arch, plan.ours);
      CrossCheck check{plan, arch, measured_by(foreign, table), measured_by(ours, table)};
      if (!check.foreign && !check.ours) continue;
      check.agrees =
          check.foreign && check.ours && agree(check.foreign->ratio, check.ours->ratio, relative);
      if ((foreign != nullptr && foreign->sensitivity) || (ours != nullptr && ours->sensitivity)) {
        check_slowed(check, foreign, ours, known, profiles);
      }
      result.push_back(std::move(check));
    }
  }
  return result;
}

}  // namespace sealvisor::bench
