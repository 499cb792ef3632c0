// Choosing and listing scenarios.
#pragma once

#include <string>
#include <vector>

#include "guest/scenario/plan.h"
#include "guest/scenario/scenario.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

/// The scenarios that any of `patterns` (fnmatch(3)) names, each once, in the order of the list;
/// without patterns those that run by default, or with `full` all that are no control, lie or
/// benchmark. Errors (Usage): a pattern that names none; the
/// message has names that look like it.
[[nodiscard]] Result<std::vector<const scenario::Scenario*>> choose_scenarios(
    const std::vector<std::string>& patterns, bool full = false);

/// Whether `scenario` is there for `sealvisor lifetime` alone: what it does would be a violation.
[[nodiscard]] bool for_lifetime(const scenario::Scenario& scenario);

/// Whether `sealvisor verify` can judge what `patterns` name. Errors (Usage): one of them names
/// scenarios of another command.
[[nodiscard]] Status check_verified(const std::vector<std::string>& patterns);

/// At most three names of scenarios that `word` may have meant, best first.
[[nodiscard]] std::vector<std::string> close_matches(const std::string& word);

/// One item for each scenario, with its usual count; for a scenario of cells one for each mapping
/// that a guest of `arch` may have (`full`) or has usually. Cells are numbered from 1 on.
[[nodiscard]] std::vector<scenario::PlanItem> plan_of(
    const std::vector<const scenario::Scenario*>& scenarios, arch::Arch arch, bool full = false);

/// A table for people.
[[nodiscard]] std::string list_scenarios(std::size_t width);
/// A JSON array of {name, kind, description, count, by_default, full}, and a '\n'.
[[nodiscard]] std::string list_scenarios_json();

}  // namespace sealvisor::app
