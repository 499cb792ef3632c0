#include "vmm/app/audit.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "arch/disassembler.h"
#include "vmm/app/fail.h"
#include "vmm/app/kernels.h"
#include "vmm/app/lies.h"
#include "vmm/app/observe.h"
#include "vmm/app/program_file.h"
#include "vmm/evidence/digest.h"
#include "vmm/report/conclude.h"
#include "vmm/report/findings.h"
#include "vmm/report/layout.h"
#include "vmm/run/description.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// Most differences that are printed one by one.
constexpr std::size_t kMostPrinted = 50;
constexpr std::uint64_t kMostConsole = 16ULL << 20;

/// Holds the snapshots of code in the run's folder against those that the trace gives.
Status compare_code(const fs::path& bundle, const evidence::RunEntry& run,
                    const evidence::Checked& checked, const run::CodeWatch& code) {
  const auto expected = run::snapshot_files(code);
  const auto bad = [&](const std::string& file, const char* text) {
    return Error{ExitCode::Failed, fmt::format("{}/{}: {}", run.folder, file, text)};
  };
  for (const auto& [name, bytes] : expected) {
    const auto kept = evidence::read_whole(bundle / run.folder / name, arch::kPageSize);
    if (!kept) return kept.error();
    if (kept.value() !=
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())) {
      return bad(name, "other bytes than the trace has of this code");
    }
  }
  const std::string folder = run.folder + "/" + evidence::kCodeFolder + "/";
  for (const evidence::FileEntry& file : checked.manifest.files) {
    if (!file.path.starts_with(folder)) continue;
    const std::string name = file.path.substr(run.folder.size() + 1);
    if (!expected.contains(name)) return bad(name, "the trace knows no such code");
  }
  return {};
}

/// A recipe's name says what it promises, and its configuration says whether it is sealed.
Result<std::vector<std::string>> contradictions_of(const fs::path& bundle,
                                                   const evidence::RunEntry& entry,
                                                   const evidence::Checked& checked,
                                                   const run::RunRequest& request) {
  std::vector<std::string> found;
  const auto differs = [&](const char* name, bool said, bool is, const std::string& why) {
    if (said != is) found.push_back(fmt::format("\"{}\" is {}, and {}", name, said, why));
  };
  const std::string config = entry.folder + "/" + evidence::kConfigName;
  const bool of_recipe = request.expectations || checked.has(config);
  // Nothing is promised of a user's own image, whatever its name is.
  const RecipeTraits traits =
      of_recipe ? traits_of(request.recipe.substr(0, request.recipe.find(':'))) : RecipeTraits{};
  const std::string by_name = of_recipe ? fmt::format("not of a recipe {}", request.recipe)
                                        : "nothing is expected of this kernel";
  differs("expectations", request.expectations, traits.expectations, by_name);
  differs("sealed", request.sealed, traits.sealed, by_name);
  differs("control", request.control, traits.control, by_name);
  if (!request.expectations || !checked.has(config)) return found;
  const auto text = evidence::read_whole(bundle / config);
  if (!text) return text.error();
  differs("sealed", request.sealed,
          ("\n" + text.value()).find("\nCONFIG_MSEAL_SYSTEM_MAPPINGS=y\n") != std::string::npos,
          "the kernel's configuration says otherwise");
  return found;
}

