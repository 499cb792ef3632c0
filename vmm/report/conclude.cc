#include "vmm/report/conclude.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "guest/scenario/operations.h"
#include "vmm/report/finding_ids.h"
#include "vmm/report/layout.h"
#include "vmm/report/program_text.h"

namespace sealvisor::report {

namespace {

constexpr const char* kTrusted =
    "guest user space, and for the controls the guest kernel, are hostile; the VMM, the engine and "
    "the host are trusted; stale TLB entries and DMA are out of scope; ";
/// Most of a guest's ending that the conclusion, one line, repeats.
constexpr std::size_t kMostEnding = 100;

std::string label(const Run& run) {
  return fmt::format("{} {}", arch::name_of(run.arch), run.recipe);
}

/// "3 cells", "1 cell", "2 mismatches".
std::string count_of(std::uint64_t count, std::string_view what) {
  const char* plural = what.ends_with("ch") ? "es" : "s";
  return fmt::format("{} {}{}", grouped(count), what, count == 1 ? "" : plural);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

bool is_bad(const Cell& cell) {
  return cell.verdict == Verdict::Violation || cell.verdict == Verdict::Mismatch;
}

std::size_t count_verdict(const Run& run, Verdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(),
                    [&](const Cell& cell) { return cell.verdict == verdict; }));
}

/// Held cells whose mapping had pages that were never populated: nothing is said of those pages.
std::size_t count_held_in_part(const Run& run) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(), [](const Cell& cell) {
        const Pages& pages = cell.observation.pages;
        return cell.verdict == Verdict::Held && pages.observed < pages.total;
      }));
}

/// " (2 of them seen in part)", or nothing.
std::string in_part(std::size_t count) {
  return count == 0 ? "" : fmt::format(" ({} of them seen in part)", grouped(count));
}

/// Cells that user mode saw change.
std::size_t count_changed(const Run& run) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(), [](const Cell& cell) {
        return cell.observation.change > Change::Refaulted && cell.verdict != Verdict::Skipped;
      }));
}

/// Held cells that the seal kept: an unsealed kernel is expected to act otherwise.
std::size_t count_by_seal(const Run& run) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(), [](const Cell& cell) {
        return cell.verdict == Verdict::Held && cell.expectation && cell.expectation->by_seal;
      }));
}

/// Cells of a kernel of which something is expected, and of these nothing.
std::size_t count_unknown(const Run& run) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(), [&](const Cell& cell) {
        return run.expectations && !cell.expectation && cell.verdict == Verdict::AsExpected;
      }));
}

std::size_t count_forced(const Run& run) { return count_verdict(run, Verdict::Forced); }

std::string forced_text(std::size_t count) {
  return count == 0 ? "nothing forced"
                    : fmt::format("{} changed by force (S2, S5)", grouped(count));
}

std::size_t count_lies(const Run& run, bool caught_only) {
  return static_cast<std::size_t>(
      std::count_if(run.cells.begin(), run.cells.end(),
                    [&](const Cell& cell) { return cell.lie && (!caught_only || is_bad(cell)); }));
}

bool has_finding(const Run& run, const std::string& id) {
  return std::any_of(run.findings.begin(), run.findings.end(),
                     [&](const Finding& finding) { return finding.id == id; });
}

bool has_finding_under(const Run& run, const std::string& prefix) {
  return !findings_under(run, prefix).empty();
}

void add_finding(Run& run, const std::string& what, const char* invariant, std::string text) {
  run.findings.push_back({what + "/" + invariant, invariant, std::move(text), false, ""});
}

