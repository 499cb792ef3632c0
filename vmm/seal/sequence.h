// What is expected of a sequence of known software's calls, and whether it came. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/report/report.h"

namespace sealvisor::seal {

/// What a sequence is to come to on a kernel that is, or is not, sealed.
struct SequenceExpectation {
  /// "mremap [vvar] to the restorer"; empty: no call fails.
  std::string_view first_failed{};
  int error = 0;  ///< Of that call.
  /// What becomes of each mapping, by its name; one that is not listed is unchanged.
  std::vector<std::pair<std::string_view, report::Change>> changes{};
  std::string_view source{};
};

/// nullopt: no sequence of that name is known.
[[nodiscard]] std::optional<SequenceExpectation> expect_sequence(std::string_view name,
                                                                 bool sealed);

struct SequenceJudgement {
  report::SequenceVerdict verdict = report::SequenceVerdict::Unobserved;
  /// (invariant, text), as for cells: "claim", "expectation".
  std::vector<std::pair<std::string, std::string>> findings;
};

/// Judges what was claimed and observed in `sequence`, of which `expectation` (nullptr: nothing)
/// was known. Unobserved if a mapping that it is about was never populated. Whatever was expected,
/// a call that was refused and changed something all the same is a finding, and so is one that
/// failed in a way that no seal explains.
[[nodiscard]] SequenceJudgement judge_sequence(const report::Sequence& sequence,
                                               const SequenceExpectation* expectation);

/// "munmap all below the stub: EPERM; [vdso] unchanged, [vvar] unchanged".
[[nodiscard]] std::string describe(const SequenceExpectation& expectation);

}  // namespace sealvisor::seal