Result<report::Run> replay_run(const fs::path& bundle, const evidence::RunEntry& entry,
                               const evidence::Checked& checked, Audit::RunResult& result) {
  auto opened = open_run(bundle, entry);
  if (!opened) return opened.error();
  const RunEvidence& evidence = opened.value();
  result.name = fmt::format("{} {}", arch::name_of(evidence.request.arch), evidence.request.recipe);
  evidence::TraceReader trace(*evidence.source);
  auto contradictions = contradictions_of(bundle, entry, checked, evidence.request);
  if (!contradictions) return contradictions.error();
  result.contradictions = std::move(contradictions).value();
  auto replayed =
      run::replay(evidence.request, trace, evidence.names(), evidence.console, {}, entry.events);
  if (!replayed) return replayed.error();
  if (!replayed.value().contradiction.empty()) {
    result.contradictions.push_back(replayed.value().contradiction);
  }
  if (replayed.value().symbols_sha256 != evidence::hex(evidence.symbols_digest)) {
    result.contradictions.emplace_back("symbols.json is not the one that its trace was made with");
  }
  // The file was opened again since it was looked at.
  if (evidence.source->blocks().seal().digest != entry.trace_end) {
    return Error{ExitCode::Failed,
                 fmt::format("{}: another trace than a moment ago", entry.folder)};
  }
  result.events = replayed.value().events;
  result.divergence = replayed.value().divergence;
  if (result.events != entry.events) {
    return Error{ExitCode::Failed, fmt::format("{}: the trace has {} events, the manifest says {}",
                                               entry.folder, result.events, entry.events)};
  }
  if (auto same = compare_code(bundle, entry, checked, replayed.value().code); !same) {
    return same.error();
  }
  report::Run run = std::move(replayed.value().run);
  annotate(run, evidence.request);
  if (!evidence.request.program_file.empty()) {
    const std::string& name = evidence.request.program_file_name;
    const auto scenarios = parse_scenarios(evidence.request.program_file, name);
    if (!scenarios) return Error{ExitCode::Failed, scenarios.error().message};
    judge_scenarios(run, scenarios.value(), name);
  }
  return run;
}

/// Calls `work` with each number below `count`, once, on as many threads as there are CPUs, and
/// waits for all.
void on_each(std::size_t count, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  const auto take = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  const std::size_t threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 8);
  for (std::size_t i = 1; i < std::min(threads, count); ++i) others.emplace_back(take);
  take();
}

bool same_disassembler(const evidence::Manifest& manifest) {
  const std::pair<std::string, std::string> own = {"capstone", arch::disassembler_version()};
  return std::find(manifest.tools.begin(), manifest.tools.end(), own) != manifest.tools.end();
}

/// The report again, of runs that were computed again, and how it compares. `which`: the runs of
/// the manifest that these are.
Status compare_report(const fs::path& folder, std::vector<report::Run> runs,
                      const std::vector<bool>& which, Audit& audit) {
  const auto recorded = evidence::read_whole(folder / evidence::kReportName);
  if (!recorded) return recorded.error();
  const auto known_text = evidence::read_whole(folder / evidence::kKnownName);
  if (!known_text) return known_text.error();
  const auto known = report::parse_known_findings(known_text.value(), evidence::kKnownName);
  if (!known) return Error{ExitCode::Failed, known.error().message};
  auto then = report::Recorded::parse(recorded.value());
  if (!then) return then.error();
  auto not_run = report::not_run_of(then.value());
  if (!not_run) return not_run.error();
  const report::Report computed =
      report::conclude(std::move(runs), std::move(not_run).value(), known.value());
  const bool all = std::find(which.begin(), which.end(), false) == which.end();
  auto comparison =
      report::compare(std::move(then).value(), computed, same_disassembler(audit.checked.manifest),
                      all ? nullptr : &which);
  if (!comparison) return comparison.error();
  audit.comparison = std::move(comparison).value();
  if (all) audit.conclusion = computed.conclusion;
  return {};
}

}  // namespace

Result<RunEvidence> open_run(const fs::path& bundle, const evidence::RunEntry& run) {
  if (!run.not_whole.empty()) {
    return Error{ExitCode::Failed,
                 fmt::format("{}: its evidence is not whole: {}", run.folder, run.not_whole)};
  }
  const fs::path folder = bundle / run.folder;
  const auto description = evidence::read_whole(folder / evidence::kRunName);
  if (!description) return description.error();
  auto request = run::parse_description(description.value());
  if (!request) {
    return Error{ExitCode::Failed,
                 fmt::format("{}/{}: {}", run.folder, evidence::kRunName, request.error().message)};
  }
  const auto names = evidence::read_whole(folder / evidence::kSymbolsName);
  if (!names) return names.error();
  auto symbols = evidence::RecordedSymbols::parse(names.value());
  if (!symbols) return symbols.error();
  auto console = evidence::read_whole(folder / evidence::kConsoleName, kMostConsole);
  if (!console) return console.error();
  auto source = evidence::FileSource::open(folder / evidence::kTraceName,
                                           evidence::digest_of(description.value()));
  if (!source) return source.error();
  return RunEvidence{std::move(request).value(), std::move(symbols).value(),
                     evidence::digest_of(names.value()), std::move(console).value(),
                     std::make_unique<evidence::FileSource>(std::move(source).value())};
}

