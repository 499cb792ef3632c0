#include "vmm/app/compat.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "guest/compat/list.h"
#include "vmm/app/fail.h"
#include "vmm/app/interrupts.h"
#include "vmm/app/scenarios.h"
#include "vmm/app/script_folder.h"
#include "vmm/app/terminal_text.h"
#include "vmm/app/write_file.h"
#include "vmm/report/compat.h"

namespace sealvisor::app {

namespace {

/// Recipes whose kernels can be checkpointed and restored, which a seal usually rules out.
bool has_checkpoint_restore(const std::string& recipe) {
  return recipe.starts_with("checkpoint-restore-");
}

/// Why `sequence` makes no sense in this guest; empty: it does.
std::string against(const compat::Sequence& sequence, arch::Arch arch, const std::string& recipe) {
  if (sequence.x86_only && arch != arch::Arch::X86_64) {
    return fmt::format("{} makes these calls on x86-64 alone", sequence.software);
  }
  if (sequence.checkpoint_restore && !has_checkpoint_restore(recipe)) {
    return "needs a kernel with CONFIG_CHECKPOINT_RESTORE, as the recipes "
           "checkpoint-restore-sealed "
           "and checkpoint-restore-unsealed are";
  }
  return "";
}

/// A real program, and the kernels that it runs on: sealed, and its control.
struct Real {
  const char* name;
  const char* scenario;
  std::vector<std::string> recipes;
};

std::vector<Real> real_programs() {
  // Both need sockets, which the other recipes lack: UML talks through them with its processes.
  const std::vector<std::string> recipes = {"checkpoint-restore-sealed",
                                            "checkpoint-restore-unsealed"};
  return {{"uml", "real/uml", recipes}, {"criu", "real/criu", recipes}};
}

/// Adds a guest for each real program and kernel.
Status add_real(const CompatOptions& options, const Places& places, const VerifyTools& tools,
                PreparedCompat& prepared) {
  for (const Real& real : real_programs()) {
    const auto folder = folder_from(places.real_script(), {"path", real.name});
    if (!folder) return folder.error();
    VerifyOptions verify;
    verify.machine = options.machine;
    verify.machine.scenarios = {real.scenario};
    verify.archs = {arch::Arch::X86_64};
    verify.recipes = real.recipes;
    // They are programs of a real size: give them room, and time.
    verify.machine.memory_mib = std::max<std::uint64_t>(verify.machine.memory_mib, 512);
    verify.deadline = std::max(options.deadline, std::chrono::seconds(900));
    auto guests = prepare(verify, places, tools);
    if (!guests) return guests.error();
    for (run::RunRequest& request : guests.value().requests) {
      request.real = run::RealProgram{real.name, folder.value()};
      request.lifetime = true;  // What its calls do to the mappings is the evidence.
      prepared.guests.requests.push_back(std::move(request));
      prepared.not_tried.emplace_back();
    }
    for (report::NotRun& not_run : guests.value().not_run) {
      prepared.guests.not_run.push_back(std::move(not_run));
    }
  }
  return {};
}

}  // namespace

Result<ChosenSequences> choose_sequences(const std::vector<std::string>& patterns, arch::Arch arch,
                                         const std::string& recipe) {
  const auto chosen =
      choose_scenarios(patterns.empty() ? std::vector<std::string>{"compat/*"} : patterns);
  if (!chosen) return chosen.error();
  ChosenSequences result;
  std::vector<const scenario::Scenario*> wanted;
  for (const scenario::Scenario* scenario : chosen.value()) {
    const compat::Sequence* const sequence = compat::find(scenario->name);
    if (sequence == nullptr) {
      return Error{ExitCode::Usage, fmt::format("{} is for `sealvisor verify`; `sealvisor compat` "
                                                "takes scenarios compat/*",
                                                scenario->name)};
    }
    std::string reason = against(*sequence, arch, recipe);
    if (reason.empty()) {
      wanted.push_back(scenario);
    } else {
      result.not_tried.push_back({std::string(scenario->name), std::move(reason)});
    }
  }
  result.plan = plan_of(wanted, arch);
  return result;
}

Result<PreparedCompat> prepare_compat(const CompatOptions& options, const Places& places,
                                      const VerifyTools& tools) {
  VerifyOptions verify = guests_of(options);
  if (verify.machine.scenarios.empty()) verify.machine.scenarios = {"compat/*"};
  auto guests = prepare(verify, places, tools);
  if (!guests) return guests.error();
  PreparedCompat prepared;
  prepared.guests = std::move(guests).value();
  for (run::RunRequest& request : prepared.guests.requests) {
    auto chosen = choose_sequences(options.machine.scenarios, request.arch, request.recipe);
    if (!chosen) return chosen.error();
    request.plan = std::move(chosen.value().plan);
    prepared.not_tried.push_back(std::move(chosen.value().not_tried));
  }
  if (options.real) {
    if (auto added = add_real(options, places, tools, prepared); !added) return added.error();
  }
  return prepared;
}

int compat(const CompatOptions& options) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  Interrupts interrupts;
  const VerifyTools tools = real_tools(places.value(), interrupts);
  auto prepared = prepare_compat(options, places.value(), tools);
  if (!prepared) return fail(prepared.error());
  if (auto there = check_writable("--json", options.json); !there) return fail(there.error());

  std::optional<Progress> progress(std::in_place, stderr, ::isatty(STDERR_FILENO) != 0);
  // A guest that could not start leaves no run: what was not tried goes by architecture and recipe.
  std::vector<std::pair<std::pair<arch::Arch, std::string>, std::vector<report::NotTried>>> missing;
  for (std::size_t i = 0; i < prepared.value().not_tried.size(); ++i) {
    const run::RunRequest& request = prepared.value().guests.requests[i];
    if (request.real) continue;
    missing.emplace_back(std::pair(request.arch, request.recipe), prepared.value().not_tried[i]);
  }
  RunResults results = run_requests(std::move(prepared.value().guests), tools, *progress);
  progress.reset();
  for (report::Run& run : results.runs) {
    for (auto& [whose, not_tried] : missing) {
      if (!run.real && whose == std::pair(run.arch, run.recipe))
        run.not_tried = std::move(not_tried);
    }
  }
  const report::Report report =
      report::conclude_compat(std::move(results.runs), std::move(results.not_run));
  return print_report(report::render_compat_text(report, text_options_for(STDOUT_FILENO)),
                      options.json.empty() ? std::string() : report::render_compat_json(report),
                      options.json, report.exit_code);
}

}  // namespace sealvisor::app
