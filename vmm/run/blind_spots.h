// What this lane cannot see: printed beside every verdict.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::run {

/// One sentence each. Depends on the lane and the architecture, not on what a run found.
[[nodiscard]] std::vector<std::string> blind_spots(const RunRequest& request,
                                                   const report::Run& run);

}  // namespace sealvisor::run
