// The process-life scenarios: processes come and go, and every system mapping stays what it is.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/scenario/scenario.h"

namespace sealvisor::agent {

/// Runs a scenario of kind Life. `done`: how many processes, threads or signals came out right.
/// 0, or the errno that stopped it.
[[nodiscard]] int run_life(Agent& agent, const scenario::Scenario& scenario, std::uint32_t count,
                           std::uint32_t& done);

/// Runs scenario bench/fork-exec: `count` times fork and exec, one after the other, silent.
[[nodiscard]] int run_fork_exec(std::uint32_t count, std::uint32_t& done);

}  // namespace sealvisor::agent
