// A person at the guest's console: `sealvisor boot`.
#pragma once

#include "guest/agent/process.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// Reads commands from standard input, a line each, until `exit` or the end of input; `help` lists
/// them. `known`: the mappings of this process, as announced.
void prompt(Agent& agent, const MappingTable& known);

}  // namespace sealvisor::agent
