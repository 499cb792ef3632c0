// Where instructions are that one kernel executed and another did not. Pure.
#pragma once

#include <span>
#include <vector>

#include "bench/result.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// Differences of each experiment between a and `with`, over the layouts that both have with a
/// profile; architectures and experiments in the order of `boots`. Errors (GuestFailed): a profile
/// whose counts do not sum up to its samples, a symbol that it has twice, sides that did not do
/// equally many operations: nothing that such numbers say can be trusted.
[[nodiscard]] Result<std::vector<ProfileDifference>> profile_differences(
    std::span<const Boot> boots, Side with);

}  // namespace sealvisor::bench