/// Findings for what is wrong and has none.
void complete_findings(Run& run) {
  for (const Cell& cell : run.cells) {
    const std::string id = id_of(run, cell);
    if (is_bad(cell) && !has_finding_under(run, id)) {
      add_finding(run, id, "expectation",
                  fmt::format("expected {}, observed {}, the kernel answered {}",
                              cell.expectation ? cell.expectation->text : "what it claims",
                              cell.observation.text,
                              cell.claim.made ? cell.claim.text : std::string("nothing")));
    }
  }
  for (const MappingInfo& mapping : run.mappings) {
    const std::string id = id_of(run, mapping.name);
    if (!run.expectations || mapping.populated == 0 ||
        mapping.claims_sealed.value_or(run.sealed) == run.sealed ||
        has_finding(run, id + "/claim")) {
      continue;
    }
    add_finding(run, id, "claim",
                fmt::format("smaps shows {} {}, expected {}", mapping.name,
                            run.sealed ? "without sl" : "with sl", run.sealed ? "a seal" : "none"));
  }
  for (const Life& life : run.lives) {
    const std::string id = id_of(run, life.name);
    // One that the end of a guest cut off is said with that end.
    const bool cut_off = !life.complete && run.ending.good;
    const bool ran = life.status == 0 || life.unsupported;
    // Nothing seen is nothing held.
    const bool unseen = ran && life.complete && !life.unsupported && life.user_entries == 0;
    if ((life.violations == 0 && ran && !cut_off && !unseen) || has_finding_under(run, id)) {
      continue;
    }
    add_finding(run, id, "monitor",
                life.violations != 0
                    ? fmt::format("{} while it ran", count_of(life.violations, "violation"))
                : life.status != 0
                    ? fmt::format("the agent could not run it: errno {}", life.status)
                : unseen ? std::string("user mode was never judged while it ran")
                         : std::string("the agent said goodbye in the midst of it"));
  }
  if (run.counts.mismatches != 0 && !has_finding_under(run, id_of(run, "rewalk"))) {
    add_finding(run, id_of(run, "rewalk"), "monitor",
                fmt::format("{} between guest memory and the event stream",
                            count_of(run.counts.mismatches, "difference")));
  }
  if (run.counts.witness_differences.value_or(0) != 0 &&
      !has_finding_under(run, id_of(run, "witness"))) {
    add_finding(run, id_of(run, "witness"), "monitor",
                fmt::format("the second witness found {}",
                            count_of(*run.counts.witness_differences, "difference")));
  }
  if (run.counts.stepped_instructions && run.ending.good) {
    // A check that saw nothing says nothing.
    const std::uint64_t untrapped = run.counts.stepped_untrapped.value_or(0);
    const bool none = run.counts.stepped_entries.value_or(0) == 0;
    if (none || untrapped != 0) {
      add_finding(run, id_of(run, "step-check"), "monitor",
                  none ? std::string("single step saw no entry to user mode")
                       : fmt::format("{} to user mode had no trap",
                                     untrapped == 1 ? "1 entry" : grouped(untrapped) + " entries"));
    }
  }
}

/// One finding for each program, and each mapping and form with cells, that nothing could be said
/// about.
void report_unobserved(Run& run) {
  if (!run.ending.good) return;
  for (const Program& program : run.programs) {
    if (!not_observed(program)) continue;
    add_finding(run, program_id_of(run, program), "unobserved",
                "it ran, and no address space of it with a system mapping was seen: nothing can be "
                "said");
  }
  std::vector<std::pair<std::string, std::vector<const Cell*>>> groups;
  for (const Cell& cell : run.cells) {
    if (cell.verdict != Verdict::Unobserved) continue;
    const std::string name = cell.mapping + "/" + cell.form;
    auto place = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& one) { return one.first == name; });
    if (place == groups.end()) place = groups.insert(place, {name, {}});
    place->second.push_back(&cell);
  }
  for (const auto& [name, cells] : groups) {
    const Cell& first = *cells.front();
    add_finding(
        run, id_of(run, name), "unobserved",
        fmt::format("{} of {}: nothing can be said; the first, {}: {}",
                    count_of(cells.size(), "cell"), name, first.operation, first.observation.text));
  }
}

