#include "bench/metrics.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include <fmt/format.h>

namespace sealvisor::bench {

namespace {

std::string place_of(const Boot& boot) {
  return fmt::format("{} with seed {}", name_of(boot.side), boot.seed);
}

Error bad(const Boot& boot, const Measured& measured, const std::string& what) {
  return Error{ExitCode::GuestFailed, fmt::format("{} {} in {}: {}", arch::name_of(boot.arch),
                                                  measured.experiment, place_of(boot), what)};
}

/// One boot's samples of an experiment; nullptr: the boot has none.
struct Taken {
  const Boot* boot;
  const Measured* measured;
};

struct Series {
  arch::Arch arch;
  std::string experiment;
  std::vector<Taken> taken;
};

bool has_samples(const Measured& measured, Lane lane) {
  return !(lane == Lane::Instructions ? measured.kernel : measured.ticks).empty();
}

/// Why samples are not used; empty: they are.
std::string problem_of(const Taken& taken, Lane lane) {
  if (taken.measured == nullptr) return "not run";
  if (!taken.measured->problem.empty()) return taken.measured->problem;
  if (taken.measured->status != 0) return std::strerror(taken.measured->status);
  return has_samples(*taken.measured, lane) ? "" : "no samples";
}

bool is_unsupported(const Taken& taken) {
  return taken.measured != nullptr && taken.measured->problem.empty() &&
         taken.measured->status == ENOTSUP;
}

Status check_boots(std::span<const Boot> boots) {
  for (std::size_t i = 0; i < boots.size(); ++i) {
    for (std::size_t j = i + 1; j < boots.size(); ++j) {
      const auto key = [](const Boot& boot) { return std::tie(boot.arch, boot.side, boot.seed); };
      if (key(boots[i]) != key(boots[j])) continue;
      return Error{
          ExitCode::GuestFailed,
          fmt::format("two boots of {} {}", arch::name_of(boots[i].arch), place_of(boots[i]))};
    }
  }
  return {};
}

Status check_series(const Series& series) {
  const Measured* first = nullptr;
  for (const auto& [boot, measured] : series.taken) {
    if (measured == nullptr) continue;
    if (measured->user.size() != measured->kernel.size()) {
      return bad(*boot, *measured,
                 fmt::format("{} samples of user mode, {} of the kernel", measured->user.size(),
                             measured->kernel.size()));
    }
    if (measured->batch == 0) return bad(*boot, *measured, "samples of no operation");
    if (first == nullptr) first = measured;
    if (measured->batch != first->batch) {
      return bad(
          *boot, *measured,
          fmt::format("samples of {} operations, elsewhere of {}", measured->batch, first->batch));
    }
  }
  return {};
}

std::vector<std::string> experiments_of(std::span<const Boot> boots, arch::Arch arch) {
  std::vector<std::string> names;
  for (const Boot& boot : boots) {
    if (boot.arch != arch) continue;
    for (const Measured& measured : boot.experiments) {
      if (std::find(names.begin(), names.end(), measured.experiment) == names.end()) {
        names.push_back(measured.experiment);
      }
    }
  }
  return names;
}

Series series_of(std::span<const Boot> boots, arch::Arch arch, const std::string& experiment) {
  Series series{arch, experiment, {}};
  for (const Boot& boot : boots) {
    if (boot.arch != arch) continue;
    const auto found =
        std::find_if(boot.experiments.begin(), boot.experiments.end(),
                     [&](const Measured& one) { return one.experiment == experiment; });
    series.taken.push_back({&boot, found == boot.experiments.end() ? nullptr : &*found});
  }
  return series;
}

/// Samples of `measure`, each of a whole batch.
std::vector<double> samples_of(const Measured& measured, Measure measure, std::uint64_t frequency) {
  std::vector<double> samples;
  const auto add = [&](const std::vector<std::uint64_t>& values, double scale) {
    for (const std::uint64_t value : values) samples.push_back(static_cast<double>(value) * scale);
  };
  switch (measure) {
    case Measure::Total:
      for (std::size_t i = 0; i < measured.kernel.size(); ++i) {
        samples.push_back(static_cast<double>(measured.user[i] + measured.kernel[i]));
      }
      break;
    case Measure::User:
      add(measured.user, 1);
      break;
    case Measure::Kernel:
      add(measured.kernel, 1);
      break;
    case Measure::Nanoseconds:
      add(measured.ticks, 1e9 / static_cast<double>(frequency));
      break;
    case Measure::Ticks:
      add(measured.ticks, 1);
      break;
  }
  return samples;
}

std::vector<Measure> measures_of(Lane lane, const RunCounter* counter) {
  if (lane == Lane::Instructions) return {Measure::Total, Measure::User, Measure::Kernel};
  const bool known = counter != nullptr && counter->frequency != 0;
  return {known ? Measure::Nanoseconds : Measure::Ticks};
}

/// A step of the counter over the operations of a sample, in the unit of `measure`.
double resolution_of(const Series& series, Measure measure, const RunCounter* counter) {
  if (measure != Measure::Nanoseconds && measure != Measure::Ticks) return 0;
  const auto batch = std::find_if(series.taken.begin(), series.taken.end(),
                                  [](const Taken& taken) { return taken.measured != nullptr; });
  if (counter == nullptr || batch == series.taken.end()) return 0;
  const double ticks = static_cast<double>(counter->step) / batch->measured->batch;
  return measure == Measure::Ticks ? ticks : counter->nanoseconds(ticks);
}

Metric metric_of(const Series& series, Measure measure, Lane lane, const RunCounter* counter) {
  Metric metric;
  metric.arch = series.arch;
  metric.experiment = series.experiment;
  metric.measure = measure;
  metric.resolution = resolution_of(series, measure, counter);
  const std::uint64_t frequency = counter == nullptr ? 0 : counter->frequency;
  if (measure == Measure::Nanoseconds) metric.hertz = static_cast<double>(frequency);
  for (const Taken& taken : series.taken) {
    if (!problem_of(taken, lane).empty()) continue;
    values_of(metric, taken.boot->side)
        .push_back({taken.boot->seed, layout_value(*taken.measured, measure, frequency)});
  }
  return metric;
}

/// Boots of one side, by what became of the experiment.
struct Fate {
  std::size_t good = 0;
  std::size_t unsupported = 0;
  std::string problem;  ///< Of the first boot that has another one.
};

Fate fate_of(const Series& series, Side side, Lane lane, bool whole) {
  Fate fate;
  for (const Taken& taken : series.taken) {
    if (taken.boot->side != side) continue;
    const std::string problem = problem_of(taken, lane);
    if (problem.empty()) {
      ++fate.good;
    } else if (is_unsupported(taken)) {
      ++fate.unsupported;
    } else if (fate.problem.empty() && (whole || taken.measured != nullptr)) {
      fate.problem = fmt::format("{}: {}", place_of(*taken.boot), problem);
    }
  }
  return fate;
}

/// What is to be said of an experiment beside its metrics; an empty reason: nothing.
Missing missing_of(const Series& series, Lane lane, bool whole) {
  Missing missing{series.arch, series.experiment, "", true};
  const Fate a = fate_of(series, Side::A, lane, whole);
  const Fate b = fate_of(series, Side::B, lane, whole);
  if (!a.problem.empty() || !b.problem.empty()) {
    missing.reason = a.problem.empty() ? b.problem : a.problem;
  } else if ((a.good > 0 && a.unsupported > 0) || (b.good > 0 && b.unsupported > 0)) {
    missing.reason = "not supported in some boots only";
  } else if (a.unsupported > 0 && b.unsupported > 0) {
    missing.failed = false;
    missing.reason = "not on these guests";
  } else if (a.unsupported > 0 || b.unsupported > 0) {
    missing.reason = a.unsupported > 0 ? "not supported on a" : "not supported on b";
  } else if (a.good == 0 || b.good == 0) {
    missing.failed = whole;
    missing.reason = a.good == 0 ? "no boot of a has it" : "no boot of b has it";
  }
  return missing;
}

}  // namespace

double layout_value(const Measured& measured, Measure measure, std::uint64_t frequency) {
  return median_of(samples_of(measured, measure, frequency)) / static_cast<double>(measured.batch);
}

Result<Metrics> metrics_of(std::span<const Boot> boots, Lane lane,
                           std::span<const RunCounter> counters, bool whole) {
  if (auto good = check_boots(boots); !good) return good.error();
  Metrics result;
  for (const arch::Arch arch : arch::kAllArchs) {
    const RunCounter* counter = counter_of(counters, arch);
    for (const std::string& experiment : experiments_of(boots, arch)) {
      const Series series = series_of(boots, arch, experiment);
      if (auto good = check_series(series); !good) return good.error();
      Missing missing = missing_of(series, lane, whole);
      if (!missing.reason.empty()) result.missing.push_back(std::move(missing));
      for (const Measure measure : measures_of(lane, counter)) {
        Metric metric = metric_of(series, measure, lane, counter);
        if (!metric.a.empty() && !metric.b.empty()) result.metrics.push_back(std::move(metric));
      }
    }
  }
  return result;
}

}  // namespace sealvisor::bench
