// Claim, observation and expectation of one cell, brought together. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/report/report.h"

namespace sealvisor::seal {

struct CellJudgement {
  report::Verdict verdict = report::Verdict::Unobserved;
  /// (invariant, text): "claim" where the kernel says one thing and does another, "expectation"
  /// where the table and the guest differ.
  std::vector<std::pair<std::string, std::string>> findings;
};

/// Judges a cell from its claim, observation and expectation. The observation never depends on the
/// claim; a claim that it contradicts is a finding whatever was expected.
[[nodiscard]] CellJudgement judge_cell(const report::Cell& cell, bool sealed);

/// The exception that the operation of `cell` makes for what was observed, if nothing is expected
/// beforehand: a forced write that made a copy, a time namespace that moved pages.
[[nodiscard]] report::Exception exception_of(const report::Cell& cell);

/// Whether `cell` puts its process, or a child, into a time namespace, and `invariant` is one that
/// `[vvar]` then breaks by design: the page of the namespace comes first, and the page that was
/// there moves back (vvar_fault of the architecture). `mapping`: the one that broke it.
[[nodiscard]] bool shows_namespace(const report::Cell& cell, std::string_view mapping,
                                   std::string_view invariant);

/// The names in "S2 S5".
[[nodiscard]] std::vector<std::string_view> invariants_in(std::string_view names);

/// Whether a violation of `invariant` is part of what is expected of `cell`, change and what breaks
/// on the way; where nothing is expected beforehand, of the exception that its operation makes.
[[nodiscard]] bool implied(const report::Cell& cell, std::string_view invariant);

/// Whether user mode sees a difference: everything worse than a refault of the same frame.
[[nodiscard]] bool visible(report::Change change);

}  // namespace sealvisor::seal