/// A control must lie where it is documented to, and be caught there; those findings are no news.
void judge_lies(Run& run) {
  for (const Cell& cell : run.cells) {
    if (!cell.lie) continue;
    const std::string id = id_of(run, cell);
    if (is_bad(cell)) {
      for (Finding& finding : run.findings) {
        if (!finding.id.starts_with(id + "/")) continue;
        finding.known = true;
        finding.reason = kDocumentedLie;
      }
    } else if (run.ending.good) {
      add_finding(run, id, "control",
                  fmt::format("the documented lie was not caught: verdict {}, {}",
                              name_of(cell.verdict), cell.observation.text));
    }
  }
}

bool has_new_finding(const Run& run) {
  return std::any_of(run.findings.begin(), run.findings.end(),
                     [](const Finding& finding) { return !finding.known; });
}

std::string tampered_text(const Run& run) {
  const Campaign& campaign = *run.campaign;
  const std::string undone =
      run.lane == "audited"
          ? fmt::format("{} undone at once, which this lane does not see", campaign.transient)
          : fmt::format("{} of {} recorded", campaign.recorded, campaign.transient);
  return fmt::format("{}: {} of {} reported, {}, {} false alarms",
                     count_of(campaign.made, "tampering"), campaign.reported, campaign.visible,
                     undone, campaign.false_alarms);
}

std::string summary_of(const Run& run) {
  std::vector<std::string> parts;
  if (!run.ending.good) {
    parts.push_back((run.ending.interrupted ? "" : "the guest failed: ") + run.ending.text);
  }
  const auto add = [&](std::size_t count, std::string_view what) {
    if (count != 0) parts.push_back(fmt::format("{} {}", count, what));
  };
  if (const std::size_t held = count_verdict(run, Verdict::Held); held != 0) {
    parts.push_back(count_of(held, "cell") + " held" + in_part(count_held_in_part(run)));
  }
  add(count_verdict(run, Verdict::Forced), "changed by force");
  add(count_verdict(run, Verdict::ByDesign), "changed by design");
  if (const std::size_t expected = count_verdict(run, Verdict::AsExpected); expected != 0) {
    parts.push_back(fmt::format("{} {}, {} of them seen to change", count_of(expected, "cell"),
                                run.expectations ? "as expected" : "as the kernel claims",
                                count_changed(run)));
  }
  if (run.control) {
    parts.push_back(fmt::format("{} of {} caught", count_lies(run, true),
                                count_of(count_lies(run, false), "documented lie")));
  } else {
    add(count_verdict(run, Verdict::Violation), "in violation");
    add(count_verdict(run, Verdict::Mismatch), "not as claimed or expected");
  }
  add(count_verdict(run, Verdict::Unobserved), "unobserved");
  add(count_verdict(run, Verdict::Skipped), "skipped");
  if (!run.programs.empty()) {
    std::size_t changed = 0;
    for (const Program& program : run.programs) changed += changed_mappings(program);
    parts.push_back(fmt::format("{}, {} seen to change", count_of(run.programs.size(), "program"),
                                count_of(changed, "system mapping")));
  }
  if (!run.lives.empty()) {
    std::uint64_t violations = 0;
    for (const Life& life : run.lives) violations += life.violations;
    parts.push_back(fmt::format("{} without cells, {}", count_of(run.lives.size(), "scenario"),
                                count_of(violations, "violation")));
  }
  if (run.campaign) parts.push_back(tampered_text(run));
  const auto fresh = std::count_if(run.findings.begin(), run.findings.end(),
                                   [](const Finding& finding) { return !finding.known; });
  if (fresh != 0) parts.push_back(count_of(static_cast<std::uint64_t>(fresh), "new finding"));
  if (run.counts.mismatches != 0) {
    parts.push_back(count_of(run.counts.mismatches, "mismatch") + ": not trustworthy");
  }
  if (parts.empty()) parts.emplace_back("nothing was tried");
  return fmt::format("{}: {} ({} lane)", run.good ? "good" : "not good", join(parts, ", "),
                     run.lane);
}

