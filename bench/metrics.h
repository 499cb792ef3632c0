// From samples to metrics: one value for each layout. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/counters.h"
#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

struct Metrics {
  std::vector<Metric> metrics;  ///< Values only: nothing is compared yet.
  std::vector<Missing> missing;
};

/// `whole`: each boot should have had each experiment; where one is absent, it failed. Errors
/// (GuestFailed): samples that contradict each other, as conclude() says. `counters`: of these
/// boots.
[[nodiscard]] Result<Metrics> metrics_of(std::span<const Boot> boots, Lane lane,
                                         std::span<const RunCounter> counters, bool whole);

/// The median of the samples, for one operation. `frequency`: of nanoseconds only. Precondition:
/// there are samples of `measure`.
[[nodiscard]] double layout_value(const Measured& measured, Measure measure,
                                  std::uint64_t frequency);

}  // namespace sealvisor::bench
