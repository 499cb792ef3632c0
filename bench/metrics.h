// From samples to metrics: one value for each layout. Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

struct Metrics {
  std::vector<Metric> metrics;  ///< Values only: nothing is compared yet.
  std::vector<Missing> missing;
};

/// `whole`: each boot should have had each experiment; where one is absent, it failed. Errors
/// (GuestFailed): samples that contradict each other, as conclude() says.
[[nodiscard]] Result<Metrics> metrics_of(std::span<const Boot> boots, Lane lane, bool whole);

}  // namespace sealvisor::bench
