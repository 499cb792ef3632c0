// From what guests measured to what the program says and exits with. Pure.
//
// A run is void, and no verdict of it counts, unless each metric of the A/A control (the recipe of
// a in another layout, against a) is equivalent: otherwise something besides the seal differs
// between boots, and it could be what was found. Of time it is void too if the guests' counters
// disagree on their frequency.
//
// Exit codes (DESIGN section 5):
//   0  all was measured; what was asked for by --fail-on did not occur
//   1  the run is void; the sensitivity control, a cross-check or a repetition failed; a metric is
//      slower than its baseline; --fail-on slower: b is slower in a metric; --fail-on any: a metric,
//      or its baseline, is anything but equivalent, or one of the baseline was not measured
//   4  a guest failed, an experiment failed, or the user interrupted; what is complete is reported.
//      1 outranks it if a regression is sure all the same.
#pragma once

#include <optional>
#include <vector>

#include "bench/baseline.h"
#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// What is decided before the run.
struct Rules {
  Bounds bounds{};
  FailOn fail_on = FailOn::Nothing;
  std::optional<Baseline> baseline{};
  std::vector<Same> may_differ{};  ///< From the baseline.
};

/// Errors (GuestFailed): samples that contradict each other (unequal batches of an experiment,
/// unequal numbers of user and kernel samples, two boots of one side with one seed, a profile that
/// does not sum up). Errors (Usage): the baseline is of something else.
[[nodiscard]] Result<Report> conclude(Collected collected, const Rules& rules);

}  // namespace sealvisor::bench
