// Sequences of known software's calls on system mappings, each in a process of its own.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/scenario/scenario.h"

namespace sealvisor::agent {

/// Runs a scenario of kind Sequence: /helpers/compat (guest/compat/program.h), which rings for each
/// call. `done`: 1 if it came to its end, whatever the kernel answered to its calls. 0, or the
/// errno that kept it from being run.
[[nodiscard]] int run_sequence(Agent& agent, const scenario::Scenario& scenario,
                               std::uint32_t& done);

}  // namespace sealvisor::agent
