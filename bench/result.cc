#include "bench/result.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include <fmt/format.h>

#include "bench/known_costs.h"
#include "bench/paired.h"

namespace sealvisor::bench {

const char* name_of(Lane lane) { return lane == Lane::Instructions ? "instructions" : "time"; }

const char* name_of(Mode mode) { return mode == Mode::Quick ? "quick" : "full"; }

const char* name_of(Side side) {
  switch (side) {
    case Side::A:
      return "a";
    case Side::B:
      return "b";
    case Side::Control:
      return "control";
    case Side::Slowed:
      return "slowed";
  }
  return "?";
}

const char* name_of(Space space) {
  switch (space) {
    case Space::Kernel:
      return "kernel";
    case Space::Vdso:
      return "vdso";
    case Space::User:
      return "user";
  }
  return "?";
}

const char* name_of(FailOn fail_on) {
  switch (fail_on) {
    case FailOn::Nothing:
      return "nothing";
    case FailOn::Slower:
      return "slower";
    case FailOn::Any:
      return "any";
  }
  return "?";
}

const char* name_of(Measure measure) {
  switch (measure) {
    case Measure::Total:
      return "total";
    case Measure::User:
      return "user";
    case Measure::Kernel:
      return "kernel";
    case Measure::Nanoseconds:
      return "time";
    case Measure::Ticks:
      return "ticks";
  }
  return "?";
}

const char* unit_of(Measure measure) {
  switch (measure) {
    case Measure::Nanoseconds:
      return "ns";
    case Measure::Ticks:
      return "ticks";
    default:
      return "instructions";
  }
}

Bound bound_of(const Bounds& bounds, const Metric& metric) {
  const double steps = bounds.steps * metric.resolution;
  switch (metric.measure) {
    case Measure::Nanoseconds:
      return {bounds.time_relative, std::max(bounds.nanoseconds, steps)};
    case Measure::Ticks:
      return {bounds.time_relative, std::max(bounds.ticks, steps)};
    default:
      return {bounds.relative, bounds.instructions};
  }
}

std::optional<double> ticks_of(const Metric& metric, double value) {
  if (metric.measure == Measure::Ticks) return value;
  if (metric.measure != Measure::Nanoseconds) return std::nullopt;
  return value * metric.hertz / 1e9;
}

std::string name_of(const Metric& metric) {
  return fmt::format("{} {} {}", arch::name_of(metric.arch), metric.experiment,
                     name_of(metric.measure));
}

std::vector<double> values_of(const std::vector<LayoutValue>& values) {
  std::vector<double> result;
  result.reserve(values.size());
  for (const LayoutValue& value : values) result.push_back(value.value);
  return result;
}

std::optional<PairedValues> pairs_of(const std::vector<LayoutValue>& a,
                                     const std::vector<LayoutValue>& b) {
  PairedValues pairs;
  for (const LayoutValue& one : a) {
    const auto pair = std::find_if(
        b.begin(), b.end(), [&](const LayoutValue& other) { return other.seed == one.seed; });
    if (pair == b.end()) continue;
    pairs.a.push_back(one.value);
    pairs.b.push_back(pair->value);
  }
  if (pairs.a.empty() || pairs.a.size() < std::min({a.size(), b.size(), kLeastPairs})) {
    return std::nullopt;
  }
  return pairs;
}

std::string text_of(const Bounds& bounds, Lane lane) {
  if (lane == Lane::Instructions) {
    return fmt::format("{:g} % of a's median or {:g} instructions, whichever is larger",
                       bounds.relative * 100, bounds.instructions);
  }
  return fmt::format(
      "{:g} % of a's median, {:g} ns or {:g} steps of the counter over a sample, whichever is "
      "largest",
      bounds.time_relative * 100, bounds.nanoseconds, bounds.steps);
}

bool is_shown(const Sensitivity& sensitivity) {
  return std::any_of(sensitivity.lines.begin(), sensitivity.lines.end(),
                     [](const SensitivityLine& line) { return line.asked; });
}

std::string text_of_lane(const Context& context) {
  if (context.lane == Lane::Instructions) {
    return fmt::format("instructions, counted exactly; {}", kNoLatency);
  }
  const std::string where = context.pinned
                                ? fmt::format("one vCPU bound to CPU {}", context.pinned->cpu)
                                : std::string("a vCPU that is bound to no CPU");
  const std::string what = fmt::format("time by the guest's own counter, {}", where);
  if (!context.virtual_host.empty()) {
    return fmt::format("{}, on a host that is itself virtual ({}); {}", what, context.virtual_host,
                       kNoLatency);
  }
  if (context.engine != "kvm" || !context.pinned) return fmt::format("{}; {}", what, kNoLatency);
  return what + ", on this host's hardware";
}

std::vector<const Metric*> worst_first(const std::vector<Metric>& metrics) {
  const auto key = [](const Metric* metric) {
    const auto rank = [](Verdict verdict) {
      switch (verdict) {
        case Verdict::Slower:
          return 0;
        case Verdict::Undecided:
          return 1;
        case Verdict::Faster:
          return 2;
        case Verdict::Equivalent:
          return 3;
      }
      return 4;
    };
    const Comparison& cost = metric->cost;
    const double size = cost.shift ? std::abs(cost.shift->estimate) / cost.bound : 0;
    return std::tuple(rank(cost.verdict), -size);
  };
  std::vector<const Metric*> order;
  order.reserve(metrics.size());
  for (const Metric& metric : metrics) order.push_back(&metric);
  std::stable_sort(order.begin(), order.end(),
                   [&](const Metric* one, const Metric* other) { return key(one) < key(other); });
  return order;
}

std::string slowed_left_out(const Report& report) {
  const Context& context = report.context;
  const bool asked = context.mode == Mode::Full || !report.cross_checks.empty();
  if (!asked || report.sensitivity) return "";
  if (context.a != kSlowedOf) {
    return fmt::format(
        "control slowed: it is {} with known instructions added, and a is {}: the run does not "
        "show what it can see",
        kSlowedOf, context.a);
  }
  return "control slowed: no experiment of this run takes a path that has instructions added: the "
         "run does not show what it can see";
}

double mean_difference(const ProfileDifference& profile) {
  const auto difference = static_cast<std::int64_t>(profile.total_b - profile.total_a);
  return static_cast<double>(difference) / static_cast<double>(profile.operations);
}

std::vector<const ProfileDifference*> largest_first(const std::vector<ProfileDifference>& profiles,
                                                    Side with) {
  std::vector<const ProfileDifference*> order;
  for (const ProfileDifference& profile : profiles) {
    const bool differs = !profile.symbols.empty() && profile.symbols.front().difference() != 0;
    if (profile.with == with && differs) order.push_back(&profile);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const ProfileDifference* one, const ProfileDifference* other) {
                     return std::abs(mean_difference(*one)) > std::abs(mean_difference(*other));
                   });
  return order;
}

bool is_part(const Metric& metric) {
  return metric.measure == Measure::User || metric.measure == Measure::Kernel;
}

}  // namespace sealvisor::bench
