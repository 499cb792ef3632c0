#include "bench/watched.h"

#include <algorithm>
#include <cstring>

#include "bench/metrics.h"

namespace sealvisor::bench {

namespace {

const Measured* measured_in(std::span<const Boot> boots, const Boot& like,
                            const std::string& experiment) {
  for (const Boot& boot : boots) {
    if (boot.arch != like.arch || boot.side != like.side || boot.seed != like.seed) continue;
    for (const Measured& one : boot.experiments) {
      if (one.experiment == experiment) return &one;
    }
  }
  return nullptr;
}

/// Why there is no value; empty: there is one.
std::string problem_of(const Measured* measured) {
  if (measured == nullptr) return "not run";
  if (!measured->problem.empty()) return measured->problem;
  if (measured->status != 0) return std::strerror(measured->status);
  return measured->ticks.empty() ? "no samples" : "";
}

}  // namespace

Watched watched_of(std::span<const Boot> boots, std::span<const WatchedBoot> watched,
                   std::span<const RunCounter> counters) {
  Watched result;
  for (const WatchedBoot& one : watched) {
    if (std::find(result.how.begin(), result.how.end(), one.how) == result.how.end()) {
      result.how.push_back(one.how);
    }
    const RunCounter* counter = counter_of(counters, one.boot.arch);
    const std::uint64_t frequency = counter == nullptr ? 0 : counter->frequency;
    for (const Measured& on : one.boot.experiments) {
      const Measured* off = measured_in(boots, one.boot, on.experiment);
      WatchedLine line;
      line.arch = one.boot.arch;
      line.side = one.boot.side;
      line.seed = one.boot.seed;
      line.experiment = on.experiment;
      line.measure = frequency == 0 ? Measure::Ticks : Measure::Nanoseconds;
      line.problem = problem_of(off);
      if (line.problem.empty()) line.problem = problem_of(&on);
      if (line.problem.empty()) {
        line.off = layout_value(*off, line.measure, frequency);
        line.on = layout_value(on, line.measure, frequency);
      }
      result.lines.push_back(std::move(line));
    }
  }
  return result;
}

}  // namespace sealvisor::bench
