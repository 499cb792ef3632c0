// Figures of the KVM engine, read from a report of `verify --json`, beside what they may be.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "vmm/base/result.h"

namespace sealvisor::bench {

struct Figure {
  std::string name;
  std::optional<double> value;  ///< nullopt: the report does not say.
  std::optional<double> most;   ///< nullopt: nothing is asked for here.
};
/// Whether it is over its budget. One that has a budget and no value is.
[[nodiscard]] bool is_over(const Figure& figure);
/// "exits to init   37 (at most 100)", with "OVER" where it is.
[[nodiscard]] std::string text_of(const Figure& figure);

/// Reads a file that `verify --json` wrote. Error: GuestFailed, it is none of that.
[[nodiscard]] Result<nlohmann::json> read_report(const std::string& path);

/// Figures of one run of a report. What an emulated CPU says nothing about has no budget.
/// Precondition: `run` follows docs/report.schema.json; a member that is not there is no value.
[[nodiscard]] std::vector<Figure> figures_of(const nlohmann::json& run);
/// The most that any run of `report` says the VMM's process held; nullopt: none does.
[[nodiscard]] std::optional<double> most_resident(const nlohmann::json& report);

}  // namespace sealvisor::bench
