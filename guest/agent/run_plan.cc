#include "guest/agent/run_plan.h"

#include <cerrno>
#include <cstring>

#include "guest/agent/cells.h"
#include "guest/agent/console.h"
#include "guest/agent/controls.h"
#include "guest/agent/life.h"
#include "guest/agent/real.h"
#include "guest/agent/sequences.h"
#include "guest/agent/storm.h"

namespace sealvisor::agent {
namespace {

/// Cells of one scenario that follow each other make one run of that scenario. The index of the
/// first item behind them.
std::size_t run_cells(Agent& agent, const MappingTable& known, const scenario::Plan& plan,
                      std::size_t first) {
  const scenario::Scenario& scenario = *plan.items[first].scenario;
  agent.doorbell.scenario_begin(scenario.name);
  int status = 0;
  std::uint32_t done = 0;
  std::size_t i = first;
  for (; i < plan.size && plan.items[i].scenario == &scenario; ++i) {
    const int error = run_cell(agent, known, plan.items[i]);
    if (error == 0) ++done;
    if (status == 0) status = error;
  }
  agent.doorbell.scenario_end(scenario.name, status, done);
  return i;
}

void run_item(Agent& agent, const scenario::PlanItem& item) {
  const scenario::Scenario& scenario = *item.scenario;
  agent.doorbell.scenario_begin(scenario.name);
  int status = 0;
  std::uint32_t done = 0;
  switch (scenario.kind) {
    case scenario::Kind::Life:
      status = scenario.seeded ? run_storm(agent, item.seed, item.count, done)
                               : run_life(agent, scenario, item.count, done);
      break;
    case scenario::Kind::Control:
    case scenario::Kind::Lie:
      status = run_control(agent, item, done);
      break;
    case scenario::Kind::Sequence:
      status = scenario.name.starts_with("real/") ? run_real(agent, scenario, done)
                                                  : run_sequence(agent, scenario, done);
      break;
    case scenario::Kind::Benchmark:
      status = run_fork_exec(item.count, done);
      break;
    case scenario::Kind::Cells:
      status = EINVAL;  // run_cells takes these.
      break;
  }
  if (status != 0) {
    say("%.*s: stopped after %u: %s", static_cast<int>(scenario.name.size()), scenario.name.data(),
        done, std::strerror(status));
  }
  agent.doorbell.scenario_end(scenario.name, status, done);
}

}  // namespace

void run_plan(Agent& agent, const MappingTable& known, const scenario::Plan& plan) {
  for (std::size_t i = 0; i < plan.size;) {
    if (plan.items[i].scenario->kind == scenario::Kind::Cells) {
      i = run_cells(agent, known, plan, i);
    } else {
      run_item(agent, plan.items[i++]);
    }
  }
}

}  // namespace sealvisor::agent
