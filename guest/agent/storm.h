// Honest storms: many writes to page tables by many processes, beside the system mappings and
// around them. Nothing of it may be reported.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"

namespace sealvisor::agent {

/// Runs `count` processes one after the other, each of which does what `seed` picks. `done`: how
/// many came out right. 0, or an errno.
[[nodiscard]] int run_storm(Agent& agent, std::uint64_t seed, std::uint32_t count,
                            std::uint32_t& done);

}  // namespace sealvisor::agent