/// Rank in the list of findings: new before known, invariants before what is said about the guest.
int rank(const Finding& finding) {
  constexpr std::array<std::string_view, 8> kOrder = {"claim",     "expectation", "control",
                                                      "went-away", "identity",    "monitor",
                                                      "evidence",  "unobserved"};
  const auto found = std::find(kOrder.begin(), kOrder.end(), finding.invariant);
  // S1 to S8 are not in it: they come first.
  const int order = found == kOrder.end() ? 0 : 1 + static_cast<int>(found - kOrder.begin());
  const int documented = finding.reason == kDocumentedLie ? 200 : 100;
  return finding.known ? documented + order : order;
}

template <typename Count>
std::size_t sum(const std::vector<const Run*>& runs, Count count) {
  std::size_t total = 0;
  for (const Run* run : runs) total += count(*run);
  return total;
}

/// What good runs allow to say. Cells of a run that is not good are never part of it.
std::vector<std::string> confirmed(const Report& report) {
  std::vector<const Run*> sealed;
  std::vector<const Run*> unsealed;
  std::vector<const Run*> unknown;
  std::vector<const Run*> controls;
  std::uint64_t lives = 0;
  for (const Run& run : report.runs) {
    if (!run.good) continue;
    lives += run.lives.size();
    if (run.cells.size() == count_verdict(run, Verdict::Skipped)) continue;
    auto& group = run.control         ? controls
                  : !run.expectations ? unknown
                  : run.sealed        ? sealed
                                      : unsealed;
    group.push_back(&run);
  }
  std::vector<std::string> sentences;
  const auto held = [](const Run& run) { return count_verdict(run, Verdict::Held); };
  const auto as_expected = [](const Run& run) { return count_verdict(run, Verdict::AsExpected); };
  if (!sealed.empty()) {
    const std::size_t unchanged = sum(sealed, held);
    const std::size_t by_seal = sum(sealed, count_by_seal);
    const std::size_t by_design =
        sum(sealed, [](const Run& run) { return count_verdict(run, Verdict::ByDesign); });
    std::string sentence = fmt::format("sealed: {} unchanged, {} of them refused by the seal",
                                       count_of(unchanged, "cell"), grouped(by_seal));
    sentence += in_part(sum(sealed, count_held_in_part));
    sentence += ", " + forced_text(sum(sealed, count_forced));
    if (by_design != 0) sentence += fmt::format("; {} changed by design", grouped(by_design));
    if (const std::size_t nothing = sum(sealed, count_unknown); nothing != 0) {
      sentence += fmt::format("; nothing is expected of {} more, which contradict no claim",
                              count_of(nothing, "cell"));
    }
    sentences.push_back(std::move(sentence));
  }
  if (!unsealed.empty()) {
    sentences.push_back(fmt::format("not sealed: {} of {} seen to change, as expected",
                                    sum(unsealed, count_changed),
                                    count_of(sum(unsealed, as_expected), "cell")));
  }
  if (!unknown.empty()) {
    sentences.push_back(
        fmt::format("own image: the kernel did what it claims, {} of {} seen to change, {}",
                    sum(unknown, count_changed), count_of(sum(unknown, as_expected), "cell"),
                    forced_text(sum(unknown, count_forced))));
  }
  if (!controls.empty()) {
    const std::size_t caught = sum(controls, [](const Run& run) { return count_lies(run, true); });
    sentences.push_back(caught == 0 ? "control: none of the documented lies was tried"
                                    : fmt::format("control: exactly the {} caught",
                                                  count_of(caught, "documented lie")));
  }
  for (const Run& run : report.runs) {
    if (run.good && run.campaign) sentences.push_back(label(run) + ": " + tampered_text(run));
  }
  if (lives != 0) {
    sentences.push_back(
        fmt::format("0 violations in {} without cells", count_of(lives, "scenario")));
  }
  for (std::string& sentence : programs_confirmed(report.runs)) {
    sentences.push_back(std::move(sentence));
  }
  return sentences;
}

