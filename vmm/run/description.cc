#include "vmm/run/description.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "guest/scenario/plan_text.h"
#include "guest/scenario/programs.h"
#include "vmm/event/event.h"
#include "vmm/evidence/digest.h"
#include "vmm/evidence/members.h"

namespace sealvisor::run {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr std::uint64_t kMostMemory = 2048ULL << 20;
constexpr std::size_t kMostLeftOut = 1000;

/// Name, length and digest of a file; null for an empty path.
Result<Json> file_json(const fs::path& path) {
  if (path.empty()) return Json(nullptr);
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error(ExitCode::HostLacks, "evidence: reading " + path.string());
  evidence::Hasher hasher;
  std::uint64_t bytes = 0;
  std::vector<char> block(256U << 10);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    const auto count = static_cast<std::size_t>(file.gcount());
    hasher.add(std::string_view(block.data(), count));
    bytes += count;
  }
  if (file.bad()) return errno_error(ExitCode::HostLacks, "evidence: reading " + path.string());
  return Json{{"name", path.filename().string()},
              {"bytes", bytes},
              {"sha256", evidence::hex(hasher.end())}};
}

/// Of each of the user's files: where it is in the guest, length and digest.
Result<Json> payload_json(const RunRequest& request) {
  Json files = Json::array();
  for (const image::InitramfsItem& item : request.payload) {
    if (item.kind != image::InitramfsItem::Kind::File) continue;
    auto json = file_json(item.source);
    if (!json) return json.error();
    json.value()["name"] = item.path;
    files.push_back(std::move(json).value());
  }
  return files;
}

Json programs_json(const RunRequest& request) {
  Json programs = Json::array();
  for (const ProgramRequest& program : request.programs) {
    programs.push_back({{"name", program.name},
                        {"root", program.root},
                        {"run", program.run},
                        {"arguments", program.arguments},
                        {"environment", program.environment},
                        {"limit_seconds", program.limit_seconds},
                        {"output_bytes", program.output_bytes},
                        {"traced", program.traced}});
  }
  return programs;
}

/// Of "programs".
Result<std::vector<ProgramRequest>> programs_from(const Json& list) {
  std::vector<ProgramRequest> programs;
  for (const Json& one : list) {
    evidence::Members members(one, "run: \"programs\"");
    ProgramRequest program;
    program.name = members.text("name");
    program.root = members.text("root");
    program.run = members.text("run");
    program.arguments = members.texts("arguments", 2 * scenario::kMaxProgramWords);
    program.environment = members.texts("environment", 2 * scenario::kMaxProgramWords);
    program.limit_seconds =
        static_cast<std::uint32_t>(members.number("limit_seconds", scenario::kMaxProgramSeconds));
    program.output_bytes =
        static_cast<std::uint32_t>(members.number("output_bytes", scenario::kMaxProgramOutput));
    program.traced = members.flag("traced");
    if (auto good = members.status(); !good) return good.error();
    programs.push_back(std::move(program));
  }
  return programs;
}

Result<Json> files_json(const RunRequest& request) {
  Json files = Json::object();
  struct File {
    const char* name;
    fs::path path;
  };
  std::vector<File> all = {
      {"kernel", request.kernel_image},         {"symbols", request.symbols},
      {"init", request.agent_dir / "init"},     {"dynamic", request.agent_dir / "dynamic"},
      {"loader", request.agent_dir / "loader"}, {"helper32", request.agent_dir / "helper32"}};
  if (request.engine == engine::Kind::Tcg) all.push_back({"plugin", request.plugin});
  for (const File& file : all) {
    auto json = file_json(file.path);
    if (!json) return json.error();
    files[file.name] = std::move(json).value();
  }
  auto payload = payload_json(request);
  if (!payload) return payload.error();
  files["payload"] = std::move(payload).value();
  return files;
}

/// Reads lines of a plan (guest/scenario/plan.h).
Result<std::vector<scenario::PlanItem>> plan_from(const std::vector<std::string>& lines) {
  std::string text = std::string(scenario::kPlanHeader) + "\n";
  for (const std::string& line : lines) text += line + "\n";
  const auto plan = std::make_unique<scenario::Plan>();
  if (!scenario::parse_plan(text, *plan)) {
    return Error{ExitCode::Failed, fmt::format("run: \"plan\": line {}, '{}': {}", plan->line - 1,
                                               plan->text, plan->error)};
  }
  return std::vector<scenario::PlanItem>(plan->items.begin(), plan->items.begin() + plan->size);
}

/// The name of the file of symbols; empty if the run had none.
Result<std::string> symbols_from(const Json& run) {
  evidence::Members of_run(run, "run");
  const Json* const files = of_run.member("files");
  if (files == nullptr) return of_run.status().error();
  evidence::Members of_files(*files, "run: \"files\"");
  const Json* const symbols = of_files.member("symbols");
  if (symbols == nullptr) return of_files.status().error();
  if (symbols->is_null()) return std::string();
  evidence::Members file(*symbols, "run: \"symbols\"");
  std::string name = file.text("name");
  if (auto good = file.status(); !good) return good.error();
  return name;
}

