// Real guests for tests: finds kernels, agent and plugin, builds plans, runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "vmm/event/event.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::test {

/// A request to run `recipe` with the scenarios that `patterns` name, with their usual counts.
/// Fails the test, naming what is missing, if the kernel was not built: nothing is ever skipped.
/// `full`: with cells for all mappings.
[[nodiscard]] run::RunRequest request_for(arch::Arch arch, const std::string& recipe,
                                          const std::vector<std::string>& patterns,
                                          bool full = false);

/// The names of the scenarios of cells that run by default, and of lives.
[[nodiscard]] std::vector<std::string> default_cells();
[[nodiscard]] std::vector<std::string> default_lives();

/// Runs it; fails the test if no guest ran. `run` gets what it found.
void run_guest(const run::RunRequest& request, report::Run& run);

/// Appends the events of the trace in `folder`, of a run's evidence (docs/evidence.md). Fails the
/// test if there is none, or it is not whole.
void read_trace(const std::filesystem::path& folder, std::vector<event::Event>& events);

/// Runs it with a trace, and reads that: all of its events, in order. Fails the test if no guest
/// ran or the trace is not one.
void trace_guest(run::RunRequest request, std::vector<event::Event>& events);

/// The cell, or nullptr.
[[nodiscard]] const report::Cell* find_cell(const report::Run& run, const std::string& mapping,
                                            const std::string& operation, const std::string& form);

/// Findings whose invariant is `invariant`.
[[nodiscard]] std::vector<report::Finding> findings_of(const report::Run& run,
                                                       const std::string& invariant);

/// All findings as text, for messages.
[[nodiscard]] std::string text_of(const std::vector<report::Finding>& findings);

}  // namespace sealvisor::test
