// Controls and lies: what checks the monitor itself.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"
#include "guest/scenario/plan.h"

namespace sealvisor::agent {

/// Runs an item whose scenario is of kind Control or Lie. 0, or the errno that stopped it. Some
/// never return.
[[nodiscard]] int run_control(Agent& agent, const scenario::PlanItem& item, std::uint32_t& done);

/// lie/vvar-from-boot: announces this process's mappings, anonymous memory as [vvar] among them.
/// `table`: what was announced. False: the reason is on the console.
[[nodiscard]] bool announce_false_vvar(Doorbell& doorbell, MappingTable& table);
/// lie/omit-vdso: announces this process's mappings but [vdso]; touches all. `table`: what there
/// is.
[[nodiscard]] bool announce_without_vdso(Doorbell& doorbell, MappingTable& table);

}  // namespace sealvisor::agent
