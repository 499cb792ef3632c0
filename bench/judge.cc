#include "bench/judge.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "bench/budgets.h"

namespace sealvisor::bench {

namespace {

std::optional<double> number(const nlohmann::json& object, const char* member) {
  if (!object.is_object()) return std::nullopt;
  const auto found = object.find(member);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

const nlohmann::json& member(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kNothing;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

/// All exits; nullopt: not a list of counts.
std::optional<double> sum_of(const nlohmann::json& exits) {
  if (!exits.is_array()) return std::nullopt;
  double sum = 0;
  for (const nlohmann::json& exit : exits) {
    const auto count = number(exit, "count");
    if (!count) return std::nullopt;
    sum += *count;
  }
  return sum;
}

std::optional<double> mean_cost(const nlohmann::json& run, const char* name) {
  for (const nlohmann::json& cost : member(run, "costs")) {
    const auto count = number(cost, "count");
    const auto microseconds = number(cost, "microseconds");
    if (member(cost, "name") == name && count && microseconds && *count > 0) {
      return *microseconds / *count;
    }
  }
  return std::nullopt;
}

}  // namespace

bool is_over(const Figure& figure) {
  return figure.most && (!figure.value || *figure.value > *figure.most);
}

std::string text_of(const Figure& figure) {
  return fmt::format("{:<44}{:>12}{}{}", figure.name,
                     figure.value ? fmt::format("{:.6g}", *figure.value) : "not reported",
                     figure.most ? fmt::format(" (at most {:.6g})", *figure.most) : "",
                     is_over(figure) ? "  OVER" : "");
}

Result<nlohmann::json> read_report(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  nlohmann::json report = nlohmann::json::parse(file, nullptr, false);
  const bool good = report.is_object() && member(report, "runs").is_array();
  if (!good) return Error{ExitCode::GuestFailed, fmt::format("{}: no report", path)};
  return report;
}

std::vector<Figure> figures_of(const nlohmann::json& run) {
  const nlohmann::json& start = member(run, "start");
  const bool arm64 = member(run, "arch") == "arm64";
  const auto exits =
      static_cast<double>(most_exits_to_init(arm64 ? arch::Arch::Arm64 : arch::Arch::X86_64));
  std::vector<Figure> figures = {
      {"exits to init", sum_of(member(start, "exits")), exits},
      {"VMM memory beside the guest's, bytes", number(run, "resident_bytes"),
       static_cast<double>(kMostResidentBytes)},
      {"VMM CPU to the first guest instruction, ms", number(start, "cpu_ms"), std::nullopt},
      {"microseconds for each judgement", mean_cost(run, "judgements of user mode"), std::nullopt}};
  if (member(run, "lane") == "exact") {
    figures.push_back({"microseconds for each store to a table",
                       mean_cost(run, "stores to tables told"), std::nullopt});
  }
  figures.push_back({"seconds", number(run, "seconds"), std::nullopt});
  return figures;
}

std::optional<double> most_resident(const nlohmann::json& report) {
  std::optional<double> most;
  for (const nlohmann::json& run : member(report, "runs")) {
    most = std::max(most, number(run, "resident_bytes"));
  }
  return most;
}

}  // namespace sealvisor::bench
