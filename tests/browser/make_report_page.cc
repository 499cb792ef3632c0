// Writes the page of a report of `sealvisor verify` that never was, for the browser test.
//
//   make_report_page KIND FILE     KIND: whole, good, hostile (a guest that tries to leave its
//                                  place), empty
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "tests/unit/report/samples.h"
#include "vmm/base/result.h"
#include "vmm/report/conclude.h"
#include "vmm/report/html/report_page.h"

namespace {

using namespace sealvisor;          // NOLINT(google-build-using-namespace)
using namespace sealvisor::report;  // NOLINT(google-build-using-namespace)

constexpr const char* kEvil =
    "</title></script><script>document.title='evil'</script><img src=x "
    "onerror=alert(1)>'\"\\\n\x1b";

report::Report whole() {
  report::Run spoiled = samples::sealed_run(arch::Arch::Arm64);
  spoiled.cells[2] = samples::violated("[vvar]", "munmap", "whole");
  spoiled.cells.push_back(samples::unobserved("[vvar]", "munmap", "last-page"));
  spoiled.cells[2].id = 3;
  spoiled.processes.push_back(samples::changed_process(3, spoiled.cells[2]));
  spoiled.processes_left_out.changed = 2;
  report::Run audited = samples::unsealed_run(arch::Arch::Arm64);
  audited.engine = "kvm";
  audited.lane = "audited";
  audited.mechanism = "traps at 3 returns to user mode";
  audited.costs = {{"exits: return to user mode", 1234, 4567.8}};
  const std::vector<KnownFinding> known = {{"arm64/lts-sealed/[vvar]/last-page/unobserved",
                                            "the last of its pages is mapped in a time namespace "
                                            "only (arch/arm64/kernel/vdso.c): what is done to it "
                                            "would not show",
                                            "6.12", "6.12", "2026-01-31"}};
  report::Run sealed = samples::sealed_run();
  sealed.cells.push_back(samples::forced("[vdso]", "ptrace-poke", "whole"));
  sealed.cells.back().id = 9;
  return conclude({sealed, samples::unsealed_run(), samples::lying_run(), spoiled, audited,
                   samples::failed_run()},
                  {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}}, known);
}

report::Report hostile() {
  report::Run run = samples::unsealed_run();
  run.recipe = kEvil;
  run.kernel = kEvil;
  run.ending = {false, kEvil, kEvil, false};
  run.mappings[0].name = kEvil;
  for (Cell& cell : run.cells) {
    cell.mapping = kEvil;
    cell.claim.text = kEvil;
    cell.observation.text = kEvil;
  }
  run.lives[0].name = kEvil;
  for (Process& process : run.processes) {
    process.scenario = kEvil;
    process.cell.reset();
    for (PlacedMapping& placed : process.mappings) placed.mapping = kEvil;
    for (Moment& moment : process.timeline) {
      moment.mapping = kEvil;
      moment.text = kEvil;
      if (!moment.write) continue;
      moment.write->old_text = kEvil;
      moment.write->new_text = kEvil;
      moment.write->function = kEvil;
      moment.write->instruction = kEvil;
    }
  }
  Program program = samples::program();
  program.name = kEvil;
  program.command = {kEvil, kEvil};
  program.output = program.errors = std::string(kEvil) + "\n\xff</pre>";
  for (ProgramProcess& process : program.processes) process.image = kEvil;
  for (ProgramSpace& space : program.spaces) {
    space.image = kEvil;
    for (ProgramMapping& mapping : space.mappings) {
      mapping.name = mapping.text = kEvil;
      for (EntryChange& change : mapping.changes) change.function = kEvil;
    }
    for (ProgramViolation& violation : space.violations) {
      violation.invariant = violation.mapping = violation.text = kEvil;
    }
  }
  run.programs = {program};
  run.writers[0].function = kEvil;
  run.writers[0].lines[0].text = kEvil;
  run.blind_spots = {kEvil};
  run.findings = {{fmt::format("x86_64/{}/S1", kEvil), kEvil, kEvil, false, ""},
                  {fmt::format("x86_64/{}/S2", kEvil), kEvil, kEvil, true, kEvil}};
  return conclude({run}, {{arch::Arch::Arm64, kEvil, {ExitCode::HostLacks, kEvil, 0}}}, {});
}

report::Report report_for(std::string_view kind) {
  if (kind == "whole") return whole();
  if (kind == "hostile") return hostile();
  if (kind == "good") {
    return conclude({samples::sealed_run(), samples::unsealed_run(), samples::lying_run()}, {}, {});
  }
  return conclude({}, {}, {});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "make_report_page: arguments: KIND FILE\n");
    return static_cast<int>(ExitCode::Usage);
  }
  std::ofstream(argv[2], std::ios::binary) << render_html(report_for(argv[1]));
  return 0;
}
