// The report of a run of benchmarks as a person reads it, and as a table for spreadsheets. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench/result.h"

namespace sealvisor::bench {

struct TextOptions {
  bool colours = false;
  std::size_t width = 120;
  /// Each part of each experiment has a row; else user and kernel parts only if they are not
  /// equivalent.
  bool all_rows = false;
  std::size_t most_symbols = 10;  ///< Of an experiment in explain_text().
};

/// The table of costs, worst first; counts; what is void, undecided (with the layouts it would
/// take), missing; controls and cross-checks; the baseline; last, as one line, the conclusion.
/// Everything that came from a guest is printable ASCII here.
[[nodiscard]] std::string render_text(const Report& report, const TextOptions& options = {});

/// Where b and a differ, by symbol, for each experiment with any difference, the largest first.
/// Counts are of all operations, so that they are whole; what has no room is one row, so that the
/// rows sum up to the total.
[[nodiscard]] std::string explain_text(const Report& report, const TextOptions& options = {});

/// A line of titles, then one for each comparison of each metric, and one for what interception
/// costs in each experiment (RFC 4180, lines end with CR LF).
[[nodiscard]] std::string render_csv(const Report& report);

/// 123.45 -> "123.4", 12345.6 -> "12,346": one digit behind the point below 1000, unless it is 0.
[[nodiscard]] std::string number_text(double value);
/// With its sign: "+12", "-3.5", "0".
[[nodiscard]] std::string signed_text(double value);
/// "[-3, 5]"; "-" without an interval.
[[nodiscard]] std::string interval_text(const std::optional<Interval>& interval);
/// What the counter is: its frequency and who says so, its step, what a reading takes.
[[nodiscard]] std::string counter_text(const RunCounter& counter);
/// What the vCPUs were bound to, and how often they had to give it up.
[[nodiscard]] std::string pinned_text(const Report& report);
/// "12 layouts of each", "more than 1,000,000 layouts of each", "no number of layouts: ...".
[[nodiscard]] std::string needed_text(const Comparison& comparison);

}  // namespace sealvisor::bench
