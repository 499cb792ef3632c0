#include "vmm/report/lifetime_report.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/conclude.h"
#include "vmm/report/layout.h"
#include "vmm/report/text_parts.h"

namespace sealvisor::report {

namespace {

constexpr const char* kLifetimeThreatModel =
    "guest user space, and for the controls the guest kernel, are hostile; the VMM, the engine and "
    "the host are trusted; call paths are of the code that ran, their names of its symbol table; "
    "what the storms did not provoke was not seen";

// What the kernel is known to do to a system mapping while its process lives.
constexpr auto kKnownChanges = std::to_array<KnownLifeChange>({
    {"[vvar]", "time namespace",
     "kernel/time/namespace.c, timens_commit; vdso_join_timens of arch/x86/entry/vdso/vma.c and "
     "arch/arm64/kernel/vdso.c zaps the mapping, so that the namespace's page is faulted in"},
    {"[vvar] (32-bit)", "time namespace", "the same"},
});

constexpr const char* kTimeNamespace = "storm/time-namespace";
constexpr const char* kOwnCalls = "control/own-calls";
constexpr const char* kTamper = "control/tamper-entry";
constexpr const char* kLying = "lying";
constexpr const char* kRestless = "restless";
/// What that kernel does by itself (guest/kernel/patches/restless).
constexpr std::string_view kRestlessDoes = "restless_drop_vdso";

std::string id_of(const Run& run, std::string_view what, std::string_view invariant) {
  return fmt::format("{}/{}/{}/{}", arch::name_of(run.arch), run.recipe, what, invariant);
}

bool ran(const Run& run, std::string_view scenario) {
  return std::any_of(run.lives.begin(), run.lives.end(), [&](const Life& life) {
    return life.name == scenario && life.complete && life.status == 0;
  });
}

/// Writes of changes in life that `wanted` names, during `scenario`.
template <typename Wanted>
std::uint64_t writes_in(const Lifetime& lifetime, const std::string& scenario, Wanted wanted) {
  std::uint64_t writes = 0;
  for (const LifeChange& change : lifetime.changes) {
    const auto found = change.scenarios.find(scenario);
    if (change.in_life && found != change.scenarios.end() && wanted(change))
      writes += found->second;
  }
  return writes;
}

void add_lifetime_finding(Run& run, const std::string& what, const char* invariant,
                          std::string text) {
  run.findings.push_back({id_of(run, what, invariant), invariant, std::move(text), false, ""});
}

std::string path_text(const LifeChange& change) {
  std::vector<std::string> names(change.path.rbegin(), change.path.rend());
  return fmt::format("{}{}", change.path_complete ? "" : "... > ", fmt::join(names, " > "));
}

/// Whether it is what the kernel `restless` is there for: there, and nowhere else.
bool is_restlessness(const LifeChange& change) {
  return change.by_kernel && change.mapping.starts_with("[vdso]") &&
         std::any_of(change.path.begin(), change.path.end(), [](const std::string& function) {
           return function.starts_with(kRestlessDoes);
         });
}

void judge_changes(Run& run) {
  for (const LifeChange& change : run.lifetime->changes) {
    if (!change.in_life) continue;
    const std::string what = fmt::format("{}/{}", change.mapping, name_of(change.effect));
    const std::string text =
        fmt::format("{} writes, {} seen by user mode: {} ({}) by {}", grouped(change.writes),
                    grouped(change.seen), name_of(change.effect), change.by, path_text(change));
    if (change.cause == "unknown") {
      add_lifetime_finding(run, what, "lifetime", "no cause is known of " + text);
    } else if (change.by_kernel && run.expectations && !run.control &&
               known_life_change(change) == nullptr) {
      add_lifetime_finding(run, what, "lifetime", "the kernel itself changed a mapping: " + text);
    } else if (change.by_kernel && run.recipe == kRestless && !is_restlessness(change) &&
               known_life_change(change) == nullptr) {
      add_lifetime_finding(run, what, "lifetime",
                           "this kernel drops [vdso] with each signal, no more: " + text);
    } else if (change.cause == "system call" && run.expectations && run.sealed && !run.control) {
      add_lifetime_finding(run, what, "lifetime",
                           "a sealed mapping was changed by a call: " + text);
    }
  }
}

/// Why "never changed" can't be said of this run, whatever the list has; empty: it can.
std::string distrust_of(const Run& run) {
  if (!run.ending.good) return "the guest failed: " + run.ending.text;
  if (run.counts.mismatches != 0) {
    return fmt::format("{} mismatches between guest memory and the event stream",
                       run.counts.mismatches);
  }
  for (const Life& life : run.lives) {
    if (life.status != 0) return fmt::format("{} did not run: errno {}", life.name, life.status);
  }
  // What else was asked for and did not run, or where the watch had to leave something out.
  for (const Finding& finding : run.findings) {
    if (finding.invariant == "monitor" && !finding.known) return finding.text;
  }
  return "";
}

/// Something that was not looked at did not hold. A change that was seen is one all the same.
void judge_trust(Run& run) {
  for (const Life& life : run.lives) {
    if (life.complete || !run.ending.good) continue;
    add_lifetime_finding(run, life.name, "monitor", life.name + " did not come to its end");
  }
  if (run.ending.good && run.lifetime->writes == 0) {
    add_lifetime_finding(run, "writes", "monitor",
                         "no write to a system mapping was seen, not even one that fills it in");
  }
  const std::string distrust = distrust_of(run);
  if (distrust.empty()) return;
  for (MappingLife& life : run.lifetime->mappings) {
    if (life.verdict != LifeVerdict::NeverChanged) continue;
    life.verdict = LifeVerdict::NotKnown;
    life.text = fmt::format("no change by the kernel itself was seen in {}, but: {}",
                            watched_of(life), distrust);
  }
}

/// A list that can't have an entry says nothing: what was provoked must be in it.
void judge_controls(Run& run) {
  const Lifetime& lifetime = *run.lifetime;
  const auto missing = [&](const char* scenario, const char* text) {
    add_lifetime_finding(run, scenario, "control", fmt::format("{} ran, and {}", scenario, text));
  };
  if (ran(run, kTimeNamespace) && writes_in(lifetime, kTimeNamespace, [](const LifeChange& change) {
                                    return change.cause == "time namespace" &&
                                           change.mapping == "[vvar]";
                                  }) == 0) {
    missing(kTimeNamespace, "no change of [vvar] by it is in the list");
  }
  if (ran(run, kTamper) && writes_in(lifetime, kTamper, [](const LifeChange& change) {
                             return change.cause == "outside" && change.mapping == "[vdso]";
                           }) < run.counts.known_changes.value_or(1)) {
    missing(kTamper, "its changes of [vdso] are not in the list as ones from outside");
  }
  const std::uint64_t own = writes_in(lifetime, kOwnCalls, [](const LifeChange& change) {
    return change.cause == "system call" && change.seen != 0;
  });
  // A lying kernel refuses these calls and does them.
  const bool obeys = (run.expectations && !run.sealed) || run.recipe == kLying;
  if (ran(run, kOwnCalls) && obeys && own == 0) {
    missing(kOwnCalls, "no change is in the list as one by a call of the process");
  }
  if (run.recipe == kRestless &&
      std::none_of(lifetime.changes.begin(), lifetime.changes.end(), is_restlessness)) {
    add_lifetime_finding(run, run.recipe, "control",
                         "this kernel changes [vdso] by itself, and that is not in the list");
  }
}

std::string lifetime_summary(const Run& run) {
  std::vector<std::string> parts;
  if (!run.ending.good) {
    parts.push_back((run.ending.interrupted ? "" : "the guest failed: ") + run.ending.text);
  }
  if (run.lifetime) {
    for (const MappingLife& life : run.lifetime->mappings) {
      parts.push_back(fmt::format("{} {}", life.mapping, name_of(life.verdict)));
    }
  }
  if (!run.findings.empty()) parts.push_back(fmt::format("{} findings", run.findings.size()));
  if (run.counts.mismatches != 0) {
    parts.push_back(fmt::format("{} mismatches: not trustworthy", run.counts.mismatches));
  }
  if (parts.empty()) parts.emplace_back("nothing was watched");
  return fmt::format("{}: {} ({} lane)", run.good ? "good" : "not good", fmt::join(parts, ", "),
                     run.lane);
}

/// What all runs of kernels that are no control say of one mapping of one architecture: each
/// architecture vouches for its own.
struct Told {
  arch::Arch arch{};
  MappingLife sum;  ///< `mapping`, `changed_by`, and what watched_of() needs.
  bool known = true;
  std::size_t guests = 0;
  std::size_t unobserved = 0;  ///< Of these, the ones in which no process showed it.
};

std::vector<Told> told_by(const Report& report) {
  std::vector<Told> told;
  for (const Run& run : report.runs) {
    if (run.control || !run.lifetime) continue;
    for (const MappingLife& life : run.lifetime->mappings) {
      auto one = std::find_if(told.begin(), told.end(), [&](const Told& other) {
        return other.arch == run.arch && other.sum.mapping == life.mapping;
      });
      if (one == told.end()) {
        one = told.insert(told.end(), Told{});
        one->arch = run.arch;
        one->sum.mapping = life.mapping;
      }
      ++one->guests;
      if (life.spaces == 0) ++one->unobserved;
      one->sum.spaces += life.spaces;
      one->sum.pages_populated += life.pages_populated;
      one->sum.entries += life.entries;
      one->known = one->known && life.verdict != LifeVerdict::NotKnown;
      for (const std::string& by : life.changed_by) {
        std::vector<std::string>& all = one->sum.changed_by;
        if (std::find(all.begin(), all.end(), by) == all.end()) all.push_back(by);
      }
    }
  }
  return told;
}

/// One sentence for each mapping of each architecture, with what it rests on.
std::vector<std::string> sentences_of(const Report& report) {
  std::vector<std::string> sentences;
  for (const Told& one : told_by(report)) {
    const std::string name = fmt::format("on {} {}", arch::name_of(one.arch), one.sum.mapping);
    if (one.sum.spaces == 0) {
      sentences.push_back(name + " unobserved");
      continue;
    }
    const std::string unobserved =
        one.unobserved == 0
            ? std::string()
            : fmt::format(", unobserved in {} of {} guests", one.unobserved, one.guests);
    if (!one.sum.changed_by.empty()) {
      sentences.push_back(fmt::format(
          "{} changed by {}{} (watched in {}{})", name, fmt::join(one.sum.changed_by, ", "),
          one.known ? "" : ", and not all is known", watched_of(one.sum), unobserved));
    } else {
      sentences.push_back(fmt::format("{} {} in {}{}", name,
                                      one.known ? "never changed" : "not known, though watched",
                                      watched_of(one.sum), unobserved));
    }
  }
  return sentences;
}

/// Scenarios that ran to their end in some guest that is no control.
std::size_t scenarios_of(const Report& report) {
  std::set<std::string> names;
  for (const Run& run : report.runs) {
    if (run.control || !run.lifetime) continue;
    for (const Life& life : run.lives) {
      if (life.complete && life.status == 0) names.insert(life.name);
    }
  }
  return names.size();
}

std::string lifetime_conclusion(const Report& report) {
  std::vector<std::string> bad;
  if (!report.findings.empty()) {
    bad.push_back(fmt::format("{} finding{}, the first {}", report.findings.size(),
                              report.findings.size() == 1 ? "" : "s", report.findings.front().id));
  }
  for (const Run& run : report.runs) {
    if (run.ending.good && run.counts.mismatches == 0) continue;
    bad.push_back(fmt::format("{} {}: {}", arch::name_of(run.arch), run.recipe, run.summary));
  }
  for (const NotRun& not_run : report.not_run) {
    bad.push_back(fmt::format("{} {}: did not run", arch::name_of(not_run.arch), not_run.recipe));
  }
  const std::vector<std::string> sentences = sentences_of(report);
  std::string text = bad.empty() ? "AS EXPECTED: by the kernel itself, "
                                 : fmt::format("NOT AS EXPECTED: {}. By the kernel itself, ",
                                               fmt::join(bad, "; "));
  return text +
         (sentences.empty() ? "nothing was watched"
                            : fmt::format("{}; during {} scenarios", fmt::join(sentences, "; "),
                                          scenarios_of(report))) +
         ".";
}

std::string mappings_table(const Run& run, const TextOptions& options) {
  std::vector<Row> rows;
  for (const MappingLife& life : run.lifetime->mappings) {
    std::string verdict = name_of(life.verdict);
    if (!life.changed_by.empty()) {
      verdict = fmt::format("changed by {}", fmt::join(life.changed_by, ", "));
    }
    rows.push_back({{printable(life.mapping), grouped(life.spaces), grouped(life.entries),
                     grouped(life.pages_populated), grouped(life.filled_in), grouped(life.copied),
                     grouped(life.refaulted), grouped(life.removed_at_exit),
                     grouped(life.removed_at_exec), grouped(life.pages_gone), printable(verdict)},
                    life.verdict == LifeVerdict::NeverChanged ? Colour::Green
                    : life.verdict == LifeVerdict::Changed    ? Colour::Yellow
                                                              : Colour::Red});
  }
  if (rows.empty()) return "  no system mapping was seen\n";
  return table({{"mapping", 18},
                {"spaces", 7, true},
                {"entries", 8, true},
                {"pages", 7, true},
                {"filled", 7, true},
                {"copied", 7, true},
                {"again", 6, true},
                {"exit", 6, true},
                {"exec", 6, true},
                {"gone", 5, true},
                {"by the kernel itself", 34}},
               rows, options.width, 2, options.colours);
}

/// "munmap", "removed": what is done, by what, how often, and whether user mode could see it.
std::string change_line(const LifeChange& change) {
  std::vector<std::string> outcome;
  if (change.seen != 0) outcome.push_back(fmt::format("{} seen", grouped(change.seen)));
  if (change.undone != 0) outcome.push_back(fmt::format("{} as before", grouped(change.undone)));
  if (change.at_end != 0) outcome.push_back(fmt::format("{} at the end", grouped(change.at_end)));
  return fmt::format("{} {} by {} ({}): {} writes in {} spaces, {}", change.mapping,
                     name_of(change.effect), change.cause, change.by, grouped(change.writes),
                     grouped(change.spaces), fmt::join(outcome, ", "));
}

std::string lifetime_changes_text(const Run& run, const TextOptions& options) {
  std::string text =
      "  changes in a process's life (effect, cause, how often, seen by user mode; "
      "call path; during)\n";
  bool any = false;
  for (const LifeChange& change : run.lifetime->changes) {
    if (!change.in_life) continue;
    any = true;
    text += paragraph("    ", printable(change_line(change)), options.width);
    text += paragraph("      ", printable(path_text(change)), options.width);
    std::vector<std::string> during;
    for (const auto& [name, writes] : change.scenarios) {
      during.push_back(fmt::format("{} {}", name, grouped(writes)));
    }
    text +=
        paragraph("      ", printable(fmt::format("{}", fmt::join(during, ", "))), options.width);
  }
  if (!any) text += "    none\n";
  text += "  filled in, copied, and gone with the process: by path\n";
  for (const LifeChange& change : run.lifetime->changes) {
    if (change.in_life) continue;
    text += paragraph("    ", printable(change_line(change)), options.width);
    text += paragraph("      ", printable(path_text(change)), options.width);
  }
  return text;
}

/// Why nothing can be concluded of a mapping: a verdict alone does not say.
std::string reasons_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const MappingLife& life : run.lifetime->mappings) {
    if (life.verdict != LifeVerdict::NotKnown && life.verdict != LifeVerdict::Unobserved) continue;
    text +=
        paragraph("  ", printable(fmt::format("{}: {}", life.mapping, life.text)), options.width);
  }
  return text;
}

