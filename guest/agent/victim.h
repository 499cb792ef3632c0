// The victim of a cell: a fresh process that announces its mappings, touches, asks the kernel for
// one operation, touches again, and ends. It may die of it. Of either word size.
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/scenario/plan.h"

namespace sealvisor::agent {

/// Does what the cell `item` says, and ends this process. Its exit code: 0, or the errno that kept
/// the cell from being tried. What the kernel answers to the operation is no error.
[[noreturn]] void run_victim(Doorbell& doorbell, const scenario::PlanItem& item);

/// CellBegin and CellEnd of a cell that is not tried, for `reason`.
void skip_cell(Doorbell& doorbell, const scenario::PlanItem& item, protocol::Skip reason);

}  // namespace sealvisor::agent