/// The first of several, and how many more there are: the conclusion is one line.
void add_first(std::vector<std::string>& sentences, const std::vector<std::string>& all) {
  if (all.empty()) return;
  sentences.push_back(
      all.size() == 1 ? all.front() : fmt::format("{}, and {} more", all.front(), all.size() - 1));
}

std::string ending_of(const Run& run) {
  std::string text = run.ending.text;
  if (text.size() > kMostEnding) text = text.substr(0, kMostEnding) + "...";
  return fmt::format("{}: {} ({})", label(run),
                     run.ending.interrupted ? "stopped" : "the guest failed", text);
}

/// Programs that nothing was expected of and that failed all the same.
std::string failed_programs(const Report& report) {
  std::size_t count = 0;
  std::string first;
  for (const Run& run : report.runs) {
    for (const Program& program : run.programs) {
      if (!failed_by_itself(program)) continue;
      if (count++ == 0) first = fmt::format("{}: {}", program.name, outcome_text(program));
    }
  }
  return count == 0
             ? ""
             : fmt::format("{} failed by {} own account ({}{})", count_of(count, "program"),
                           count == 1 ? "its" : "their", count == 1 ? "" : "the first, ", first);
}

std::vector<std::string> failures(const Report& report) {
  std::vector<std::string> sentences;
  std::vector<const Finding*> fresh;
  for (const Finding& finding : report.findings) {
    if (!finding.known) fresh.push_back(&finding);
  }
  if (!fresh.empty()) {
    sentences.push_back(
        fmt::format("{}, the first {}", count_of(fresh.size(), "new finding"), fresh.front()->id));
  }
  std::vector<std::string> endings;
  std::vector<std::string> untrusted;
  for (const Run& run : report.runs) {
    if (!run.ending.good) endings.push_back(ending_of(run));
    if (run.counts.mismatches != 0) {
      untrusted.push_back(fmt::format("{} is not trusted: {} between memory and events", label(run),
                                      count_of(run.counts.mismatches, "difference")));
    }
  }
  std::vector<std::string> missing;
  for (const NotRun& not_run : report.not_run) {
    missing.push_back(
        fmt::format("{} {}: did not run", arch::name_of(not_run.arch), not_run.recipe));
  }
  for (const auto* all : {&endings, &untrusted, &missing}) add_first(sentences, *all);
  if (std::string failed = failed_programs(report); !failed.empty()) {
    sentences.push_back(std::move(failed));
  }
  if (report.runs.empty() && report.not_run.empty()) sentences.emplace_back("nothing was run");
  return sentences;
}

std::string lanes(const Report& report) {
  std::vector<std::string> names;
  for (const Run& run : report.runs) {
    std::string name = fmt::format("{} lane ({})", run.lane, run.engine);
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  return join(names, ", ");
}

/// One line, whatever happened: what went wrong first, then what was confirmed all the same.
std::string conclusion_of(const Report& report) {
  const std::vector<std::string> bad = failures(report);
  std::vector<std::string> good = confirmed(report);
  if (bad.empty() && good.empty()) return "NOT AS EXPECTED: nothing was there to be judged.";
  // Of guests that never ran nothing is known, bad or good.
  // Of a program that failed by itself nothing else was expected.
  const char* const no = report.runs.empty()                           ? "NOT VERIFIED: "
                         : report.exit_code == ExitCode::ProgramFailed ? "PROGRAM FAILED: "
                                                                       : "NOT AS EXPECTED: ";
  std::string text = bad.empty() ? "AS EXPECTED: " : no + join(bad, "; ");
  if (!bad.empty() && !good.empty()) text += ". Apart from that: ";
  text += join(good, "; ");
  std::size_t unobserved = 0;
  for (const Run& run : report.runs) unobserved += count_verdict(run, Verdict::Unobserved);
  if (unobserved != 0) {
    text += fmt::format("; {} unobserved", count_of(unobserved, "cell"));
  }
  if (!report.runs.empty()) text += "; " + lanes(report);
  text += ".";
  return text;
}

int badness(ExitCode code) {
  switch (code) {
    case ExitCode::AsExpected:
      return 0;
    case ExitCode::ProgramFailed:
      return 1;
    case ExitCode::Usage:
      return 2;
    case ExitCode::HostLacks:
      return 3;
    case ExitCode::GuestFailed:
      return 4;
    case ExitCode::Failed:
      return 5;
  }
  return 5;
}

}  // namespace

