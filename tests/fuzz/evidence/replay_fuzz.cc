// Any trace, given to a session as an audit gives it one: it comes to an end, with a report that
// can be concluded and printed.
#include <string>

#include "guest/scenario/scenario.h"
#include "tests/fuzz/arch/input.h"
#include "tests/fuzz/evidence/records.h"
#include "vmm/evidence/names.h"
#include "vmm/report/conclude.h"
#include "vmm/report/json.h"
#include "vmm/run/replay.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

run::RunRequest request_of(std::uint8_t choice) {
  run::RunRequest request;
  request.arch = (choice & 1) != 0 ? arch::Arch::Arm64 : arch::Arch::X86_64;
  request.engine = (choice & 2) != 0 ? engine::Kind::Kvm : engine::Kind::Tcg;
  request.sealed = (choice & 4) != 0;
  request.expectations = (choice & 8) == 0;
  request.recipe = "lts-sealed";
  request.memory_bytes = 64ULL << 20;
  std::uint32_t cell = 0;
  const auto add = [&](const char* name) {
    const scenario::Scenario* const one = scenario::find(name);
    fuzz::require(one != nullptr);
    scenario::expand(*one, request.arch, false, cell,
                     [&](const scenario::PlanItem& item) { request.plan.push_back(item); });
  };
  add("munmap/whole");
  add("life/fork");
  if ((choice & 16) != 0) add("control/stores");
  if ((choice & 32) != 0) add("control/tamper-entry");
  if ((choice & 64) != 0) add("control/stores-code");
  if ((choice & 128) != 0) {
    request.programs.resize(2);
    request.programs[0].name = request.programs[1].name = "program";
  }
  return request;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const run::RunRequest request = request_of(input.take<std::uint8_t>());
  evidence::RecordedSymbols symbols;
  symbols.places["linux_banner"] = 0xffffffff82000000;
  symbols.places["_text"] = 0xffffffff81000000;
  symbols.places["_etext"] = 0xffffffff81001000;
  fuzz::Records records(input.rest());
  evidence::TraceReader trace(records);
  auto replayed = run::replay(request, trace, &symbols, "console\n");
  if (!replayed) {
    fuzz::require(!replayed.error().message.empty());
    return 0;
  }
  const report::Report report = report::conclude({std::move(replayed.value().run)}, {}, {});
  fuzz::require(!report::render_json(report).empty());
  return 0;
}
