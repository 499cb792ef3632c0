// The report of `sealvisor verify` or `observe` as one page that needs nothing else. Pure.
#pragma once

#include <cstddef>
#include <string>

#include "vmm/report/report.h"

namespace sealvisor::report {

/// Most moments of timelines in one page, of all its runs: about as many as a browser takes without
/// complaint. What is past it is counted and said; the JSON report has it.
inline constexpr std::size_t kMostMomentsOfPage = 20'000;

/// The whole page: findings; the matrix of what was tried, with a column for each run, rows with
/// findings first; then each run with its programs, its cells, the timelines of its processes and
/// the code that wrote. Nothing that a guest wrote is markup in it.
[[nodiscard]] std::string render_html(const Report& report);

}  // namespace sealvisor::report
