#include "vmm/report/compare.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/base/untrusted_json.h"

#include "vmm/report/json.h"

namespace sealvisor::report {

using Json = nlohmann::ordered_json;

namespace {

/// Of a run: what its host measured, or what is of the files that it had.
constexpr const char* kOfTheHost[] = {"seconds",     "cpu_seconds",    "start_to_init",
                                      "start",       "costs",          "resident_bytes",
                                      "kernel_path", "kernel_packing", "symbols"};
constexpr std::size_t kMostText = 200;
constexpr std::size_t kMostNotRun = 1000;

std::string member(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "?";
}

Result<Json> parse(std::string_view text) {
  auto json = parse_untrusted_json(text);
  if (!json || !json->is_object() || member(*json, "schema") != kReportSchema) {
    return Error{ExitCode::Failed,
                 fmt::format("the report: no JSON with schema \"{}\"", kReportSchema)};
  }
  for (const char* name : {"runs", "not_run"}) {
    const auto list = json->find(name);
    if (list != json->end() && list->is_array()) continue;
    return Error{ExitCode::Failed, fmt::format("the report: \"{}\": expected an array", name)};
  }
  return std::move(*json);
}

std::string text_of(const Json& json) {
  std::string text = json.is_string() ? json.get<std::string>()
                                      : json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() > kMostText) text.resize(kMostText);
  return text;
}

/// The objects in an array of `json`; what is not as it should be is none of them.
std::vector<std::reference_wrapper<Json>> items_of(Json& json, const char* name) {
  std::vector<std::reference_wrapper<Json>> items;
  const auto found = json.find(name);
  if (found == json.end() || !found->is_array()) return items;
  for (Json& item : *found) {
    if (item.is_object()) items.emplace_back(item);
  }
  return items;
}

/// What an item of an array is called.
std::string name_of_item(const std::string& list, std::size_t index, const Json& item) {
  if (item.is_object()) {
    if (list == "runs") return fmt::format("{} {}", member(item, "arch"), member(item, "recipe"));
    if (list == "cells") {
      return fmt::format("{} {}/{}", member(item, "mapping"), member(item, "operation"),
                         member(item, "form"));
    }
    if (list == "findings") return "finding " + member(item, "id");
    if (item.contains("name")) return member(item, "name");
  }
  return fmt::format("{} {}", list, index + 1);
}

/// Walks both at once, as deep as the computed one goes.
class Walk {
 public:
  Walk(Comparison& result, bool told) : result_(result), told_(told) {}

  void both(const std::string& where, const std::string& name, const Json& recorded,
            const Json& computed) {
    if (computed.is_object() && recorded.is_object()) {
      objects(where, recorded, computed);
    } else if (computed.is_array() && recorded.is_array()) {
      arrays(where, name, recorded, computed);
    } else if (recorded != computed) {
      add(where, text_of(recorded), text_of(computed));
    }
  }

 private:
  void add(const std::string& where, std::string recorded, std::string computed) {
    result_.differences.push_back({where, std::move(recorded), std::move(computed)});
  }
  static std::string below(const std::string& where, const std::string& name) {
    return where.empty() ? name : where + ": " + name;
  }
  void objects(const std::string& where, const Json& recorded, const Json& computed) {
    for (const auto& [name, value] : computed.items()) {
      // Where one of the lines of a listing ends is the disassembler's word too.
      if (!told_ && (name == "instruction" || name == "lines")) continue;
      const auto other = recorded.find(name);
      if (other == recorded.end()) {
        add(below(where, name), "nothing", text_of(value));
      } else if (value.is_array()) {
        // Its items say what they are.
        both(where, name, *other, value);
      } else {
        both(below(where, name), name, *other, value);
      }
    }
    for (const auto& [name, value] : recorded.items()) {
      if (!computed.contains(name)) add(below(where, name), text_of(value), "nothing");
    }
  }
  void arrays(const std::string& where, const std::string& name, const Json& recorded,
              const Json& computed) {
    const std::size_t common = std::min(recorded.size(), computed.size());
    for (std::size_t i = 0; i < common; ++i) {
      both(below(where, name_of_item(name, i, computed[i])), "", recorded[i], computed[i]);
    }
    for (std::size_t i = common; i < recorded.size(); ++i) {
      add(below(where, name_of_item(name, i, recorded[i])), text_of(recorded[i]), "nothing");
    }
    for (std::size_t i = common; i < computed.size(); ++i) {
      add(below(where, name_of_item(name, i, computed[i])), "nothing", text_of(computed[i]));
    }
  }

