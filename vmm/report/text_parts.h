// Parts that the texts of several commands have in common. Pure; everything that came from a guest
// is printable ASCII here.
#pragma once

#include <string>

#include "vmm/report/report.h"
#include "vmm/report/text.h"

namespace sealvisor::report {

/// What ran, how it ended if not well, on what machine, and which mappings it has.
[[nodiscard]] std::string head_text(const Run& run, const TextOptions& options);
/// The line of counts of what was watched.
[[nodiscard]] std::string counts_text(const Run& run, const TextOptions& options);
/// One write: place, old and new value, writer, instruction.
[[nodiscard]] std::string change_text(const EntryChange& change, std::size_t width);
/// Runs that were asked for and did not start.
[[nodiscard]] std::string not_run_text(const Report& report, const TextOptions& options);
/// Empty if there are none.
[[nodiscard]] std::string findings_text(const Report& report, bool known,
                                        const TextOptions& options);
/// Each blind spot once, with the runs that have it.
[[nodiscard]] std::string blind_spots_text(const Report& report, const TextOptions& options);
/// Threat model and conclusion: the last lines.
[[nodiscard]] std::string end_text(const Report& report, const TextOptions& options);

}  // namespace sealvisor::report
