// Parts of reports as JSON values, for all documents that have them (json.h, compat_json.h,
// lifetime_json.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// Members keep the order in which they are written.
using Json = nlohmann::ordered_json;

/// "0x<hex>": a JSON number does not carry 64 bits everywhere.
[[nodiscard]] inline std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

template <typename T>
[[nodiscard]] Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

[[nodiscard]] Json json_of(const Observation& observation);
[[nodiscard]] Json json_of(const EntryChange& change);
[[nodiscard]] Json json_of(const Cell& cell);
[[nodiscard]] Json json_of(const Life& life);
[[nodiscard]] Json json_of(const Finding& finding);
[[nodiscard]] Json json_of(const MappingInfo& mapping);
[[nodiscard]] Json json_of(const Counts& counts);
[[nodiscard]] Json json_of(const Ending& ending);
[[nodiscard]] Json json_of(const LifeChange& change);
[[nodiscard]] Json json_of(const Cost& cost);
[[nodiscard]] Json json_of(const CodeLine& line);
[[nodiscard]] Json json_of(const Writer& writer);
[[nodiscard]] Json json_of(const Moment& moment);
[[nodiscard]] Json json_of(const PlacedMapping& placed);
[[nodiscard]] Json json_of(const Process& process);
[[nodiscard]] Json json_of(const Campaign::Row& row);
[[nodiscard]] Json json_of(const Program& program);
[[nodiscard]] Json json_of(const ProgramProcess& process);
[[nodiscard]] Json json_of(const ProcessMapping& mapping);
[[nodiscard]] Json json_of(const ProgramSpace& space);
[[nodiscard]] Json json_of(const ProgramMapping& mapping);
[[nodiscard]] Json json_of(const ProgramViolation& violation);
[[nodiscard]] Json json_of(const Run& run);
[[nodiscard]] Json json_of(const NotRun& not_run);

template <typename T>
[[nodiscard]] Json array_of(const std::vector<T>& items) {
  Json array = Json::array();
  for (const T& item : items) array.push_back(json_of(item));
  return array;
}

/// The document of `report`, with its `runs` as that schema has them, and a '\n' at its end.
[[nodiscard]] std::string render(std::string_view schema, const Report& report, Json runs);

}  // namespace sealvisor::report
