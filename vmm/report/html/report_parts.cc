#include "vmm/report/html/report_parts.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmm/report/finding_ids.h"
#include "vmm/report/html/markup.h"
#include "vmm/report/words.h"

namespace sealvisor::report::html {

namespace {

bool is_bad(const Cell& cell) {
  return cell.verdict == Verdict::Violation || cell.verdict == Verdict::Mismatch;
}

/// Findings about a cell, the one that stands for all of its form too.
std::vector<const Finding*> findings_about(const Run& run, const Cell& cell) {
  std::vector<const Finding*> findings = findings_under(run, id_of(run, cell));
  if (cell.verdict != Verdict::Unobserved) return findings;
  const std::string id = unobserved_id(run, cell);
  for (const Finding& finding : run.findings) {
    if (finding.id == id) findings.push_back(&finding);
  }
  return findings;
}

bool any_new(const std::vector<const Finding*>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding* finding) { return !finding->known; });
}

/// What colour and place say of findings, in words: who sees neither is told too.
const char* finding_words(const std::vector<const Finding*>& findings) {
  if (findings.empty()) return "";
  return any_new(findings) ? ", new finding" : ", known finding";
}

}  // namespace

std::string run_id(std::size_t run) { return fmt::format("r{}", run + 1); }

std::string cell_id(std::size_t run, std::size_t cell) {
  return fmt::format("r{}-c{}", run + 1, cell + 1);
}

std::string program_id(std::size_t run, std::size_t program) {
  return fmt::format("r{}-u{}", run + 1, program + 1);
}

std::string process_id(std::size_t run, std::uint64_t process) {
  return fmt::format("r{}-p{}", run + 1, process);
}

std::string writer_id(std::size_t run, const Run& of, std::uint64_t pc) {
  const auto writer =
      std::lower_bound(of.writers.begin(), of.writers.end(), pc,
                       [](const Writer& one, std::uint64_t wanted) { return one.pc < wanted; });
  if (pc == 0 || writer == of.writers.end() || writer->pc != pc || writer->lines.empty()) return "";
  return fmt::format("r{}-w{}", run + 1, writer - of.writers.begin() + 1);
}

std::string link(std::string_view id, std::string_view text) {
  return id.empty() ? escape(text) : fmt::format("<a href=\"#{}\">{}</a>", id, escape(text));
}

State state_of(const Run& run, const Cell& cell) {
  const std::vector<const Finding*> findings = findings_about(run, cell);
  const bool caught = cell.lie && is_bad(cell);
  if (any_new(findings) || (cell.lie && !caught)) return State::Finding;
  if (caught) return State::Lie;
  if (is_bad(cell)) return findings.empty() ? State::Finding : State::Open;
  if (cell.verdict == Verdict::Unobserved || !findings.empty()) return State::Open;
  if (cell.verdict == Verdict::Forced || cell.verdict == Verdict::ByDesign) return State::Exception;
  return cell.verdict == Verdict::Skipped ? State::Skipped : State::Good;
}

State state_of(const Run& run, const Life& life) {
  const std::vector<const Finding*> findings = findings_under(run, id_of(run, life.name));
  if (any_new(findings)) return State::Finding;
  if (!findings.empty()) return State::Open;
  if (life.unsupported && life.complete) return State::Skipped;
  return is_good(life) ? State::Good : State::Finding;
}

State state_of(const Run& run, const Program& program) {
  const std::vector<const Finding*> findings = findings_under(run, program_id_of(run, program));
  if (any_new(findings) || failed_by_itself(program)) return State::Finding;
  if (!findings.empty() || program.spaces.empty()) return State::Open;
  return forced_mappings(program) != 0 ? State::Exception : State::Good;
}

const char* name_of(State state) {
  switch (state) {
    case State::Finding:
      return "finding";
    case State::Open:
      return "open";
    case State::Lie:
      return "lie";
    case State::Exception:
      return "exception";
    case State::Good:
      return "good";
    case State::Skipped:
      break;
  }
  return "skipped";
}

const char* style_of(State state) {
  switch (state) {
    case State::Finding:
      return "bad";
    case State::Open:
      return "open";
    case State::Lie:
    case State::Exception:
      return "other";
    case State::Good:
      return "good";
    case State::Skipped:
      break;
  }
  return "note";
}

std::string verdict_words(const Run& run, const Cell& cell) {
  const std::string words = name_of(cell.verdict);
  if (cell.lie) return words + (is_bad(cell) ? ": lie caught" : ": lie not caught");
  return (cell.observation.text == kNotReached ? "not reached" : words) +
         finding_words(findings_about(run, cell));
}

std::string outcome_words(const Run& run, const Life& life) {
  return words_of(life) + finding_words(findings_under(run, id_of(run, life.name)));
}

std::string outcome_words(const Run& run, const Program& program) {
  const std::size_t changed = changed_mappings(program);
  const std::string seen =
      program.spaces.empty() ? ", nothing observed"
      : changed == 0         ? ", no change seen"
                     : fmt::format(", {} mapping{} changed", changed, changed == 1 ? "" : "s");
  return outcome_text(program) + seen +
         finding_words(findings_under(run, program_id_of(run, program)));
}

}  // namespace sealvisor::report::html
