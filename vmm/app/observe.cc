#include "vmm/app/observe.h"

#include <unistd.h>

#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/programs.h"
#include "vmm/app/bundle.h"
#include "vmm/app/fail.h"
#include "vmm/app/interrupts.h"
#include "vmm/app/payload.h"
#include "vmm/app/progress.h"
#include "vmm/app/report_files.h"
#include "vmm/app/terminal_text.h"
#include "vmm/base/cpu_time.h"
#include "vmm/report/conclude.h"
#include "vmm/report/findings.h"
#include "vmm/report/text.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// Always there; a scenario's own come behind them and win.
constexpr const char* kEnvironment[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/", "HOME=/"};

/// The folder or file with the programs.
const fs::path& payload_path(const ObserveOptions& options) {
  return options.scenarios.empty() ? options.payload : options.scenarios;
}

Status check_word(const std::string& word) {
  const bool good = word.find('\n') == std::string::npos && word.find('\0') == std::string::npos;
  return good ? Status()
              : Error{ExitCode::Usage,
                      "an argument that holds the end of a line can't be passed on"};
}

run::ProgramRequest request_for(const ObserveOptions& options, const Payload& payload) {
  run::ProgramRequest request;
  request.root = kPayloadRoot;
  request.environment.assign(std::begin(kEnvironment), std::end(kEnvironment));
  // The loader looks for libraries in folders of its own, and a flat payload has none of those.
  if (payload.flat) request.environment.emplace_back("LD_LIBRARY_PATH=/");
  request.output_bytes = options.output_bytes;
  return request;
}

/// The one program of the command line.
Result<run::ProgramRequest> single_program(const ObserveOptions& options, const Payload& payload) {
  auto chosen = choose_program(payload, options.run, options.payload);
  if (!chosen) return chosen.error();
  run::ProgramRequest request = request_for(options, payload);
  request.name = fs::path(chosen.value()).filename().string();
  request.run = std::move(chosen).value();
  request.arguments = options.arguments;
  request.limit_seconds = options.limit_seconds;
  request.traced = !options.untraced;
  return request;
}

Result<run::ProgramRequest> program_of(const UserScenario& scenario, const ObserveOptions& options,
                                       const Payload& payload) {
  auto chosen = choose_program(payload, scenario.command.front(), options.scenarios);
  if (!chosen) {
    return Error{chosen.error().code,
                 fmt::format("{}:{}: {}", (options.scenarios / kScenariosFile).string(),
                             scenario.line, chosen.error().message)};
  }
  run::ProgramRequest request = request_for(options, payload);
  request.name = scenario.name;
  request.run = std::move(chosen).value();
  request.arguments.assign(scenario.command.begin() + 1, scenario.command.end());
  request.environment.insert(request.environment.end(), scenario.environment.begin(),
                             scenario.environment.end());
  request.limit_seconds = scenario.limit_seconds;
  request.traced = scenario.traced && !options.untraced;
  return request;
}

/// Programs and their files for guests of one architecture.
struct Workload {
  std::vector<run::ProgramRequest> programs;
  std::vector<image::InitramfsItem> items;
};

Result<Workload> workload_for(const ObserveOptions& options,
                              const std::vector<UserScenario>& scenarios, arch::Arch arch,
                              std::uint64_t memory_bytes) {
  auto payload = gather_payload(payload_path(options), arch, payload_room(memory_bytes));
  if (!payload) return payload.error();
  Workload workload;
  const auto add = [&](Result<run::ProgramRequest> request) -> Status {
    if (!request) return request.error();
    for (const auto* words : {&request.value().arguments, &request.value().environment}) {
      for (const std::string& word : *words) {
        if (auto good = check_word(word); !good) return good;
      }
    }
    if (request.value().arguments.size() > scenario::kMaxProgramWords) {
      return Error{ExitCode::Usage,
                   fmt::format("{} arguments, expected at most {}",
                               request.value().arguments.size(), scenario::kMaxProgramWords)};
    }
    workload.programs.push_back(std::move(request).value());
    return {};
  };
  if (options.scenarios.empty()) {
    if (auto added = add(single_program(options, payload.value())); !added) return added.error();
  }
  for (const UserScenario& scenario : scenarios) {
    if (auto added = add(program_of(scenario, options, payload.value())); !added) {
      return added.error();
    }
  }
  if (run::programs_text(workload.programs).size() > scenario::kMaxProgramsSize) {
    return Error{ExitCode::Usage, fmt::format("programs, arguments and variables take more than {} "
                                              "bytes",
                                              scenario::kMaxProgramsSize)};
  }
  workload.items = std::move(payload.value().items);
  return workload;
}

/// As `verify` has it: kernels, engine, deadline.
VerifyOptions verify_options(const ObserveOptions& options, std::vector<arch::Arch> archs) {
  VerifyOptions verify;
  verify.machine = options.machine;
  verify.archs = std::move(archs);
  verify.recipes = options.recipes;
  verify.json = options.json;  // Whether there are timelines.
  verify.html = options.html;
  verify.deadline = options.deadline;
  verify.witness = options.witness;
  return verify;
}

}  // namespace

