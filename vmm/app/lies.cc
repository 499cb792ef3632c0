#include "vmm/app/lies.h"

#include <string_view>

#include "guest/scenario/scenario.h"
#include "vmm/seal/expectation.h"

namespace sealvisor::app {

namespace {

using scenario::Call;
using scenario::Racing;

/// Whether the operation unmaps the whole of what it is aimed at, or tries to.
bool unmaps_all(const seal::Question& question) {
  if (question.form != scenario::Form::Whole) return false;
  const auto argument = static_cast<Racing>(question.operation->argument);
  switch (question.operation->call) {
    case Call::Munmap:
    case Call::MsealMunmap:
      return true;
    case Call::Race:
      return argument == Racing::Munmap || argument == Racing::Mixed;
    default:
      return false;
  }
}

}  // namespace

bool documented_lie(const report::Cell& cell, seal::Guest guest) {
  const auto question = seal::question_of(cell);
  if (!question || cell.verdict == report::Verdict::Skipped) return false;
  if (question->kind == seal::kVdso) return unmaps_all(*question);
  if (question->kind != seal::kVvar || cell.mapping.starts_with("[vvar_vclock]")) return false;
  // Of this one the mapping in front is asked, and that is [sigpage], whose seal is none of the
  // lies (6.12: arch/arm64/kernel/vdso.c, aarch32_setup_additional_pages: the last one lies
  // lowest).
  if (question->operation->call == scenario::Call::MremapShrinkOver &&
      guest.arch == arch::Arch::Arm64 && cell.mapping.ends_with(scenario::kCompatSuffix)) {
    return false;
  }
  guest.sealed = true;
  const auto expected = seal::expectation_of(cell, guest);
  return expected && expected->by_seal;
}

void annotate(report::Run& run, const run::RunRequest& request) {
  run.expectations = request.expectations;
  if (!request.control) return;
  seal::Guest guest;
  guest.arch = request.arch;
  guest.protection_keys = run.protection_keys;
  guest.force = seal::force_of(request.kernel_arguments);
  for (report::Cell& cell : run.cells) cell.lie = documented_lie(cell, guest);
}

}  // namespace sealvisor::app
