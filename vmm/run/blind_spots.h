// What this lane cannot see, and what no lane tries: printed beside every verdict.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::run {

/// One sentence each, what all lanes have in common last. Depends on the lane, the architecture and
/// the checks that were asked for, not on what a run found.
[[nodiscard]] std::vector<std::string> blind_spots(const RunRequest& request,
                                                   const report::Run& run);

}  // namespace sealvisor::run
