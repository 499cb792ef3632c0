// Claim, observation and expectation of one cell, brought together. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arch/arch.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

/// What is expected of `cell` on a recipe that is, or is not, sealed; nullopt where nothing is
/// known. `protection_keys`: as for expect().
[[nodiscard]] std::optional<report::Expected> expectation_of(const report::Cell& cell, bool sealed,
                                                             arch::Arch arch,
                                                             bool protection_keys = false);

struct CellJudgement {
  report::Verdict verdict = report::Verdict::Unobserved;
  /// (invariant, text): "claim" where the kernel says one thing and does another, "expectation"
  /// where the table and the guest differ.
  std::vector<std::pair<std::string, std::string>> findings;
};

/// Judges a cell from its claim, observation and expectation. The observation never depends on the
/// claim; a claim that it contradicts is a finding whatever was expected.
[[nodiscard]] CellJudgement judge_cell(const report::Cell& cell, bool sealed);

/// Whether user mode sees a difference: everything worse than a refault of the same frame.
[[nodiscard]] bool visible(report::Change change);

}  // namespace sealvisor::seal
