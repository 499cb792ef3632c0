// The plan: what the VMM asks one run of a guest to do. It lies in the initramfs as /plan.
//
// Text, lines that end in '\n'. The first line is `sealvisor-plan 1`. Then one item a line, words
// separated by one space, in the order in which they run:
//
//   cell <id> <mapping> <operation> <form>   one cell; <id> >= 1, the token of its messages
//   cell32 <id> <mapping> <operation> <form> the same in a 32-bit process
//   life <name> <count>                      scenario life/<name> or storm/<name>
//   control <name> [<count>]                 scenario control/<name>
//   seeded <scenario> <count> <seed> [emulated]
//                                            a scenario that takes a seed, 0 to 4294967295, by its
//                                            whole name; emulated: only what a lane of KVM can do
//   lie <name>                               scenario lie/<name>
//   compat <name>                            scenario compat/<name> or real/<name>
//   repeat-forkexec <count>                  scenario bench/fork-exec
//
// Anything else is an error that names the line; a plan with an error is not run at all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/scenario/scenario.h"
#include "guest/scenario/words.h"

namespace sealvisor::scenario {

inline constexpr std::string_view kPlanHeader = "sealvisor-plan 1";
/// Most bytes of a plan.
inline constexpr std::size_t kMaxPlanSize = 262'144;
/// Most items of a plan.
inline constexpr std::size_t kMaxPlanItems = 8192;
/// Largest cell id.
inline constexpr std::uint32_t kMaxCellId = 1'000'000;
/// Largest seed.
inline constexpr std::uint64_t kMaxSeed = 4'294'967'295;

/// One item. Views point into kScenarios and kMappings, never into the text it was read from.
struct PlanItem {
  const Scenario* scenario = nullptr;  ///< Never null in an item that was parsed.
  std::uint32_t count = 0;             ///< Every kind but Cells.
  std::uint32_t cell = 0;              ///< Kind Cells: its id.
  const Mapping* mapping = nullptr;    ///< Kind Cells only, and never null there.
  std::uint64_t seed = 1;              ///< Scenarios that are seeded.
  bool emulated = false;               ///< The same: only what a lane of KVM can do.
};

/// The items that `scenario` stands for in a guest of `arch`, with its usual count: one, or for
/// cells one for each mapping (`full`: of all, else of the usual ones). `cell`: the last cell id
/// that was given. Calls `add` with each.
template <typename Add>
constexpr void expand(const Scenario& scenario, arch::Arch arch, bool full, std::uint32_t& cell,
                      Add add) {
  if (scenario.kind != Kind::Cells) {
    add(PlanItem{&scenario, scenario.count, 0, nullptr});
    return;
  }
  for (const Mapping& mapping : kMappings) {
    if ((full || mapping.by_default) && applies(scenario, mapping, arch)) {
      add(PlanItem{&scenario, 0, ++cell, &mapping});
    }
  }
}

/// An item, or why the line is none: `error` is empty exactly when `item` is good.
struct ParsedItem {
  PlanItem item{};
  std::string_view error{};
};

namespace detail {

/// The scenario of that kind whose name has `name` behind its slash.
[[nodiscard]] constexpr const Scenario* find_under(Kind kind, std::string_view name) {
  for (const Scenario& scenario : kScenarios) {
    if (scenario.kind == kind && short_name(scenario) == name) return &scenario;
  }
  return nullptr;
}

/// The kind whose scenarios `verb` introduces by name.
[[nodiscard]] constexpr std::optional<Kind> kind_of(std::string_view verb) {
  if (verb == "life") return Kind::Life;
  if (verb == "control") return Kind::Control;
  if (verb == "lie") return Kind::Lie;
  if (verb == "compat") return Kind::Sequence;
  return std::nullopt;
}

[[nodiscard]] constexpr ParsedItem parse_cell(std::string_view rest, bool compat) {
  ParsedItem parsed;
  parsed.item.cell = number(next_word(rest), kMaxCellId);
  if (parsed.item.cell == 0) return {{}, "a cell id is a number of 1 to 1000000"};
  parsed.item.mapping = find_mapping(next_word(rest), compat);
  if (parsed.item.mapping == nullptr) return {{}, "no such mapping"};
  const Operation* const operation = operation_named(next_word(rest));
  if (operation == nullptr) return {{}, "no such operation"};
  const auto form = form_named(next_word(rest));
  if (!form) return {{}, "no such form"};
  parsed.item.scenario = find_cells(*operation, *form);
  if (parsed.item.scenario == nullptr) return {{}, "this operation has no such form"};
  if (!rest.empty()) return {{}, "words after the last one that is expected"};
  return parsed;
}

[[nodiscard]] constexpr ParsedItem parse_seeded(std::string_view rest) {
  ParsedItem parsed;
  parsed.item.scenario = find(next_word(rest));
  if (parsed.item.scenario == nullptr || !parsed.item.scenario->seeded) {
    return {{}, "no such scenario that takes a seed"};
  }
  parsed.item.count = number(next_word(rest), kMaxCount);
  if (parsed.item.count == 0) return {{}, "a count is a number of 1 to 100000"};
  const std::string_view seed = next_word(rest);
  if (seed.empty() || seed.size() > 10) return {{}, "a seed is a number of 0 to 4294967295"};
  parsed.item.seed = 0;
  for (const char c : seed) {
    if (c < '0' || c > '9') return {{}, "a seed is a number of 0 to 4294967295"};
    parsed.item.seed = parsed.item.seed * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (parsed.item.seed > kMaxSeed) return {{}, "a seed is a number of 0 to 4294967295"};
  parsed.item.emulated = rest == "emulated";
  if (!rest.empty() && !parsed.item.emulated) {
    return {{}, "words after the last one that is expected"};
  }
  return parsed;
}

}  // namespace detail

/// Reads one line (without its '\n') behind the header.
[[nodiscard]] constexpr ParsedItem parse_plan_line(std::string_view line) {
  std::string_view rest = line;
  const std::string_view verb = next_word(rest);
  if (verb == "cell" || verb == "cell32") return detail::parse_cell(rest, verb == "cell32");
  if (verb == "seeded") return detail::parse_seeded(rest);

  ParsedItem parsed;
  bool counted = true;
  if (verb == "repeat-forkexec") {
    parsed.item.scenario = find("bench/fork-exec");
  } else if (const auto kind = detail::kind_of(verb)) {
    parsed.item.scenario = detail::find_under(*kind, next_word(rest));
    if (parsed.item.scenario == nullptr || parsed.item.scenario->seeded) {
      return {{}, "no such scenario"};
    }
    // A control that takes a count may leave it out; one that takes none must.
    counted = parsed.item.scenario->count != 0 && (*kind == Kind::Life || !rest.empty());
    parsed.item.count = parsed.item.scenario->count;
  } else {
    return {{}, "no such item"};
  }
  if (counted) {
    parsed.item.count = number(next_word(rest), kMaxCount);
    if (parsed.item.count == 0) return {{}, "a count is a number of 1 to 100000"};
  }
  if (!rest.empty()) return {{}, "words after the last one that is expected"};
  return parsed;
}

/// A parsed plan, or the first thing that is wrong with it.
struct Plan {
  std::array<PlanItem, kMaxPlanItems> items{};
  std::size_t size = 0;
  std::string_view error{};  ///< Empty: the plan is good.
  std::size_t line = 0;      ///< 1-based line of the error.
  std::string_view text{};   ///< That line, in the text given.
};

/// Reads a whole plan into `plan`. True if it is good; else `plan.error` says why not.
[[nodiscard]] constexpr bool parse_plan(std::string_view text, Plan& plan) {
  plan.size = 0;
  plan.error = {};
  plan.line = 0;
  if (text.size() > kMaxPlanSize) {
    plan.error = "longer than 262144 bytes";
    return false;
  }
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    plan.text = text.substr(0, end);
    ++plan.line;
    if (end == std::string_view::npos) {
      plan.error = "cut short: the last line does not end";
      return false;
    }
    text = text.substr(end + 1);
    if (plan.line == 1) {
      if (plan.text == kPlanHeader) continue;
      plan.error = "not a plan of this version";
      return false;
    }
    const ParsedItem parsed = parse_plan_line(plan.text);
    if (!parsed.error.empty()) {
      plan.error = parsed.error;
      return false;
    }
    if (plan.size == kMaxPlanItems) {
      plan.error = "more than 8192 items";
      return false;
    }
    plan.items[plan.size++] = parsed.item;
  }
  if (plan.line == 0) plan.error = "empty";
  return plan.error.empty();
}

}  // namespace sealvisor::scenario
