// The user's own programs, for people.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/report/text.h"

namespace sealvisor::report {

/// For each program how it ended, a table of its address spaces (those of one image with the same
/// mappings, claims and changes in one row), the writes behind each change, and what it wrote.
/// Empty: there were none.
[[nodiscard]] std::string programs_text(const Run& run, const TextOptions& options);

/// What may be said of the programs of good runs, for the conclusion.
[[nodiscard]] std::vector<std::string> programs_confirmed(const std::vector<Run>& runs);

/// What was done to observe programs, for the threat model; empty: there were none.
[[nodiscard]] std::string programs_method(const std::vector<Run>& runs);

}  // namespace sealvisor::report
