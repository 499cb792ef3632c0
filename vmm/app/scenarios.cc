#include "vmm/app/scenarios.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "guest/scenario/select.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

using scenario::kScenarios;
using scenario::Scenario;

namespace {

/// Insertions, deletions and replacements that turn `from` into `to` (Levenshtein).
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t k = 1; k <= to.size(); ++k) {
      const std::size_t replaced = diagonal + (from[i - 1] == to[k - 1] ? 0 : 1);
      diagonal = std::exchange(row[k], std::min({row[k] + 1, row[k - 1] + 1, replaced}));
    }
  }
  return row.back();
}

const char* name_of(scenario::Tier tier) {
  switch (tier) {
    case scenario::Tier::Default:
      return "default";
    case scenario::Tier::Full:
      return "full";
    case scenario::Tier::OnRequest:
      return "on request";
  }
  return "unknown";
}

/// "unmap it (its first page)": what the scenario does, to which part.
std::string description_of(const Scenario& scenario) {
  std::string text(scenario.description);
  if (scenario.kind != scenario::Kind::Cells) return text;
  switch (scenario.form) {
    case scenario::Form::Whole:
      break;
    case scenario::Form::FirstPage:
      return text + " (its first page)";
    case scenario::Form::LastPage:
      return text + " (its last page)";
    case scenario::Form::Neighbour:
      return text + " (its edge page and one next to it)";
    case scenario::Form::Empty:
      return text + " (no byte of it)";
  }
  return text;
}

const char* name_of(scenario::Kind kind) {
  switch (kind) {
    case scenario::Kind::Life:
      return "life";
    case scenario::Kind::Cells:
      return "cells";
    case scenario::Kind::Control:
      return "control";
    case scenario::Kind::Lie:
      return "lie";
    case scenario::Kind::Sequence:
      return "sequence";
    case scenario::Kind::Benchmark:
      return "benchmark";
  }
  return "unknown";
}

}  // namespace

std::vector<std::string> close_matches(const std::string& word) {
  if (word.empty()) return {};
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const Scenario& scenario : kScenarios) {
    const std::string name(scenario.name);
    std::optional<std::size_t> far;
    // A part of a name is as good as a slip of the pen.
    if (word.size() >= 3 && name.find(word) != std::string::npos) far = 1;
    for (const std::string_view meant : {scenario.name, scenario::short_name(scenario)}) {
      const std::size_t slips = distance(word, meant);
      if (slips <= 1 + meant.size() / 4 && slips < word.size()) {
        far = std::min(far.value_or(slips), slips);
      }
    }
    if (far) ranked.emplace_back(*far, name);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& one, const auto& other) { return one.first < other.first; });
  std::vector<std::string> names;
  for (const auto& [far, name] : ranked) {
    if (names.size() < 3) names.push_back(name);
  }
  return names;
}

Result<std::vector<const Scenario*>> choose_scenarios(const std::vector<std::string>& patterns,
                                                      bool full) {
  for (const std::string& pattern : patterns) {
    const bool any = std::any_of(kScenarios.begin(), kScenarios.end(), [&](const Scenario& one) {
      return scenario::matches(one, pattern.c_str());
    });
    if (any) continue;
    const std::vector<std::string> close = close_matches(pattern);
    return Error{ExitCode::Usage,
                 fmt::format("no scenario matches '{}'; {}", report::printable(pattern),
                             close.empty() ? "`sealvisor scenarios` lists them"
                                           : fmt::format("close: {}", fmt::join(close, ", ")))};
  }
  std::vector<const Scenario*> chosen;
  for (const Scenario& scenario : kScenarios) {
    const bool asked = std::any_of(
        patterns.begin(), patterns.end(),
        [&](const std::string& pattern) { return scenario::matches(scenario, pattern.c_str()); });
    const bool usual =
        scenario.tier == scenario::Tier::Default || (full && scenario.tier == scenario::Tier::Full);
    if (patterns.empty() ? usual : asked) chosen.push_back(&scenario);
  }
  return chosen;
}

bool for_lifetime(const Scenario& scenario) {
  return scenario.name.starts_with("storm/") || scenario.name == "control/own-calls";
}

Status check_verified(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    for (const Scenario& scenario : kScenarios) {
      if (!scenario::matches(scenario, pattern.c_str())) continue;
      const char* const command = scenario.kind == scenario::Kind::Sequence ? "compat"
                                  : for_lifetime(scenario)                  ? "lifetime"
                                                                            : nullptr;
      if (command == nullptr) continue;
      return Error{ExitCode::Usage,
                   fmt::format("{} is for `sealvisor {}`", scenario.name, command)};
    }
  }
  return {};
}

std::vector<scenario::PlanItem> plan_of(const std::vector<const Scenario*>& scenarios,
                                        arch::Arch arch, bool full) {
  std::vector<scenario::PlanItem> plan;
  std::uint32_t cell = 0;
  for (const Scenario* scenario : scenarios) {
    scenario::expand(*scenario, arch, full, cell, [&](const auto& item) { plan.push_back(item); });
  }
  return plan;
}

std::string list_scenarios(std::size_t width) {
  std::vector<report::Row> rows;
  rows.reserve(kScenarios.size());
  for (const Scenario& scenario : kScenarios) {
    rows.push_back(
        {{std::string(scenario.name), name_of(scenario.tier),
          scenario.count == 0 ? "" : std::to_string(scenario.count), description_of(scenario)}});
  }
  return report::table({{"scenario"}, {"runs"}, {"count", 9, true}, {"what it does"}}, rows, width,
                       0, false);
}

std::string list_scenarios_json() {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Scenario& scenario : kScenarios) {
    list.push_back({{"name", scenario.name},
                    {"kind", name_of(scenario.kind)},
                    {"description", description_of(scenario)},
                    {"count", scenario.count},
                    {"by_default", scenario.tier == scenario::Tier::Default},
                    {"full", scenario.tier != scenario::Tier::OnRequest}});
  }
  return list.dump(2) + "\n";
}

}  // namespace sealvisor::app