  Comparison& result_;
  bool told_;
};

/// What of a run was told of code that was not to be had from the guest, and is from the file of
/// its symbols: only the host that ran it has that.
void leave_out_the_file(Json& run) {
  std::set<std::string> from_file;
  for (Json& writer : items_of(run, "writers")) {
    if (member(writer, "source") != name_of(CodeSource::Vmlinux)) continue;
    from_file.insert(member(writer, "pc"));
    writer["source"] = name_of(CodeSource::None);
    writer["lines"] = Json::array();
  }
  if (from_file.empty()) return;
  const auto forget = [&](Json& change) {
    if (from_file.contains(member(change, "pc"))) change["instruction"] = "";
  };
  for (Json& cell : items_of(run, "cells")) {
    for (Json& change : items_of(cell, "changes")) forget(change);
  }
  for (Json& program : items_of(run, "programs")) {
    for (Json& space : items_of(program, "spaces")) {
      for (Json& mapping : items_of(space, "mappings")) {
        for (Json& change : items_of(mapping, "changes")) forget(change);
      }
    }
  }
  for (Json& process : items_of(run, "processes")) {
    for (Json& moment : items_of(process, "timeline")) {
      if (const auto write = moment.find("write"); write != moment.end()) forget(*write);
    }
  }
}

/// A report of nothing but those of its runs.
Json only_runs(Json& report, const std::vector<bool>& which) {
  Json some = Json::array();
  Json& runs = report["runs"];
  for (std::size_t i = 0; i < std::min(runs.size(), which.size()); ++i) {
    if (which[i]) some.push_back(std::move(runs[i]));
  }
  Json only = Json::object();
  only["runs"] = std::move(some);
  return only;
}

void leave_out_the_host(Json& report) {
  for (Json& run : report["runs"]) {
    if (!run.is_object()) continue;
    // QEMU's count of the guest's instructions is in the trace; another is the host's.
    Json instructions = nullptr;
    if (member(run, "engine") == "tcg") {
      const auto start = run.find("start");
      if (start != run.end() && start->is_object() && start->contains("instructions")) {
        instructions = (*start)["instructions"];
      }
    }
    for (const char* name : kOfTheHost) run.erase(name);
    leave_out_the_file(run);
    run["instructions_to_init"] = std::move(instructions);
  }
}

}  // namespace

Result<Recorded> Recorded::parse(std::string_view text) {
  auto json = report::parse(text);
  if (!json) return json.error();
  return Recorded(std::make_shared<Json>(std::move(json).value()));
}

Result<Comparison> compare(std::string_view recorded, const Report& computed, bool told,
                           const std::vector<bool>* which) {
  auto then = Recorded::parse(recorded);
  if (!then) return then.error();
  return compare(std::move(then).value(), computed, told, which);
}

Result<Comparison> compare(Recorded recorded, const Report& computed, bool told,
                           const std::vector<bool>* which) {
  Json& then = recorded.json();
  Json now = Json::parse(render_json(computed));
  if (which != nullptr) {
    then = only_runs(then, *which);
    now = only_runs(now, std::vector<bool>(computed.runs.size(), true));
  }
  leave_out_the_host(then);
  leave_out_the_host(now);
  Comparison result;
  for (const Run& run : computed.runs) {
    result.cells += run.cells.size();
    result.lives += run.lives.size();
  }
  Walk(result, told).both("", "", then, now);
  return result;
}

Result<std::vector<NotRun>> not_run_of(std::string_view recorded) {
  const auto then = Recorded::parse(recorded);
  if (!then) return then.error();
  return not_run_of(then.value());
}

Result<std::vector<NotRun>> not_run_of(const Recorded& recorded) {
  std::vector<NotRun> not_run;
  const Json& list = recorded.json()["not_run"];
  const auto bad = [] {
    return Error{ExitCode::Failed, "the report: \"not_run\": expected runs that could not start"};
  };
  if (list.size() > kMostNotRun) return bad();
  for (const Json& one : list) {
    if (!one.is_object()) return bad();
    const auto arch = arch::parse_arch(member(one, "arch"));
    const auto code = one.find("exit_code");
    if (!arch || code == one.end() || !code->is_number_unsigned() ||
        code->get<std::uint64_t>() > 4) {
      return bad();
    }
    not_run.push_back({*arch, member(one, "recipe"),
                       Error{static_cast<ExitCode>(code->get<int>()), member(one, "message")}});
  }
  return not_run;
}

}  // namespace sealvisor::report
