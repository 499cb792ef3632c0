// Running the user's own programs.
#pragma once

#include "guest/agent/process.h"

namespace sealvisor::agent {

/// Runs the programs of the list /programs, one after the other, and rings for each; nothing if
/// there is no such list. Call it when this process has announced its mappings. A list that can't
/// be read is a scenario "programs" that failed.
void run_programs(Agent& agent);

}  // namespace sealvisor::agent
