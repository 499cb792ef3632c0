// Cross-checks: what is compared with what, and how the numbers of a tool become those of one of
// its operations. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/experiment.h"
#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// The cross-checks of those experiments of ours that are among `ours`.
[[nodiscard]] std::vector<CrossCheckPlan> cross_check_plans(
    const std::vector<std::string_view>& ours);

/// The experiments that `plans` need beside ours, each once, in the order in which they run.
[[nodiscard]] std::vector<const Experiment*> foreign_experiments(
    std::span<const CrossCheckPlan> plans);

/// Moves the metrics of the tools out of `metrics`. Where a plan has a start, values are of the
/// operations alone: in each layout what the run of more operations took more than the run of
/// fewer, of one of the operations that it had more; a layout that lacks one of them has no value.
/// `boots` tell how many operations the runs had.
[[nodiscard]] std::vector<Metric> take_foreign(std::vector<Metric>& metrics,
                                               std::span<const Boot> boots,
                                               std::span<const CrossCheckPlan> plans);

/// How many instructions the slowed kernel has more in the function of `known`, in one operation of
/// `experiment`; `start` as in CrossCheckPlan. nullopt: there is no profile that tells.
[[nodiscard]] std::optional<double> added_in_function(std::span<const ProfileDifference> profiles,
                                                      const KnownCost& known,
                                                      const std::string& experiment,
                                                      const std::string& start);

}  // namespace sealvisor::bench
