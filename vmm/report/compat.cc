#include "vmm/report/compat.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/conclude.h"
#include "vmm/report/layout.h"
#include "vmm/report/text_parts.h"

namespace sealvisor::report {

namespace {

constexpr const char* kCompatThreatModel =
    "guest user space is hostile; the VMM, the engine and the host are trusted; what each call "
    "answered is the guest's word, what became of the mappings was seen from outside; that the "
    "software makes these calls is from its public source";

std::size_t count_of(const Run& run, SequenceVerdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(run.sequences.begin(), run.sequences.end(),
                    [&](const Sequence& one) { return one.verdict == verdict; }));
}

std::string names_of_software(const std::vector<Run>& runs, SequenceVerdict verdict) {
  std::vector<std::string> names;
  for (const Run& run : runs) {
    for (const Sequence& one : run.sequences) {
      if (one.verdict != verdict) continue;
      if (std::find(names.begin(), names.end(), one.software) == names.end()) {
        names.push_back(one.software);
      }
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Sequences that broke, and were not seen to work on any kernel of the same architecture: that it
/// is the seal they break at is not shown then.
std::size_t without_control(const Report& report) {
  std::set<std::pair<arch::Arch, std::string>> work;
  for (const Run& run : report.runs) {
    for (const Sequence& one : run.sequences) {
      if (one.verdict == SequenceVerdict::Works) work.emplace(run.arch, one.name);
    }
  }
  std::size_t count = 0;
  for (const Run& run : report.runs) {
    for (const Sequence& one : run.sequences) {
      const bool broken = one.verdict == SequenceVerdict::Breaks;
      if (broken && !work.contains({run.arch, one.name})) ++count;
    }
  }
  return count;
}

void add_compat_finding(Run& run, std::string_view what, const char* invariant, std::string text) {
  run.findings.push_back(
      {fmt::format("{}/{}/{}/{}", arch::name_of(run.arch), run.recipe, what, invariant), invariant,
       std::move(text), false, ""});
}

/// Adds what is wrong with a guest that came to its end, beside what was found while it ran.
void judge_run(Run& run) {
  for (const Sequence& one : run.sequences) {
    if (one.verdict != SequenceVerdict::Unobserved) continue;
    const std::string id = fmt::format("{}/{}/{}/", arch::name_of(run.arch), run.recipe, one.name);
    const bool said = std::any_of(run.findings.begin(), run.findings.end(),
                                  [&](const Finding& it) { return it.id.starts_with(id); });
    if (!said)
      add_compat_finding(run, one.name, "monitor",
                         one.name + " was not observed: nothing is said of it");
  }
  if (!run.real || !run.lifetime || !run.expectations || !run.sealed) return;
  for (const LifeChange& change : run.lifetime->changes) {
    if (!change.in_life || change.cause != "system call") continue;
    add_compat_finding(run, fmt::format("real/{}/{}", run.real->name, change.mapping),
                       "expectation",
                       fmt::format("{} changed a sealed mapping: {} {}", change.by, change.mapping,
                                   name_of(change.effect)));
  }
}

std::string compat_summary(const Run& run) {
  std::vector<std::string> parts;
  if (!run.ending.good) {
    parts.push_back((run.ending.interrupted ? "" : "the guest failed: ") + run.ending.text);
  }
  for (const SequenceVerdict verdict : {SequenceVerdict::Works, SequenceVerdict::Breaks,
                                        SequenceVerdict::Unexpected, SequenceVerdict::Unobserved}) {
    const std::size_t count = count_of(run, verdict);
    if (count != 0) parts.push_back(fmt::format("{} {}", count, name_of(verdict)));
  }
  if (!run.findings.empty()) parts.push_back(fmt::format("{} findings", run.findings.size()));
  if (run.counts.mismatches != 0) {
    parts.push_back(fmt::format("{} mismatches: not trustworthy", run.counts.mismatches));
  }
  if (run.real) {
    parts.push_back(fmt::format("real {}: {} of {} steps", run.real->name, run.real->done,
                                run.real->steps.size()));
  }
  if (parts.empty()) parts.emplace_back("nothing was tried");
  return fmt::format("{}: {} ({} lane)", run.good ? "good" : "not good", fmt::join(parts, ", "),
                     run.lane);
}

std::string compat_conclusion(const Report& report) {
  std::vector<std::string> parts;
  if (!report.findings.empty()) {
    parts.push_back(fmt::format("{} finding{}, the first {}", report.findings.size(),
                                report.findings.size() == 1 ? "" : "s",
                                report.findings.front().id));
  }
  for (const Run& run : report.runs) {
    if (run.ending.good && run.counts.mismatches == 0) continue;
    parts.push_back(fmt::format("{} {}: {}", arch::name_of(run.arch), run.recipe, run.summary));
  }
  for (const NotRun& not_run : report.not_run) {
    parts.push_back(fmt::format("{} {}: did not run", arch::name_of(not_run.arch), not_run.recipe));
  }
  std::size_t breaks = 0;
  std::size_t works = 0;
  std::size_t unobserved = 0;
  for (const Run& run : report.runs) {
    breaks += count_of(run, SequenceVerdict::Breaks);
    works += count_of(run, SequenceVerdict::Works);
    unobserved += count_of(run, SequenceVerdict::Unobserved);
  }
  const bool real = std::any_of(report.runs.begin(), report.runs.end(),
                                [](const Run& run) { return run.real.has_value(); });
  if (breaks + works == 0 && !real) parts.emplace_back("no sequence was observed");
  std::string text = parts.empty() ? "AS EXPECTED: "
                                   : fmt::format("NOT AS EXPECTED: {}; ", fmt::join(parts, "; "));
  if (breaks != 0) {
    text += fmt::format("{} sequences of {} break at a call that a seal forbids", breaks,
                        names_of_software(report.runs, SequenceVerdict::Breaks));
    const std::size_t alone = without_control(report);
    if (alone != 0) {
      text +=
          fmt::format(", {} of them without a control: on no unsealed kernel were they run", alone);
    }
  }
  if (works != 0) {
    text += fmt::format("{}{} of {} work", breaks != 0 ? "; " : "", works,
                        names_of_software(report.runs, SequenceVerdict::Works));
  }
  if (unobserved != 0) text += fmt::format("; {} unobserved", unobserved);
  for (const Run& run : report.runs) {
    if (!run.real) continue;
    text += fmt::format("; real {} on {}: {} of {} steps", run.real->name, run.recipe,
                        run.real->done, run.real->steps.size());
  }
  return text + ".";
}

Colour colour_of(SequenceVerdict verdict) {
  switch (verdict) {
    case SequenceVerdict::Works:
    case SequenceVerdict::Breaks:
      return Colour::Green;
    case SequenceVerdict::Unexpected:
      return Colour::Red;
    case SequenceVerdict::Unobserved:
      return Colour::Yellow;
  }
  return Colour::None;
}

std::string short_name(const std::string& name) { return name.substr(name.find('/') + 1); }

std::string first_failed_text(const Sequence& sequence) {
  if (!sequence.first_failed) return sequence.complete ? "none" : "it did not come to its end";
  const SequenceCall& call = sequence.calls[*sequence.first_failed];
  return fmt::format("{} {}: {}", call.call, call.what, call.answer);
}

std::string left_text(const Sequence& sequence) {
  std::vector<std::string> parts;
  for (const MappingOutcome& outcome : sequence.outcomes) {
    const Observation& seen = outcome.observation;
    std::string part = fmt::format("{} {}", outcome.mapping, name_of(seen.change));
    if (seen.change != Change::Unobserved && seen.pages.observed < seen.pages.total) {
      part += fmt::format(" ({} of {} pages seen)", seen.pages.observed, seen.pages.total);
    }
    parts.push_back(std::move(part));
  }
  if (sequence.complete) {
    parts.push_back(
        fmt::format("{} of {} mappings", sequence.mappings_left, sequence.mappings_before));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string sequences_table(const Run& run, const TextOptions& options) {
  std::vector<Row> rows;
  std::string previous;
  for (const Sequence& one : run.sequences) {
    rows.push_back({{one.software == previous ? "" : one.software, short_name(one.name),
                     grouped(one.calls.size()), printable(first_failed_text(one)),
                     printable(left_text(one)), name_of(one.verdict)},
                    colour_of(one.verdict)});
    previous = one.software;
  }
  if (rows.empty()) return "";
  return table({{"software", 10},
                {"sequence", 14},
                {"calls", 6, true},
                {"first call that fails", 36},
                {"what it is left with, from outside", 52},
                {"verdict", 11}},
               rows, options.width, 2, options.colours);
}

/// What a broken sequence means to whoever runs that software.
std::string meaning_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const Sequence& one : run.sequences) {
    if (one.verdict != SequenceVerdict::Breaks) continue;
    text += paragraph(fmt::format("    {} ", short_name(one.name)),
                      fmt::format("{}. Then: {}.", one.when, one.then), options.width);
  }
  return text.empty() ? ""
                      : "  what breaks, and what the software does then (by its source)\n" + text;
}

/// What a real program did, what it said last, and what its calls did to system mappings.
std::string real_text(const Run& run, const TextOptions& options) {
  if (!run.real) return "";
  constexpr std::size_t kShown = 12;
  const RealRun& real = *run.real;
  std::vector<std::string> steps;
  for (std::size_t i = 0; i < real.steps.size(); ++i) {
    steps.push_back(fmt::format("{}: {}", real.steps[i], i < real.done ? "yes" : "no"));
  }
  std::string text = paragraph(
      fmt::format("  real      {}: ", printable(real.package)),
      fmt::format("{}{}", fmt::join(steps, ", "),
                  real.expected ? fmt::format(" (expected {} of {})", *real.expected, steps.size())
                                : std::string()),
      options.width);
  const std::size_t first = real.lines.size() > kShown ? real.lines.size() - kShown : 0;
  for (std::size_t i = first; i < real.lines.size(); ++i) {
    text += fmt::format("    | {}\n", printable(real.lines[i]));
  }
  if (!run.lifetime) return text;
  text +=
      "  from outside: changes of system mappings that were not filled in or gone with a process\n";
  bool any = false;
  for (const LifeChange& change : run.lifetime->changes) {
    if (!change.in_life) continue;
    any = true;
    text +=
        paragraph("    ",
                  printable(fmt::format("{} {} by {} ({}): {} writes in {} spaces", change.mapping,
                                        name_of(change.effect), change.cause, change.by,
                                        grouped(change.writes), grouped(change.spaces))),
                  options.width);
  }
  return any ? text : text + "    none\n";
}

/// That a kernel is one which nobody would build but to find out what a seal breaks.
std::string kernel_text(const Run& run, const TextOptions& options) {
  if (!run.recipe.starts_with("checkpoint-restore-")) return "";
  return paragraph(
      "  kernel    ",
      "with CONFIG_CHECKPOINT_RESTORE, and without the seal's dependency on its absence, "
      "for this experiment alone: on a kernel without that option CRIU would fail, but "
      "not by the seal",
      options.width);
}

std::string not_tried_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const NotTried& one : run.not_tried) {
    text +=
        paragraph(fmt::format("  not tried {}: ", short_name(one.name)), one.reason, options.width);
  }
  return text;
}

}  // namespace

Report conclude_compat(std::vector<Run> runs, std::vector<NotRun> not_run) {
  Report report;
  report.runs = std::move(runs);
  report.not_run = std::move(not_run);
  report.threat_model = kCompatThreatModel;
  bool seen = false;
  for (Run& run : report.runs) {
    if (run.ending.good) judge_run(run);
    if (run.counts.mismatches != 0) report.exit_code = worse(report.exit_code, ExitCode::Failed);
    if (!run.ending.good) report.exit_code = worse(report.exit_code, ExitCode::GuestFailed);
    for (const Finding& finding : run.findings) {
      report.exit_code = worse(report.exit_code, exit_code_of(finding, run));
      report.findings.push_back(finding);
    }
    run.good = run.ending.good && run.counts.mismatches == 0 && run.findings.empty();
    run.summary = compat_summary(run);
    seen =
        seen || count_of(run, SequenceVerdict::Works) + count_of(run, SequenceVerdict::Breaks) > 0;
  }
  for (const NotRun& missing : report.not_run) {
    report.exit_code = worse(report.exit_code, missing.error.code);
  }
  // Nothing seen is nothing confirmed. Where no guest ran it is said already why.
  const bool none_ran = report.runs.empty() && !report.not_run.empty();
  if (!seen && !none_ran) report.exit_code = worse(report.exit_code, ExitCode::Failed);
  report.conclusion = compat_conclusion(report);
  return report;
}

std::string render_compat_text(const Report& report, const TextOptions& options) {
  std::string text;
  for (const Run& run : report.runs) {
    text += head_text(run, options) + kernel_text(run, options) + sequences_table(run, options) +
            meaning_text(run, options) + real_text(run, options) + not_tried_text(run, options) +
            counts_text(run, options) +
            paragraph("  outcome   ", printable(run.summary), options.width) + "\n";
  }
  // What was found leads, however many rows come behind it.
  return findings_text(report, /*known=*/false, options) + text + not_run_text(report, options) +
         findings_text(report, /*known=*/true, options) + blind_spots_text(report, options) +
         end_text(report, options);
}

}  // namespace sealvisor::report