Result<PreparedPrograms> prepare_programs(const ObserveOptions& options, const Places& places,
                                          const VerifyTools& tools) {
  PreparedPrograms result;
  if (!options.scenarios.empty()) {
    const fs::path file = options.scenarios / kScenariosFile;
    result.file = file.string();
    auto text = read_scenarios(file);
    if (!text) return text.error();
    result.text = std::move(text).value();
    auto scenarios = parse_scenarios(result.text, result.file);
    if (!scenarios) return scenarios.error();
    result.scenarios = std::move(scenarios).value();
  }
  std::vector<arch::Arch> archs = options.archs;
  if (archs.empty() && options.machine.kernel.empty()) {
    auto of_payload = payload_archs(payload_path(options));
    if (!of_payload) return of_payload.error();
    archs = std::move(of_payload).value();
  }
  auto prepared = prepare(verify_options(options, std::move(archs)), places, tools);
  if (!prepared) return prepared.error();
  result.prepared = std::move(prepared).value();
  std::map<arch::Arch, Workload> workloads;
  for (run::RunRequest& request : result.prepared.requests) {
    auto found = workloads.find(request.arch);
    if (found == workloads.end()) {
      auto made = workload_for(options, result.scenarios, request.arch, request.memory_bytes);
      if (!made) return made.error();
      found = workloads.emplace(request.arch, std::move(made).value()).first;
    }
    request.plan.clear();
    request.programs = found->second.programs;
    request.payload = found->second.items;
    request.program_file = result.text;
    request.program_file_name = result.file;
  }
  return result;
}

int observe(const ObserveOptions& options, const std::string& command) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  Interrupts interrupts;
  VerifyTools tools = real_tools(places.value(), interrupts);
  auto prepared = prepare_programs(options, places.value(), tools);
  if (!prepared) return fail(prepared.error());
  const PreparedPrograms& programs = prepared.value();
  tools.run_one = [&programs](const run::RunRequest& request) {
    auto run = run::run_one(request);
    if (run) judge_scenarios(run.value(), programs.scenarios, programs.file);
    return run;
  };
  const double shared_cpu = process_cpu_seconds();
  for (run::RunRequest& request : prepared.value().prepared.requests) {
    request.shared_cpu_seconds = shared_cpu;
  }
  const ReportFiles files{options.json, options.junit, options.html};
  if (auto fit = check_places(files, options.bundle); !fit) return fail(fit.error());
  auto bundle = Bundle::create(options.bundle, command);
  if (!bundle) return fail(bundle.error());
  if (auto attached = bundle.value().attach(prepared.value().prepared.requests); !attached) {
    return fail(attached.error());
  }

  std::optional<Progress> progress(std::in_place, stderr, takes_escapes(STDERR_FILENO));
  const report::Report report = run_all(std::move(prepared.value().prepared), tools, {}, *progress);
  progress.reset();

  ExitCode code = write_files(files, report);
  // Of programs of the user's nothing is known beforehand.
  const std::string known =
      fmt::format("{{\"schema\": \"{}\", \"findings\": []}}\n", report::kKnownFindingsSchema);
  if (auto sealed = bundle.value().finish(report, known); !sealed) {
    fmt::print(stderr, "sealvisor: {}\n", sealed.error().message);
    code = report::worse(code, sealed.error().code);
  }
  std::fputs(text_of(bundle.value(), report).c_str(), stderr);
  return print_report(report::render_text(report, text_options_for(STDOUT_FILENO)), "", {}, code);
}

}  // namespace sealvisor::app
