// What shows that a run measures what it says: known costs, repetitions, tools of others. Pure.
#pragma once

#include <span>
#include <vector>

#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// Whether each known cost was found, to the instruction and in its function, and everything else
/// is equivalent. `metrics` have been compared with their slowed side; `profiles` may hold others
/// too. Precondition: `known` is not empty.
[[nodiscard]] Sensitivity judge_sensitivity(std::span<const KnownCost> known,
                                            std::span<const Metric> metrics,
                                            std::span<const ProfileDifference> profiles);

/// The same by a clock, which does not know functions: each known cost that is large enough to be
/// asked for (kAskedBounds) must be neither equivalent nor faster. What a cost takes at least is
/// what the guests say that a `nop` takes, for the slowed kernel is slowed by those. Whether
/// everything else is equivalent is not asked: a kernel that was linked anew may well be faster.
[[nodiscard]] Sensitivity judge_sensitivity_by_time(std::span<const KnownCost> known,
                                                    std::span<const Metric> metrics,
                                                    std::span<const RunCounter> counters);

/// Compares each boot of `repeats` with the one of `boots` that had the same kernel and seed,
/// sample by sample. Only counts of instructions are to be the same.
[[nodiscard]] Repeats judge_repeats(std::span<const Boot> boots, std::span<const Boot> repeats);

/// The ratio b / a of each plan, as we and as the tool measured it, for each architecture that has
/// one of them. They agree if their 95 % intervals meet or lie less than `relative` apart: less
/// than what matters. Where the metrics were compared with their slowed side, the negative control
/// too, by what is `known` of ours and by `profiles`.
[[nodiscard]] std::vector<CrossCheck> judge_cross_checks(
    std::span<const CrossCheckPlan> plans, std::span<const Metric> metrics, double relative,
    std::span<const KnownCost> known, std::span<const ProfileDifference> profiles,
    MannWhitneyTable& table);

}  // namespace sealvisor::bench
