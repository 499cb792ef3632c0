#include "vmm/seal/verdict.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "guest/scenario/operations.h"

namespace sealvisor::seal {

using report::Change;
using report::Verdict;

bool visible(Change change) { return change > Change::Refaulted; }

namespace {

/// Refaults that nobody expects are the kernel's business: they count as unchanged. One that is
/// expected must be seen.
bool same_change(Change expected, Change observed) {
  return expected == observed || (expected == Change::Unchanged && observed == Change::Refaulted);
}

report::Verdict verdict_of(report::Exception exception, bool sealed) {
  if (!sealed) return Verdict::AsExpected;
  switch (exception) {
    case report::Exception::None:
      break;
    case report::Exception::Forced:
      return Verdict::Forced;
    case report::Exception::ByDesign:
      return Verdict::ByDesign;
  }
  return Verdict::Held;
}

/// The invariants that such a change breaks by itself.
std::string_view broken_by(Change change) {
  switch (change) {
    case Change::Gone:
      return "S1";
    case Change::Moved:
      return "S1 S4";
    case Change::Added:
      return "S4";
    case Change::PermissionChanged:
      return "S3";
    case Change::Privatised:
      return "S2";
    case Change::Replaced:
      return "S1 S2 S3";
    default:
      return "";
  }
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
  // What is excepted is expected of a sealed mapping too, whatever the answer.
  const bool excepted = exception_of(cell) != report::Exception::None;
  if (visible(observed) && refused && !excepted) {
    add("claim",
        fmt::format("the kernel answered {} and yet: {}", cell.claim.text, cell.observation.text));
  }
  if (visible(observed) && cell.claim.sealed.value_or(false) && !excepted) {
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
    judgement.verdict = !judgement.findings.empty() ? Verdict::Violation
                        : cell.claim.sealed.value_or(false) && excepted
                            ? verdict_of(exception_of(cell), true)
                            : Verdict::AsExpected;
    return judgement;
  }
  const report::Expected& expected = *cell.expectation;
  if (expected.change && !same_change(*expected.change, observed)) {
    const bool was_to_stay = !visible(*expected.change) && visible(observed);
    judgement.verdict = was_to_stay ? Verdict::Violation : Verdict::Mismatch;
    if (!was_to_stay) {
      add("expectation",
          fmt::format("expected {} ({}), observed {}", report::name_of(*expected.change),
                      expected.source, cell.observation.text));
    }
    return judgement;
  }
  if (!expected.change && !visible(observed)) {
    judgement.verdict = Verdict::Mismatch;
    add("expectation", fmt::format("expected some change ({}), observed {}", expected.source,
                                   cell.observation.text));
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
    add("claim", fmt::format("smaps shows it {}, expected {}", sealed ? "without sl" : "with sl",
                             sealed ? "a seal" : "none"));
    return judgement;
  }
  if (!judgement.findings.empty()) {
    judgement.verdict = Verdict::Violation;
    return judgement;
  }
  judgement.verdict = verdict_of(expected.exception, sealed);
  return judgement;
}

report::Exception exception_of(const report::Cell& cell) {
  const Change observed = cell.observation.change;
  if (cell.expectation) {
    return cell.expectation->change == observed ? cell.expectation->exception
                                                : report::Exception::None;
  }
  const scenario::Operation* const operation = scenario::operation_named(cell.operation);
  if (operation == nullptr) return report::Exception::None;
  const bool forced =
      scenario::forces(operation->call) || operation->call == scenario::Call::ForcedMadvise;
  if (forced && observed == Change::Privatised) return report::Exception::Forced;
  if (observed == Change::Moved && shows_namespace(cell, cell.mapping, "S4")) {
    return report::Exception::ByDesign;
  }
  const bool stays_behind =
      scenario::looks_into_child(operation->call) && cell.mapping.starts_with("[uprobes]");
  if (stays_behind && observed == Change::Gone) return report::Exception::ByDesign;
  return report::Exception::None;
}

bool shows_namespace(const report::Cell& cell, std::string_view mapping,
                     std::string_view invariant) {
  const scenario::Operation* const operation = scenario::operation_named(cell.operation);
  return operation != nullptr && scenario::enters_time_namespace(operation->call) &&
         mapping.starts_with("[vvar]") &&
         (invariant == "S1" || invariant == "S2" || invariant == "S4");
}

std::vector<std::string_view> invariants_in(std::string_view names) {
  std::vector<std::string_view> all;
  while (!names.empty()) {
    const std::size_t end = std::min(names.find(' '), names.size());
    all.push_back(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return all;
}

bool implied(const report::Cell& cell, std::string_view invariant) {
  if (cell.expectation) {
    const report::Expected& expected = *cell.expectation;
    return !expected.change ||
           broken_by(*expected.change).find(invariant) != std::string_view::npos ||
           expected.breaks.find(invariant) != std::string::npos;
  }
  const report::Exception exception = exception_of(cell);
  if (exception == report::Exception::None) return false;
  return broken_by(cell.observation.change).find(invariant) != std::string_view::npos ||
         invariant == "S2" || (exception == report::Exception::Forced && invariant == "S5");
}

}  // namespace sealvisor::seal
