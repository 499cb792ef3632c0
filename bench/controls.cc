#include "bench/controls.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

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

std::optional<Ratio> ratio_for(std::span<const Metric> metrics, arch::Arch arch,
                               const std::string& experiment, MannWhitneyTable& table) {
  const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const Metric& metric) {
    return metric.arch == arch && metric.experiment == experiment &&
           metric.measure != Measure::User && metric.measure != Measure::Kernel;
  });
  if (found == metrics.end()) return std::nullopt;
  return ratio_of(values_of(found->a), values_of(found->b), table);
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
                                           MannWhitneyTable& table) {
  std::vector<CrossCheck> result;
  for (const CrossCheckPlan& plan : plans) {
    for (const arch::Arch arch : arch::kAllArchs) {
      CrossCheck check{plan, arch, ratio_for(metrics, arch, plan.foreign, table),
                       ratio_for(metrics, arch, plan.ours, table), false};
      if (!check.foreign && !check.ours) continue;
      check.agrees = check.foreign && check.ours && agree(*check.foreign, *check.ours, relative);
      result.push_back(std::move(check));
    }
  }
  return result;
}

}  // namespace sealvisor::bench
