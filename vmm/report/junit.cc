#include "vmm/report/junit.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/report/conclude.h"
#include "vmm/report/finding_ids.h"
#include "vmm/report/html/markup.h"
#include "vmm/report/words.h"

namespace sealvisor::report {

namespace {

using html::escape;

enum class Outcome : std::uint8_t { Passed, Failure, Error, Skipped };

struct Case {
  std::string class_name;
  std::string name;
  Outcome outcome = Outcome::Passed;
  std::string type;                ///< Failure, Error.
  std::string message;             ///< One line; unless it passed.
  std::vector<std::string> lines;  ///< More about it.
  double seconds = 0;
};

struct Suite {
  std::string name;
  double seconds = 0;
  std::vector<std::pair<std::string, std::string>> properties;
  std::vector<Case> cases;
};

/// CI systems show classes as a tree, with a level for each dot.
std::string class_of(arch::Arch arch, const std::string& recipe, std::string_view what) {
  std::string name = recipe;
  std::replace(name.begin(), name.end(), '.', '_');
  return fmt::format("{}.{}.{}", arch::name_of(arch), name, what);
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return lines;
}

/// What a finding that is new comes to.
Outcome outcome_of(const Finding& finding, const Run& run) {
  return exit_code_of(finding, run) == ExitCode::Failed ? Outcome::Failure : Outcome::Error;
}

/// Findings that decide what a test case comes to, if any do: a new one fails it, and one that is
/// known keeps it from passing. True if they did.
bool take_findings(Case& to, const std::vector<const Finding*>& findings, const Run& run) {
  const Finding* first = nullptr;
  for (const Finding* finding : findings) {
    to.lines.push_back(finding->invariant + ": " + finding->text);
    if (finding->known) to.lines.push_back("known: " + finding->reason);
    if (first == nullptr || (first->known && !finding->known)) first = finding;
  }
  if (first == nullptr) return false;
  to.outcome = first->known ? Outcome::Skipped : outcome_of(*first, run);
  to.type = first->invariant;
  to.message = first->known ? fmt::format("known finding: {}", first->reason)
                            : fmt::format("{}: {}", first->invariant, first->text);
  return true;
}

std::vector<std::string> voices(const Cell& cell) {
  return {fmt::format("claimed: {}{}", cell.claim.made ? cell.claim.text : "nothing",
                      !cell.claim.sealed   ? ""
                      : *cell.claim.sealed ? ", sl"
                                           : ", no sl"),
          fmt::format("observed: {}{}{}", cell.observation.text,
                      cell.broken.empty() ? "" : "; broke ", fmt::join(cell.broken, " ")),
          cell.expectation
              ? fmt::format("expected: {} ({})", cell.expectation->text, cell.expectation->source)
              : std::string("expected: nothing is known of this kernel beforehand"),
          fmt::format("run it alone: --scenario '{}'", cell.scenario)};
}

void judge_unobserved(Case& to, const Cell& cell, const Run& run) {
  const std::string id = unobserved_id(run, cell);
  const auto known = std::find_if(run.findings.begin(), run.findings.end(),
                                  [&](const auto& one) { return one.id == id && one.known; });
  const bool missed = cell.observation.text == kNotReached;
  to.outcome = known != run.findings.end() ? Outcome::Skipped : Outcome::Error;
  to.type = missed ? "not-reached" : "unobserved";
  to.message = cell.observation.text;
  if (known != run.findings.end()) to.message += "; known finding: " + known->reason;
}

void judge_cell(Case& to, const Cell& cell, const Run& run) {
  const std::vector<const Finding*> findings = findings_under(run, id_of(run, cell));
  const bool bad = cell.verdict == Verdict::Violation || cell.verdict == Verdict::Mismatch;
  if (bad && cell.lie) {
    // What the control is for. Its findings are of this lie.
    for (const Finding* finding : findings) to.lines.push_back(finding->text);
    return;
  }
  if (take_findings(to, findings, run)) {
    // A finding that is known is no reason for knowing nothing of the rest.
    const bool known = to.outcome == Outcome::Skipped;
    if (known && cell.verdict == Verdict::Unobserved) judge_unobserved(to, cell, run);
    return;
  }
  if (cell.verdict == Verdict::Skipped) {
    to.outcome = Outcome::Skipped;
    to.message = cell.observation.text;
  } else if (cell.verdict == Verdict::Unobserved) {
    judge_unobserved(to, cell, run);
  } else if (bad || cell.lie) {
    to.outcome = Outcome::Failure;
    to.type = name_of(cell.verdict);
    to.message = cell.lie ? "the documented lie was not caught" : cell.observation.text;
  }
}

Case case_of(const Cell& cell, const Run& run) {
  Case made;
  made.class_name = class_of(run.arch, run.recipe, cell.mapping);
  made.name = cell.operation + "/" + cell.form;
  judge_cell(made, cell, run);
  const bool exception = cell.verdict == Verdict::Forced || cell.verdict == Verdict::ByDesign;
  if (exception)
    made.lines.push_back(fmt::format("{}: no seal keeps it out", name_of(cell.verdict)));
  // Beside what passed they would only fill the file.
  if (made.outcome != Outcome::Passed || cell.lie || exception) {
    const std::vector<std::string> more = voices(cell);
    made.lines.insert(made.lines.end(), more.begin(), more.end());
  }
  return made;
}

Case case_of(const Life& life, const Run& run) {
  Case made;
  made.class_name = class_of(run.arch, run.recipe, "scenarios");
  made.name = life.name;
  if (take_findings(made, findings_under(run, id_of(run, life.name)), run)) return made;
  if (life.violations != 0) {
    made.outcome = Outcome::Failure;
    made.type = "violation";
    made.message = fmt::format("{} violation(s) while it ran", life.violations);
  } else if (life.unsupported && life.complete) {
    made.outcome = Outcome::Skipped;
    made.message = words_of(life);
  } else if (life.status != 0 || !life.complete) {
    made.outcome = Outcome::Error;
    made.type = "not-finished";
    made.message = life.complete ? fmt::format("stopped by errno {}", life.status)
                                 : std::string("the run ended in the midst of it");
  }
  return made;
}

/// The worst that was seen of each mapping of a program, in all of its address spaces, a line each.
std::vector<std::string> worst_lines(const Program& program) {
  std::map<std::string, const ProgramMapping*> worst;
  for (const ProgramSpace& space : program.spaces) {
    for (const ProgramMapping& mapping : space.mappings) {
      const ProgramMapping*& one = worst[mapping.name];
      if (one == nullptr || mapping.change > one->change) one = &mapping;
    }
  }
  std::vector<std::string> lines;
  for (const auto& [name, mapping] : worst) {
    lines.push_back(fmt::format("observed: {} {}", name, change_text(*mapping)));
  }
  return lines;
}

/// The first lines of what it wrote, marked as its own.
void add_output(Case& to, std::string_view mark, std::string_view bytes) {
  constexpr std::size_t kMostBytes = 4096;
  for (const std::string& line : lines_of(bytes.substr(0, kMostBytes))) {
    to.lines.push_back(fmt::format("{}| {}", mark, line));
  }
  if (bytes.size() > kMostBytes) {
    to.lines.push_back(fmt::format("{}| ... {} bytes more", mark, bytes.size() - kMostBytes));
  }
}

Case case_of(const Program& program, const Run& run) {
  using End = Program::Outcome;
  Case made;
  made.class_name = class_of(run.arch, run.recipe, "programs");
  made.name = program.name;
  const bool decided = take_findings(made, findings_under(run, program_id_of(run, program)), run);
  if (decided && not_observed(program) && made.type == "unobserved") {
    made.outcome = Outcome::Error;
  } else if (!decided && program.outcome == End::CutOff) {
    made.outcome = Outcome::Error;
    made.type = "not-reached";
    made.message = outcome_text(program);
  } else if (!decided && failed_by_itself(program)) {
    const bool ran = program.outcome != End::NotRun && program.outcome != End::NotTraced;
    made.outcome = ran ? Outcome::Failure : Outcome::Error;
    made.type = ran ? "program-failed" : "not-run";
    made.message = outcome_text(program);
  }
  made.lines.push_back(
      fmt::format("{}: {}", fmt::join(program.command, " "), outcome_text(program)));
  for (std::string& line : worst_lines(program)) made.lines.push_back(std::move(line));
  if (made.outcome == Outcome::Passed) return made;
  add_output(made, "out", program.output);
  add_output(made, "err", program.errors);
  return made;
}

Case guest_case(const Run& run) {
  Case made;
  made.class_name = class_of(run.arch, run.recipe, "watch");
  made.name = "guest";
  made.seconds = run.seconds;
  if (run.ending.good) return made;
  made.outcome = Outcome::Error;
  made.type = run.ending.interrupted ? "interrupted" : "guest-failed";
  made.message = run.ending.text.empty() ? "the guest failed" : run.ending.text;
  made.lines = lines_of(run.ending.console_tail);
  return made;
}

Case rewalk_case(const Run& run) {
  Case made;
  made.class_name = class_of(run.arch, run.recipe, "watch");
  made.name = "re-walks";
  if (run.counts.mismatches != 0) {
    made.outcome = Outcome::Failure;
    made.type = "mismatch";
    made.message = fmt::format("{} difference(s) between guest memory and the event stream",
                               run.counts.mismatches);
  } else if (run.counts.rewalks == 0) {
    made.outcome = Outcome::Skipped;
    made.message = "there was none: nothing was compared";
  }
  return made;
}

/// The findings of one kind of tampering begin with it (vmm/run/session.cc).
std::string id_of_edit(const Run& run, const std::string& edit) {
  return id_of(run, "control/campaign/" + edit);
}

/// Of a campaign of tamperings, a case for each kind.
std::vector<Case> campaign_cases(const Run& run) {
  std::vector<Case> cases;
  if (!run.campaign) return cases;
  for (const Campaign::Row& row : run.campaign->rows) {
    if (cases.empty() || cases.back().name != row.edit) {
      Case made;
      made.class_name = class_of(run.arch, run.recipe, "campaign");
      made.name = row.edit;
      (void)take_findings(made, findings_under(run, id_of_edit(run, row.edit)), run);
      cases.push_back(std::move(made));
    }
    cases.back().lines.push_back(fmt::format("by {}{}: {} made, {} found as they are", row.writer,
                                             row.undone_at_once ? ", undone at once" : "", row.made,
                                             row.right));
  }
  return cases;
}

/// Findings that no test case of a cell or a scenario has.
std::vector<Case> other_findings(const Run& run) {
  std::set<const Finding*> told;
  const auto tell = [&](std::string_view id) {
    for (const Finding* finding : findings_under(run, id)) told.insert(finding);
  };
  for (const Cell& cell : run.cells) {
    tell(id_of(run, cell));
    if (cell.verdict != Verdict::Unobserved) continue;
    const std::string id = unobserved_id(run, cell);
    for (const Finding& finding : run.findings) {
      if (finding.id == id) told.insert(&finding);
    }
  }
  for (const Life& life : run.lives) tell(id_of(run, life.name));
  for (const Program& program : run.programs) tell(program_id_of(run, program));
  if (run.campaign) {
    for (const Campaign::Row& row : run.campaign->rows) tell(id_of_edit(run, row.edit));
  }
  std::vector<Case> cases;
  for (const Finding& finding : run.findings) {
    if (told.contains(&finding)) continue;
    Case made;
    made.class_name = class_of(run.arch, run.recipe, "findings");
    const std::string prefix = id_of(run, "");
    made.name = finding.id.starts_with(prefix) ? finding.id.substr(prefix.size()) : finding.id;
    (void)take_findings(made, {&finding}, run);
    cases.push_back(std::move(made));
  }
  return cases;
}

Suite suite_of(const Run& run) {
  Suite suite;
  suite.name = fmt::format("{} {}", arch::name_of(run.arch), run.recipe);
  suite.seconds = run.seconds;
  suite.properties = {{"kernel", run.kernel},
                      {"engine", run.engine},
                      {"engine-version", run.engine_version},
                      {"lane", run.lane},
                      {"cpu", run.cpu_model},
                      {"expected-to-be", !run.expectations ? "unknown"
                                         : run.control     ? "lying"
                                         : run.sealed      ? "sealed"
                                                           : "not sealed"},
                      {"outcome", run.summary}};
  if (run.campaign) suite.properties.emplace_back("campaign", campaign_words(run));
  for (const Cell& cell : run.cells) suite.cases.push_back(case_of(cell, run));
  for (const Life& life : run.lives) suite.cases.push_back(case_of(life, run));
  for (const Program& program : run.programs) suite.cases.push_back(case_of(program, run));
  for (Case& made : campaign_cases(run)) suite.cases.push_back(std::move(made));
  suite.cases.push_back(guest_case(run));
  suite.cases.push_back(rewalk_case(run));
  for (Case& made : other_findings(run)) suite.cases.push_back(std::move(made));
  return suite;
}

Suite suite_of(const NotRun& not_run) {
  Suite suite;
  suite.name = fmt::format("{} {}", arch::name_of(not_run.arch), not_run.recipe);
  Case made;
  made.class_name = class_of(not_run.arch, not_run.recipe, "watch");
  made.name = "start";
  made.outcome = Outcome::Error;
  made.type = "not-run";
  made.message = not_run.error.message;
  suite.cases.push_back(std::move(made));
  return suite;
}

Suite conclusion_suite(const Report& report) {
  Suite suite;
  suite.name = title_of(report);
  suite.properties = {{"threat-model", report.threat_model}};
  Case made;
  made.class_name = "sealvisor";
  made.name = "conclusion";
  if (report.exit_code != ExitCode::AsExpected) {
    made.outcome = Outcome::Failure;
    made.type = fmt::format("exit code {}", static_cast<int>(report.exit_code));
    made.message = report.conclusion;
  }
  suite.cases.push_back(std::move(made));
  return suite;
}

/// CI systems take test cases of the same class and name for one.
void make_unique(std::vector<Suite>& suites) {
  std::set<std::pair<std::string, std::string>> seen;
  for (Suite& suite : suites) {
    for (Case& made : suite.cases) {
      const std::string name = made.name;
      for (int number = 2; !seen.emplace(made.class_name, made.name).second; ++number) {
        made.name = fmt::format("{} ({})", name, number);
      }
    }
  }
}

struct Sums {
  std::size_t tests = 0;
  std::size_t failures = 0;
  std::size_t errors = 0;
  std::size_t skipped = 0;
  double seconds = 0;

