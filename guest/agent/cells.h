// Cells: one operation against one system mapping, in a victim that may die of it.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/agent/smaps.h"
#include "guest/scenario/plan.h"

namespace sealvisor::agent {

/// Runs one cell in a fresh child. `known`: the mappings of init; a mapping that init does not have
/// is skipped without a child. 0, or the errno that kept the cell from being tried. What the kernel
/// answers to the operation is no error.
[[nodiscard]] int run_cell(Agent& agent, const MappingTable& known, const scenario::PlanItem& item);

}  // namespace sealvisor::agent
