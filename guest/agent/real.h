// The real programs of `sealvisor compat --real`, unpacked from the host's archive into /real.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/scenario/scenario.h"

namespace sealvisor::agent {

/// Runs real/uml or real/criu. `done`: how many of its steps came out right (report::RealRun). What
/// it prints goes to the console, each line with kRealPrefix. 0, or the errno that kept it from
/// being run at all.
[[nodiscard]] int run_real(Agent& agent, const scenario::Scenario& scenario, std::uint32_t& done);

}  // namespace sealvisor::agent
