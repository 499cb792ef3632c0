// Doing what a plan asks for, item by item.
#pragma once

#include "guest/agent/process.h"
#include "guest/agent/smaps.h"
#include "guest/scenario/plan.h"

namespace sealvisor::agent {

/// Runs the items of `plan` in order and rings for each: a scenario that fails is said on the
/// console and does not stop the next one. `known`: the mappings of this process, as announced.
void run_plan(Agent& agent, const MappingTable& known, const scenario::Plan& plan);

}  // namespace sealvisor::agent