bool Audit::gave_up() const {
  const auto own = [](const std::optional<Error>& error) {
    return !error || error->code == ExitCode::HostLacks;
  };
  return problem && own(problem) && checked.faults.empty() && comparison.differences.empty() &&
         std::all_of(runs.begin(), runs.end(), [&](const RunResult& run) {
           return own(run.problem) && run.divergence.empty() && run.contradictions.empty();
         });
}

bool Audit::confirmed() const {
  return !runs.empty() && checked.faults.empty() && !problem && comparison.differences.empty() &&
         std::none_of(runs.begin(), runs.end(), [](const RunResult& run) {
           return run.problem.has_value() || !run.divergence.empty() || !run.contradictions.empty();
         });
}

Result<Audit> audit_bundle(const fs::path& folder) {
  auto checked = evidence::check_bundle(folder);
  if (!checked) return checked.error();
  Audit audit;
  audit.checked = std::move(checked).value();
  const auto damaged = [&](const std::string& run) {
    return std::any_of(
        audit.checked.faults.begin(), audit.checked.faults.end(),
        [&](const evidence::Fault& fault) { return fault.file.starts_with(run + "/"); });
  };
  // One run has nothing to do with another.
  const std::vector<evidence::RunEntry>& entries = audit.checked.manifest.runs;
  audit.runs.resize(entries.size());
  std::vector<std::optional<report::Run>> replayed(entries.size());
  on_each(entries.size(), [&](std::size_t i) {
    Audit::RunResult& result = audit.runs[i];
    result.name = entries[i].folder;
    if (!entries[i].not_whole.empty()) {
      result.problem = Error{ExitCode::Failed,
                             "NOT CONFIRMED: its evidence is not whole: " + entries[i].not_whole};
      return;
    }
    if (damaged(entries[i].folder)) {
      result.problem = Error{ExitCode::Failed, "its evidence was changed"};
      return;
    }
    try {
      auto run = replay_run(folder, entries[i], audit.checked, result);
      if (run) {
        replayed[i] = std::move(run).value();
      } else {
        result.problem = run.error();
      }
    } catch (const std::exception& problem) {  // It must not leave its thread: memory ran out.
      result.problem = Error{ExitCode::HostLacks, problem.what()};
    }
  });
  std::vector<report::Run> runs;
  std::vector<bool> which;
  for (std::optional<report::Run>& run : replayed) {
    which.push_back(run.has_value());
    if (run) runs.push_back(std::move(*run));
  }
  const bool all = std::find(which.begin(), which.end(), false) == which.end();
  if (!audit.checked.faults.empty()) {
    audit.problem = Error{ExitCode::Failed, "it is not as it was sealed"};
  } else if (auto compared = compare_report(folder, std::move(runs), which, audit); !compared) {
    audit.problem = compared.error();
  } else if (!all) {
    // The others were compared: what is wrong with them is said too.
    // If it is all this program's own failing, the bundle is not to blame.
    const bool own = std::all_of(audit.runs.begin(), audit.runs.end(), [](const auto& run) {
      return !run.problem || run.problem->code == ExitCode::HostLacks;
    });
    audit.problem = Error{own ? ExitCode::HostLacks : ExitCode::Failed,
                          "not every run could be computed again"};
  } else if (audit.runs.empty()) {
    audit.problem = Error{ExitCode::Failed, "it has no run: nothing was computed"};
  }
  return audit;
}