  void add(const Suite& suite) {
    seconds += suite.seconds;
    for (const Case& made : suite.cases) {
      ++tests;
      if (made.outcome == Outcome::Failure) ++failures;
      if (made.outcome == Outcome::Error) ++errors;
      if (made.outcome == Outcome::Skipped) ++skipped;
    }
  }
  [[nodiscard]] std::string attributes() const {
    return fmt::format(R"(tests="{}" failures="{}" errors="{}" skipped="{}" time="{:.3f}")", tests,
                       failures, errors, skipped, seconds);
  }
};

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + escape(line);
  return text;
}

std::string xml_of(const Case& made) {
  std::string xml = fmt::format(R"(    <testcase classname="{}" name="{}" time="{:.3f}")",
                                escape(made.class_name), escape(made.name), made.seconds);
  const std::string text = text_of(made.lines);
  switch (made.outcome) {
    case Outcome::Passed:
      if (text.empty()) return xml + "/>\n";
      return xml + fmt::format(">\n      <system-out>{}</system-out>\n    </testcase>\n", text);
    case Outcome::Skipped:
      xml += fmt::format(">\n      <skipped message=\"{}\">{}</skipped>\n", escape(made.message),
                         text);
      break;
    case Outcome::Failure:
    case Outcome::Error: {
      const char* const name = made.outcome == Outcome::Failure ? "failure" : "error";
      xml += fmt::format(">\n      <{0} type=\"{1}\" message=\"{2}\">{3}</{0}>\n", name,
                         escape(made.type), escape(made.message), text);
      break;
    }
  }
  return xml + "    </testcase>\n";
}

std::string xml_of(const Suite& suite) {
  Sums sums;
  sums.add(suite);
  std::string xml =
      fmt::format("  <testsuite name=\"{}\" {}>\n", escape(suite.name), sums.attributes());
  if (!suite.properties.empty()) {
    xml += "    <properties>\n";
    for (const auto& [name, value] : suite.properties) {
      xml += fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, escape(value));
    }
    xml += "    </properties>\n";
  }
  for (const Case& made : suite.cases) xml += xml_of(made);
  return xml + "  </testsuite>\n";
}

}  // namespace

std::string render_junit(const Report& report) {
  std::vector<Suite> suites;
  for (const Run& run : report.runs) suites.push_back(suite_of(run));
  for (const NotRun& not_run : report.not_run) suites.push_back(suite_of(not_run));
  suites.push_back(conclusion_suite(report));
  make_unique(suites);
  Sums sums;
  for (const Suite& suite : suites) sums.add(suite);
  std::string xml =
      fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" {}>\n",
                  title_of(report), sums.attributes());
  for (const Suite& suite : suites) xml += xml_of(suite);
  return xml + "</testsuites>\n";
}

}  // namespace sealvisor::report