template <typename Value, std::size_t N>
Value named(evidence::Members& members, const char* member, const std::array<Value, N>& values) {
  const std::string word = members.text(member);
  const auto* const found =
      std::find_if(values.begin(), values.end(), [&](Value one) { return name_of(one) == word; });
  if (found != values.end()) return *found;
  members.refuse(member, "a word that is known here");
  return values.front();
}

}  // namespace

Result<std::string> describe_run(const RunRequest& request) {
  auto files = files_json(request);
  if (!files) return files.error();
  Json plan = Json::array();
  for (const scenario::PlanItem& item : request.plan) {
    std::string line = scenario::plan_line(item);
    line.pop_back();
    plan.push_back(std::move(line));
  }
  const Json json = {{"schema", kDescriptionSchema},
                     {"event_version", event::kEventVersion},
                     {"arch", arch::name_of(request.arch)},
                     {"recipe", request.recipe},
                     {"variant", request.variant},
                     {"expectations", request.expectations},
                     {"sealed", request.sealed},
                     {"ours", request.ours},
                     {"control", request.control},
                     {"engine", engine::name_of(request.engine)},
                     {"mechanism", engine::name_of(request.mechanism)},
                     {"memory_bytes", request.memory_bytes},
                     {"cpu_model", request.cpu_model},
                     {"kernel_arguments", request.kernel_arguments},
                     {"vcpus", request.vcpus},
                     {"deadline_seconds", request.deadline.count()},
                     {"doorbell_limit", request.doorbell_limit},
                     {"witness", request.witness},
                     {"drop_store", request.drop_store},
                     {"step_check", request.step_check},
                     {"leave_return", request.leave_return},
                     {"timelines", request.timelines},
                     {"left_out", request.left_out},
                     {"files", std::move(files).value()},
                     {"plan", std::move(plan)},
                     {"programs", programs_json(request)},
                     {"program_file", request.program_file},
                     {"program_file_name", request.program_file_name}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<RunRequest> parse_description(std::string_view text) {
  const auto json = evidence::parse_json(text, "run");
  if (!json) return json.error();
  evidence::Members members(json.value(), "run");
  if (members.text("schema") != kDescriptionSchema) {
    members.refuse("schema", fmt::format("\"{}\"", kDescriptionSchema));
  }
  if (members.number("event_version") != event::kEventVersion) {
    members.refuse("event_version", fmt::format("{}, as this sealvisor has", event::kEventVersion));
  }
  RunRequest request;
  const auto arch = arch::parse_arch(members.text("arch"));
  if (arch) {
    request.arch = *arch;
  } else {
    members.refuse("arch", "one that is known here");
  }
  request.recipe = members.text("recipe");
  request.variant = members.text("variant");
  request.expectations = members.flag("expectations");
  request.sealed = members.flag("sealed");
  request.ours = members.flag("ours");
  request.control = members.flag("control");
  request.engine = named(members, "engine", std::array{engine::Kind::Tcg, engine::Kind::Kvm});
  request.mechanism = named(
      members, "mechanism",
      std::array{engine::Mechanism::Best, engine::Mechanism::Exact, engine::Mechanism::Audited});
  request.memory_bytes = members.number("memory_bytes", kMostMemory);
  request.cpu_model = members.text("cpu_model");
  request.kernel_arguments = members.text("kernel_arguments");
  request.vcpus = static_cast<unsigned>(members.number("vcpus", event::kMostVcpus));
  request.doorbell_limit = members.number("doorbell_limit", protocol::kMaxMessages);
  request.witness = members.flag("witness");
  request.drop_store = members.number("drop_store");
  request.step_check = members.flag("step_check");
  request.leave_return = static_cast<std::uint32_t>(members.number("leave_return", UINT32_MAX));
  request.timelines = members.flag("timelines");
  request.left_out = members.texts("left_out", kMostLeftOut);
  const auto lines = members.texts("plan", scenario::kMaxPlanItems);
  const Json* const programs = members.array("programs", scenario::kMaxProgramCount);
  request.program_file = members.text("program_file");
  request.program_file_name = members.text("program_file_name");
  if (request.vcpus == 0) members.refuse("vcpus", "at least 1");
  if (request.memory_bytes == 0 || request.memory_bytes % (2ULL << 20) != 0) {
    members.refuse("memory_bytes", "a multiple of 2 MiB");
  }
  if (auto good = members.status(); !good) return good.error();
  auto plan = plan_from(lines);
  if (!plan) return plan.error();
  request.plan = std::move(plan).value();
  auto asked = programs_from(*programs);
  if (!asked) return asked.error();
  request.programs = std::move(asked).value();
  auto symbols = symbols_from(json.value());
  if (!symbols) return symbols.error();
  request.symbols = std::move(symbols).value();
  return request;
}

}  // namespace sealvisor::run