std::string render_audit(const Audit& audit, const fs::path& folder) {
  std::string text;
  const auto line = [&text](const std::string& words) { text += report::printable(words) + "\n"; };
  const evidence::Manifest& manifest = audit.checked.manifest;
  line(fmt::format("bundle {}: {} files, made {} by {}", folder.string(), manifest.files.size(),
                   manifest.created, manifest.program));
  if (!manifest.command.empty()) line("command " + manifest.command);
  line("seal " + evidence::hex(audit.checked.seal));
  for (const evidence::Fault& fault : audit.checked.faults) {
    line(fmt::format("CHANGED {}: {}", fault.file, fault.text));
  }
  for (const Audit::RunResult& run : audit.runs) {
    if (!run.divergence.empty()) line("DIVERGES " + run.divergence);
    for (const std::string& one : run.contradictions) {
      line(fmt::format("CONTRADICTS {}: {}", run.name, one));
    }
    line(run.problem ? fmt::format("  {}: {}", run.name, run.problem->message)
                     : fmt::format("  {}: computed again from {} events", run.name,
                                   report::grouped(run.events)));
  }
  const report::Comparison& comparison = audit.comparison;
  for (std::size_t i = 0; i < std::min(comparison.differences.size(), kMostPrinted); ++i) {
    const report::Difference& one = comparison.differences[i];
    line(fmt::format("DIFFERENT {}: the report says {}, the trace gives {}", one.what, one.recorded,
                     one.computed));
  }
  if (comparison.differences.size() > kMostPrinted) {
    line(fmt::format("and {} more differences", comparison.differences.size() - kMostPrinted));
  }
  if (!audit.conclusion.empty()) line("computed: " + audit.conclusion);
  if (audit.confirmed()) {
    line(
        fmt::format("CONFIRMED: {} cells and {} scenarios without cells: each verdict follows from "
                    "its trace",
                    comparison.cells, comparison.lives));
    if (!audit.seal_compared) {
      line("The seal was not compared (--seal HEX): whoever made all of it anew is not found out");
    }
  } else if (audit.problem) {
    line("NOT CONFIRMED: " + audit.problem->message);
  } else {
    const auto any = [&](auto&& has) {
      return std::any_of(audit.runs.begin(), audit.runs.end(), has);
    };
    line(fmt::format("NOT CONFIRMED: {} differences{}{}", comparison.differences.size(),
                     any([](const auto& run) { return !run.divergence.empty(); })
                         ? ", and a trace that does not fit itself"
                         : "",
                     any([](const auto& run) { return !run.contradictions.empty(); })
                         ? ", and a run that can't have been what it is said to be"
                         : ""));
  }
  return text;
}

int audit(const AuditOptions& options) {
  std::optional<evidence::Digest> wanted;
  if (!options.seal.empty()) {
    wanted = evidence::parse_digest(options.seal);
    if (!wanted) {
      return fail({ExitCode::Usage,
                   fmt::format("--seal {}: expected 64 hexadecimal digits", options.seal)});
    }
  }
  const auto look = [&]() -> Result<Audit> {
    try {
      return audit_bundle(options.folder);
    } catch (const std::exception& problem) {  // Memory ran out.
      return Error{ExitCode::HostLacks, fmt::format("auditing: {}", problem.what())};
    }
  };
  auto found = look();
  if (!found) return fail(found.error());
  Audit& audit = found.value();
  audit.seal_compared = wanted && *wanted == audit.checked.seal;
  if (wanted && *wanted != audit.checked.seal) {
    audit.checked.faults.push_back(
        {evidence::kSealName,
         fmt::format("not {}: another bundle, or one that was sealed anew", options.seal)});
    if (!audit.problem) audit.problem = Error{ExitCode::Failed, "it has another seal"};
  }
  const std::string text = render_audit(audit, options.folder);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return fail(errno_error(ExitCode::HostLacks, "writing to standard output"));
  }
  if (audit.gave_up()) return static_cast<int>(ExitCode::HostLacks);
  return static_cast<int>(audit.confirmed() ? ExitCode::AsExpected : ExitCode::Failed);
}

}  // namespace sealvisor::app
