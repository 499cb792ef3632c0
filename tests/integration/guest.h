// Real guests for tests: finds kernels, agent and plugin, builds plans, runs.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::test {

/// A request to run `recipe` with the scenarios that `patterns` name, with their usual counts.
/// Fails the test, naming what is missing, if the kernel was not built: nothing is ever skipped.
[[nodiscard]] run::RunRequest request_for(arch::Arch arch, const std::string& recipe,
                                          const std::vector<std::string>& patterns);

/// Runs it; fails the test if no guest ran. `run` gets what it found.
void run_guest(const run::RunRequest& request, report::Run& run);

/// The cell, or nullptr.
[[nodiscard]] const report::Cell* find_cell(const report::Run& run, const std::string& mapping,
                                            const std::string& operation, const std::string& form);

/// Findings whose invariant is `invariant`.
[[nodiscard]] std::vector<report::Finding> findings_of(const report::Run& run,
                                                       const std::string& invariant);

/// All findings as text, for messages.
[[nodiscard]] std::string text_of(const std::vector<report::Finding>& findings);

}  // namespace sealvisor::test
