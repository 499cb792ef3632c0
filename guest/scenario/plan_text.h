// Writing plans: the VMM's side of guest/scenario/plan.h. What it writes, parse_plan reads back.
#pragma once

#include <string>

#include "guest/scenario/plan.h"

namespace sealvisor::scenario {

/// The line of `item`, with its '\n'. Precondition: item.scenario is not null.
[[nodiscard]] inline std::string plan_line(const PlanItem& item) {
  const Scenario& scenario = *item.scenario;
  std::string line;
  if (scenario.seeded) {
    line.append("seeded ").append(scenario.name).append(" ").append(std::to_string(item.count));
    line.append(" ").append(std::to_string(item.seed));
    return line + (item.emulated ? " emulated\n" : "\n");
  }
  switch (scenario.kind) {
    case Kind::Cells:
      line.append(item.mapping->compat ? "cell32 " : "cell ").append(std::to_string(item.cell));
      line.append(" ").append(item.mapping->smaps_name);
      line.append(" ").append(scenario.operation->name).append(" ").append(name_of(scenario.form));
      break;
    case Kind::Life:
      line.append("life ").append(short_name(scenario));
      line.append(" ").append(std::to_string(item.count));
      break;
    case Kind::Control:
      line.append("control ").append(short_name(scenario));
      if (scenario.count != 0) line.append(" ").append(std::to_string(item.count));
      break;
    case Kind::Lie:
      line.append("lie ").append(short_name(scenario));
      break;
    case Kind::Sequence:
      line.append("compat ").append(short_name(scenario));
      break;
    case Kind::Benchmark:
      line.append("repeat-forkexec ").append(std::to_string(item.count));
      break;
  }
  return line + "\n";
}

}  // namespace sealvisor::scenario