ExitCode worse(ExitCode one, ExitCode other) { return badness(one) < badness(other) ? other : one; }

ExitCode exit_code_of(const Finding& finding, const Run& run) {
  if (finding.invariant == "evidence") return ExitCode::HostLacks;
  if (finding.invariant == "monitor" && !run.ending.good) return ExitCode::GuestFailed;
  return ExitCode::Failed;
}

namespace {

/// What was assumed, and what was done of that which no seal keeps out.
std::string threat_model_of(const std::vector<Run>& runs) {
  const std::string method = programs_method(runs);
  if (!method.empty()) return kTrusted + method;
  const auto any = [&](auto&& is) {
    return std::any_of(runs.begin(), runs.end(), [&](const Run& run) {
      return std::any_of(run.cells.begin(), run.cells.end(), is);
    });
  };
  const auto done = [](const Cell& cell) { return cell.claim.made && cell.claim.result >= 0; };
  const bool forced = any([&](const Cell& cell) {
    const scenario::Operation* const operation = scenario::operation_named(cell.operation);
    return cell.verdict == Verdict::Forced ||
           (operation != nullptr && scenario::forces(operation->call) && done(cell));
  });
  const bool entered = any([&](const Cell& cell) {
    const scenario::Operation* const operation = scenario::operation_named(cell.operation);
    return operation != nullptr && scenario::enters_time_namespace(operation->call) && done(cell);
  });
  return std::string(kTrusted) +
         (forced ? "forced writes (ptrace, /proc/PID/mem) were made, and are a class of their own"
                 : "nothing was forced: no ptrace or /proc/PID/mem write got through") +
         (entered ? "; time namespaces were entered" : "; no time namespace was entered");
}

}  // namespace

Report conclude(std::vector<Run> runs, std::vector<NotRun> not_run,
                std::span<const KnownFinding> known) {
  Report report;
  report.runs = std::move(runs);
  report.not_run = std::move(not_run);
  report.threat_model = threat_model_of(report.runs);
  if (report.runs.empty() && report.not_run.empty()) report.exit_code = ExitCode::Usage;
  for (Run& run : report.runs) {
    complete_findings(run);
    report_unobserved(run);
    if (run.control) judge_lies(run);
    apply_known(run, known);
    run.good = run.ending.good && run.counts.mismatches == 0 && !has_new_finding(run);
    run.summary = summary_of(run);
    if (!run.ending.good) report.exit_code = worse(report.exit_code, ExitCode::GuestFailed);
    if (run.counts.mismatches != 0) report.exit_code = worse(report.exit_code, ExitCode::Failed);
    for (const Finding& finding : run.findings) {
      if (finding.known) continue;
      report.exit_code = worse(report.exit_code, exit_code_of(finding, run));
    }
    if (std::any_of(run.programs.begin(), run.programs.end(), failed_by_itself)) {
      report.exit_code = worse(report.exit_code, ExitCode::ProgramFailed);
    }
    report.findings.insert(report.findings.end(), run.findings.begin(), run.findings.end());
  }
  for (const NotRun& missing : report.not_run) {
    report.exit_code = worse(report.exit_code, missing.error.code);
  }
  std::stable_sort(
      report.findings.begin(), report.findings.end(),
      [](const Finding& one, const Finding& other) { return rank(one) < rank(other); });
  if (failures(report).empty() && confirmed(report).empty()) {
    report.exit_code = worse(report.exit_code, ExitCode::Failed);
  }
  report.conclusion = conclusion_of(report);
  return report;
}

}  // namespace sealvisor::report
