// Controls and lies: what checks the monitor itself.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/scenario/scenario.h"

namespace sealvisor::agent {

/// Runs a scenario of kind Control or Lie. 0, or the errno that stopped it. Some never return.
[[nodiscard]] int run_control(Agent& agent, const scenario::Scenario& scenario, std::uint32_t count,
                              std::uint32_t& done);

}  // namespace sealvisor::agent
