// What interception costs, beside what is judged and never a part of it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/counters.h"
#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// Each boot of `watched` beside the one of `boots` with its kernel and seed, experiment by
/// experiment. Precondition: `watched` is not empty.
[[nodiscard]] Watched watched_of(std::span<const Boot> boots, std::span<const WatchedBoot> watched,
                                 std::span<const RunCounter> counters);

}  // namespace sealvisor::bench
