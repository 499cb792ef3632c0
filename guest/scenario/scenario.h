// The one list of what is tried in a guest, shared by the agent (which does it) and the VMM (which
// writes the plan and judges the outcome). Constant tables only: no allocation, no OS.
//
// A *scenario* has a name that people type (`munmap/first-page`). A scenario of kind Cells stands
// for one *cell* per system mapping: mapping x operation x form. These are made of the operations
// in operations.h; the others are in others.h. The three words of a cell are the ones that the
// doorbell messages and the reports carry.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/protocol/doorbell.h"
#include "guest/scenario/mapping.h"
#include "guest/scenario/operations.h"
#include "guest/scenario/others.h"

namespace sealvisor::scenario {

namespace detail {

/// "munmap/first-page", "mprotect/none", "mprotect/none-last-page": the first dash of the
/// operation's name becomes the slash; the form is left out where it is the whole or the only one.
struct CellName {
  std::array<char, protocol::kNameSize> text{};
  std::size_t size = 0;

  constexpr void set(const Operation& operation, Form form) {
    const std::size_t dash = operation.name.find('-');
    const bool family = dash != std::string_view::npos;
    add(operation.name.substr(0, dash));
    add("/");
    if (family) add(operation.name.substr(dash + 1));
    if (family && (form == Form::Whole || operation.forms.size() == 1)) return;
    if (family) add("-");
    add(name_of(form));
  }
  [[nodiscard]] constexpr std::string_view view() const { return {text.data(), size}; }

 private:
  // A name that is too long leaves the array, which no compiler lets pass in a constant.
  constexpr void add(std::string_view part) {
    for (const char c : part) text.at(size++) = c;
    text.at(size) = '\0';
  }
};

/// Calls `visit(operation, form)` with each pair that is tried, in the order of the list.
template <typename Visit>
constexpr void each_pair(Visit visit) {
  for (const Operation& operation : kOperations) {
    for (std::size_t form = 0; form < kFormCount; ++form) {
      if (operation.forms.has(static_cast<Form>(form))) visit(operation, static_cast<Form>(form));
    }
  }
}

inline constexpr std::size_t kCellScenarios = [] {
  std::size_t count = 0;
  each_pair([&](const Operation&, Form) { ++count; });
  return count;
}();

inline constexpr auto kCellNames = [] {
  std::array<CellName, kCellScenarios> names{};
  std::size_t next = 0;
  each_pair([&](const Operation& operation, Form form) { names[next++].set(operation, form); });
  return names;
}();

}  // namespace detail

/// Every scenario, in the order in which they run: lives, cells, and what runs on request only.
inline constexpr auto kScenarios = [] {
  std::array<Scenario, kLives.size() + detail::kCellScenarios + kRequested.size()> all{};
  std::size_t next = 0;
  for (const Scenario& life : kLives) all[next++] = life;
  std::size_t name = 0;
  detail::each_pair([&](const Operation& operation, Form form) {
    all[next++] = {.name = detail::kCellNames[name++].view(),
                   .description = operation.description,
                   .kind = Kind::Cells,
                   .operation = &operation,
                   .form = form,
                   .tier = operation.by_default.has(form) ? Tier::Default : Tier::Full};
  });
  for (const Scenario& requested : kRequested) all[next++] = requested;
  return all;
}();

/// The scenario called `name`; nullptr if there is none.
[[nodiscard]] constexpr const Scenario* find(std::string_view name) {
  for (const Scenario& scenario : kScenarios) {
    if (scenario.name == name) return &scenario;
  }
  return nullptr;
}

/// The scenario that a cell belongs to; nullptr if the operation has no such form.
[[nodiscard]] constexpr const Scenario* find_cells(const Operation& operation, Form form) {
  for (const Scenario& scenario : kScenarios) {
    if (scenario.operation == &operation && scenario.form == form) return &scenario;
  }
  return nullptr;
}

/// The part of a scenario's name behind the slash: the word that plan lines other than `cell` use.
[[nodiscard]] constexpr std::string_view short_name(const Scenario& scenario) {
  return scenario.name.substr(scenario.name.find('/') + 1);
}

/// Whether the scenario has cells for `mapping` in a guest of `arch`.
[[nodiscard]] constexpr bool applies(const Scenario& scenario, const Mapping& mapping,
                                     arch::Arch arch) {
  const Operation& operation = *scenario.operation;
  return (!mapping.only || *mapping.only == arch) && (!operation.only || *operation.only == arch) &&
         !(operation.native && mapping.compat);
}

}  // namespace sealvisor::scenario
