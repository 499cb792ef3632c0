#include "bench/foreign.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "bench/known_costs.h"

namespace sealvisor::bench {

namespace {

/// An operation of a tool has at least half a call, on average, that is slowed by so much; 0: none.
struct Row {
  const char* tool;
  const char* foreign;
  const char* ours;
  std::uint64_t slowed;
};

// An operation of a tool is never just ours: it has more in it, or less. What is the same is which
// path of the kernel it takes.
constexpr Row kRows[] = {
    {"stress-ng --exec", "stress-ng/exec", "exec/fork-exec-static", kSlowedExec},
    {"stress-ng --mmap", "stress-ng/mmap", "mmap/map-unmap-anon-4k-touched", 0},
    {"stress-ng --mremap", "stress-ng/mremap", "mmap/mremap-move-vmas-16", kSlowedMremap},
    {"stress-ng --vdso", "stress-ng/vdso", "vdso/gettimeofday", kSlowedGettimeofday},
    {"perf bench syscall execve", "perf-bench/execve", "exec/fork-exec-static", kSlowedExec},
    {"perf bench syscall fork", "perf-bench/fork", "exec/fork-exit", 0},
};

bool is_of(const Metric& metric, std::span<const CrossCheckPlan> plans) {
  return std::any_of(plans.begin(), plans.end(), [&](const CrossCheckPlan& plan) {
    return metric.experiment == plan.foreign || metric.experiment == plan.start;
  });
}

/// Operations of each sample; 0: no boot has the experiment.
double batch_of(std::span<const Boot> boots, arch::Arch arch, const std::string& experiment) {
  for (const Boot& boot : boots) {
    if (boot.arch != arch) continue;
    for (const Measured& measured : boot.experiments) {
      if (measured.experiment == experiment) return measured.batch;
    }
  }
  return 0;
}

/// Values are of one operation; the runs had `of_many` and `of_few` of them.
std::vector<LayoutValue> difference_of(const std::vector<LayoutValue>& many, double of_many,
                                       const std::vector<LayoutValue>& few, double of_few) {
  std::vector<LayoutValue> result;
  for (const LayoutValue& one : many) {
    const auto start = std::find_if(
        few.begin(), few.end(), [&](const LayoutValue& other) { return other.seed == one.seed; });
    if (start == few.end()) continue;
    result.push_back(
        {one.seed, (one.value * of_many - start->value * of_few) / (of_many - of_few)});
  }
  return result;
}

/// `metric` without what the tool takes to start and to end.
Metric without_start(Metric metric, std::span<const Metric> all, const std::string& start,
                     std::span<const Boot> boots) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Metric& other) {
    return other.arch == metric.arch && other.experiment == start &&
           other.measure == metric.measure;
  });
  const double of_many = batch_of(boots, metric.arch, metric.experiment);
  const double of_few = batch_of(boots, metric.arch, start);
  for (const Side side : {Side::A, Side::B, Side::Control, Side::Slowed}) {
    std::vector<LayoutValue>& values = values_of(metric, side);
    if (found == all.end() || of_many <= of_few) {
      values.clear();
    } else {
      values = difference_of(values, of_many, values_of(*found, side), of_few);
    }
  }
  return metric;
}

const ProfileDifference* slowed_profile(std::span<const ProfileDifference> profiles,
                                        arch::Arch arch, const std::string& experiment) {
  const auto found =
      std::find_if(profiles.begin(), profiles.end(), [&](const ProfileDifference& profile) {
        return profile.with == Side::Slowed && profile.arch == arch &&
               profile.experiment == experiment;
      });
  return found == profiles.end() ? nullptr : &*found;
}

double difference_in(const ProfileDifference& profile, const KnownCost& known) {
  for (const SymbolDifference& symbol : profile.symbols) {
    if (symbol.space == known.space && symbol.symbol == known.function) {
      return static_cast<double>(symbol.difference());
    }
  }
  return 0;
}

}  // namespace

std::optional<double> added_in_function(std::span<const ProfileDifference> profiles,
                                        const KnownCost& known, const std::string& experiment,
                                        const std::string& start) {
  const ProfileDifference* const many = slowed_profile(profiles, known.arch, experiment);
  if (many == nullptr) return std::nullopt;
  double difference = difference_in(*many, known);
  auto operations = static_cast<double>(many->operations);
  if (!start.empty()) {
    const ProfileDifference* const few = slowed_profile(profiles, known.arch, start);
    if (few == nullptr || few->layouts != many->layouts) return std::nullopt;
    difference -= difference_in(*few, known);
    operations -= static_cast<double>(few->operations);
  }
  if (operations <= 0) return std::nullopt;
  return difference / operations;
}

std::vector<CrossCheckPlan> cross_check_plans(const std::vector<std::string_view>& ours) {
  std::vector<CrossCheckPlan> plans;
  for (const Row& row : kRows) {
    if (std::find(ours.begin(), ours.end(), row.ours) == ours.end()) continue;
    plans.push_back(
        {row.tool, row.foreign, std::string(row.foreign) + "-start", row.ours, row.slowed});
  }
  return plans;
}

std::vector<const Experiment*> foreign_experiments(std::span<const CrossCheckPlan> plans) {
  std::vector<const Experiment*> chosen;
  for (const Experiment& one : experiments()) {
    if (std::any_of(plans.begin(), plans.end(), [&](const CrossCheckPlan& plan) {
          return one.name == plan.foreign || one.name == plan.start;
        })) {
      chosen.push_back(&one);
    }
  }
  return chosen;
}

std::vector<Metric> take_foreign(std::vector<Metric>& metrics, std::span<const Boot> boots,
                                 std::span<const CrossCheckPlan> plans) {
  const auto end = std::stable_partition(
      metrics.begin(), metrics.end(), [&](const Metric& metric) { return !is_of(metric, plans); });
  const std::vector<Metric> all(std::make_move_iterator(end),
                                std::make_move_iterator(metrics.end()));
  metrics.erase(end, metrics.end());
  std::vector<Metric> foreign;
  for (const Metric& metric : all) {
    const auto plan = std::find_if(plans.begin(), plans.end(), [&](const CrossCheckPlan& one) {
      return one.foreign == metric.experiment;
    });
    if (plan == plans.end()) continue;  // A start.
    foreign.push_back(plan->start.empty() ? metric
                                          : without_start(metric, all, plan->start, boots));
  }
  return foreign;
}

}  // namespace sealvisor::bench