std::string paths_text(const Run& run, const TextOptions& options) {
  const Lifetime& lifetime = *run.lifetime;
  return paragraph(
      "  paths     ",
      fmt::format("{} writes to system mappings by {} call paths, {} of them not complete; of {} "
                  "writes only the storing function is known",
                  grouped(lifetime.writes), grouped(lifetime.paths),
                  grouped(lifetime.paths_incomplete), grouped(lifetime.without_stack)),
      options.width);
}

}  // namespace

const KnownLifeChange* known_life_change(const LifeChange& change) {
  // It shows another page at the same place, and no more: not other permissions, for one.
  const bool of_a_zap = change.effect == Effect::Removed || change.effect == Effect::OtherFrame ||
                        change.effect == Effect::Place;
  if (!of_a_zap) return nullptr;
  for (const KnownLifeChange& known : kKnownChanges) {
    if (change.mapping == known.mapping && change.cause == known.cause) return &known;
  }
  return nullptr;
}

Report conclude_lifetime(std::vector<Run> runs, std::vector<NotRun> not_run) {
  Report report;
  report.runs = std::move(runs);
  report.not_run = std::move(not_run);
  report.threat_model = kLifetimeThreatModel;
  bool watched = false;
  for (Run& run : report.runs) {
    if (run.lifetime) {
      judge_trust(run);
      judge_changes(run);
      if (run.ending.good) judge_controls(run);
      watched = watched || run.lifetime->writes != 0;
    }
    if (run.counts.mismatches != 0) report.exit_code = worse(report.exit_code, ExitCode::Failed);
    if (!run.ending.good) report.exit_code = worse(report.exit_code, ExitCode::GuestFailed);
    for (const Finding& finding : run.findings) {
      report.exit_code = worse(report.exit_code, exit_code_of(finding, run));
      report.findings.push_back(finding);
    }
    run.good = run.ending.good && run.counts.mismatches == 0 && run.findings.empty();
    run.summary = lifetime_summary(run);
  }
  for (const NotRun& missing : report.not_run) {
    report.exit_code = worse(report.exit_code, missing.error.code);
  }
  // A list of nothing is no evidence. Where no guest ran it is said already why.
  const bool none_ran = report.runs.empty() && !report.not_run.empty();
  if (!watched && !none_ran) report.exit_code = worse(report.exit_code, ExitCode::Failed);
  report.conclusion = lifetime_conclusion(report);
  return report;
}

std::string render_lifetime_text(const Report& report, const TextOptions& options) {
  std::string text;
  for (const Run& run : report.runs) {
    text += head_text(run, options);
    if (run.lifetime) {
      text += mappings_table(run, options) + reasons_text(run, options) +
              lifetime_changes_text(run, options) + paths_text(run, options);
    }
    text += counts_text(run, options) +
            paragraph("  outcome   ", printable(run.summary), options.width) + "\n";
  }
  // What was found leads, however many rows come behind it.
  return findings_text(report, /*known=*/false, options) + text + not_run_text(report, options) +
         findings_text(report, /*known=*/true, options) + blind_spots_text(report, options) +
         end_text(report, options);
}

}  // namespace sealvisor::report
