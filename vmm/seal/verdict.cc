#include "vmm/seal/verdict.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sealvisor::seal {

using report::Change;
using report::Verdict;

bool visible(Change change) { return change > Change::Refaulted; }

namespace {

/// Refaults are the kernel's business: they count as unchanged.
bool same_change(Change one, Change other) {
  return one == other || (!visible(one) && !visible(other) && one != Change::Unobserved &&
                          other != Change::Unobserved);
}

int claimed_errno(const report::Claim& claim) {
  return claim.result < 0 && claim.result > -4096 ? static_cast<int>(-claim.result) : 0;
}

/// Whether the kernel answered as expected. Precondition: there is an expectation.
bool claim_fits(const report::Cell& cell) {
  const std::vector<int>& errnos = cell.expectation->errnos;
  return cell.claim.made &&
         (errnos.empty() ||
          std::find(errnos.begin(), errnos.end(), claimed_errno(cell.claim)) != errnos.end());
}

std::string answer_text(const report::Cell& cell) {
  return fmt::format("expected the answer {} ({}), got {}", cell.expectation->text,
                     cell.expectation->source,
                     cell.claim.made ? cell.claim.text : std::string("none"));
}

}  // namespace

CellJudgement judge_cell(const report::Cell& cell, bool sealed) {
  CellJudgement judgement;
  const Change observed = cell.observation.change;
  const auto add = [&](const char* invariant, std::string text) {
    judgement.findings.emplace_back(invariant, std::move(text));
  };
  const bool refused = cell.claim.made && claimed_errno(cell.claim) != 0;
  if (visible(observed) && refused) {
    add("claim",
        fmt::format("the kernel answered {} and yet: {}", cell.claim.text, cell.observation.text));
  }
  if (visible(observed) && cell.claim.sealed.value_or(false)) {
    add("claim",
        fmt::format("the kernel claims that it is sealed (sl) and yet: {}", cell.observation.text));
  }
  if (observed == Change::Unobserved) {
    // Nothing is said about what happened; an answer that is wrong is wrong all the same.
    if (cell.expectation && !claim_fits(cell)) {
      judgement.verdict = Verdict::Mismatch;
      add("expectation", answer_text(cell));
    }
    return judgement;
  }
  if (!cell.expectation) {
    // Nothing is known of this kernel: only what it claims can be held against it.
    judgement.verdict = judgement.findings.empty() ? Verdict::AsExpected : Verdict::Violation;
    return judgement;
  }
  const report::Expected& expected = *cell.expectation;
  if (expected.change && !same_change(*expected.change, observed)) {
    const bool was_to_stay = !visible(*expected.change);
    judgement.verdict = was_to_stay ? Verdict::Violation : Verdict::Mismatch;
    if (!was_to_stay) {
      add("expectation",
          fmt::format("expected {} ({}), observed {}", report::name_of(*expected.change),
                      expected.source, cell.observation.text));
    }
    return judgement;
  }
  if (!expected.permissions.empty() && expected.permissions != cell.observation.permissions) {
    judgement.verdict = Verdict::Mismatch;
    add("expectation", fmt::format("expected permissions {} ({}), observed {}",
                                   expected.permissions, expected.source, cell.observation.text));
    return judgement;
  }
  if (!claim_fits(cell)) {
    judgement.verdict = Verdict::Mismatch;
    add("expectation", answer_text(cell));
    return judgement;
  }
  if (cell.claim.sealed.value_or(sealed) != sealed) {
    judgement.verdict = Verdict::Mismatch;
    add("claim", fmt::format("smaps shows it {}, the recipe promises {}",
                             sealed ? "without sl" : "with sl", sealed ? "a seal" : "none"));
    return judgement;
  }
  if (!judgement.findings.empty()) {
    judgement.verdict = Verdict::Violation;
    return judgement;
  }
  judgement.verdict = sealed ? Verdict::Held : Verdict::AsExpected;
  return judgement;
}

}  // namespace sealvisor::seal
