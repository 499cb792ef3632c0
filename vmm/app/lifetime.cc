#include "vmm/app/lifetime.h"

#include <unistd.h>

#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "vmm/app/fail.h"
#include "vmm/app/interrupts.h"
#include "vmm/app/scenarios.h"
#include "vmm/app/terminal_text.h"
#include "vmm/app/write_file.h"
#include "vmm/report/lifetime_report.h"

namespace sealvisor::app {

namespace {

/// Changes that the control makes: each is a line of the list's evidence, a few are enough.
constexpr std::uint32_t kTampers = 8;

}  // namespace

std::vector<std::string> lifetime_scenarios() {
  return {"life/*", "storm/*", "control/own-calls", "control/tamper-entry"};
}

Result<Prepared> prepare_lifetime(const LifetimeOptions& options, const Places& places,
                                  const VerifyTools& tools) {
  VerifyOptions verify = guests_of(options);
  if (verify.machine.scenarios.empty()) verify.machine.scenarios = lifetime_scenarios();
  auto prepared = prepare(verify, places, tools);
  if (!prepared) return prepared;
  for (run::RunRequest& request : prepared.value().requests) {
    request.lifetime = true;
    for (scenario::PlanItem& item : request.plan) {
      const scenario::Kind kind = item.scenario->kind;
      if (kind == scenario::Kind::Sequence || kind == scenario::Kind::Cells ||
          kind == scenario::Kind::Lie) {
        return Error{ExitCode::Usage,
                     fmt::format("{} is not for `sealvisor lifetime`, which takes life/*, storm/* "
                                 "and control/*",
                                 item.scenario->name)};
      }
      if (item.scenario->name == "control/tamper-entry") item.count = kTampers;
    }
  }
  return prepared;
}

int lifetime(const LifetimeOptions& options) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  Interrupts interrupts;
  const VerifyTools tools = real_tools(places.value(), interrupts);
  auto prepared = prepare_lifetime(options, places.value(), tools);
  if (!prepared) return fail(prepared.error());
  if (auto there = check_writable("--json", options.json); !there) return fail(there.error());

  std::optional<Progress> progress(std::in_place, stderr, ::isatty(STDERR_FILENO) != 0);
  RunResults results = run_requests(std::move(prepared).value(), tools, *progress);
  progress.reset();
  const report::Report report =
      report::conclude_lifetime(std::move(results.runs), std::move(results.not_run));
  return print_report(report::render_lifetime_text(report, text_options_for(STDOUT_FILENO)),
                      options.json.empty() ? std::string() : report::render_lifetime_json(report),
                      options.json, report.exit_code);
}

}  // namespace sealvisor::app
