#include "vmm/app/lies.h"

#include "vmm/seal/verdict.h"

namespace sealvisor::app {

bool documented_lie(const report::Cell& cell, arch::Arch arch) {
  if (cell.mapping == "[vdso]") return cell.operation == "munmap" && cell.form == "whole";
  if (cell.mapping != "[vvar]") return false;
  const auto sealed = seal::expectation_of(cell, true, arch);
  const auto open = seal::expectation_of(cell, false, arch);
  return sealed && open && (sealed->errnos != open->errnos || sealed->change != open->change);
}

void annotate(report::Run& run, const run::RunRequest& request) {
  run.expectations = request.expectations;
  if (!request.control) return;
  for (report::Cell& cell : run.cells) cell.lie = documented_lie(cell, request.arch);
}

}  // namespace sealvisor::app
