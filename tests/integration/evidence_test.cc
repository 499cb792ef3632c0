// Bundles of real guests: what they are audited to, what is found in them once they were changed.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "tests/unit/support/trace_edit.h"
#include "vmm/app/audit.h"
#include "vmm/app/bundle.h"
#include "vmm/report/compare.h"
#include "vmm/report/conclude.h"
#include "vmm/report/json.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// docs/specification.md.
constexpr double kMostBytesPerEvent = 8;
constexpr double kMostSecondsToAudit = 30;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Evidence : public testing::TestWithParam<arch::Arch> {
 protected:
  [[nodiscard]] static std::string arch_name() { return std::string(arch::name_of(GetParam())); }
  [[nodiscard]] fs::path bundle(const char* name = "bundle") const { return folder_.path() / name; }

  /// `verify` of this architecture; returns what it printed.
  std::string verify(const std::vector<std::string>& more, const fs::path& to, int expected = 0) {
    std::vector<std::string> words = {program_path(), "verify",   "--arch",
                                      arch_name(),    "--bundle", to.string()};
    words.insert(words.end(), more.begin(), more.end());
    Child child(words);
    EXPECT_EQ(child.finish(), expected) << child.text();
    return child.text();
  }
  static std::string audit(const fs::path& of, int expected,
                           const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {program_path(), "audit", of.string()};
    words.insert(words.end(), more.begin(), more.end());
    Child child(words);
    EXPECT_EQ(child.finish(), expected) << child.text();
    return child.text();
  }

  /// What `recorded` left in the folder `run` gives the same report again.
  void expect_same_again(const char* run, report::Run recorded) const {
    auto opened = app::open_run(folder_.path(), {run, 0, 0, {}});
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    evidence::TraceReader trace(*opened.value().source);
    auto again =
        run::replay(opened.value().request, trace, opened.value().names(), opened.value().console);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(again.value().divergence, "");
    const std::string then = report::render_json(report::conclude({std::move(recorded)}, {}, {}));
    const report::Report computed = report::conclude({std::move(again.value().run)}, {}, {});
    const auto compared = report::compare(then, computed, true);
    ASSERT_TRUE(compared.ok()) << compared.error().message;
    EXPECT_GT(compared.value().cells, 0U);
    for (const report::Difference& one : compared.value().differences) {
      ADD_FAILURE() << one.what << ": " << one.recorded << " / " << one.computed;
    }
  }

  /// Two runs of the same leave the same bytes.
  void expect_the_same_bytes(const std::vector<std::string>& scenarios) {
    std::vector<std::string> words = {"--recipe", "lts-unsealed"};
    for (const std::string& scenario : scenarios) {
      words.insert(words.end(), {"--scenario", scenario});
    }
    verify(words, bundle("one"));
    verify(words, bundle("other"));
    const std::string run = "runs/" + arch_name() + "-lts-unsealed/";
    for (const char* name : {"trace.slvt", "run.json", "symbols.json"}) {
      const std::string one = bytes_of(bundle("one") / (run + name));
      EXPECT_GT(one.size(), 100U);
      EXPECT_TRUE(one == bytes_of(bundle("other") / (run + name))) << name;
    }
  }

  Folder folder_;
};

/// What takes long: not part of each run of the tests (bootstrap).
class EvidenceInFull : public Evidence {};

std::string name_of_row(const testing::TestParamInfo<arch::Arch>& one) {
  return std::string(arch::name_of(one.param));
}
INSTANTIATE_TEST_SUITE_P(BothArchs, Evidence, testing::ValuesIn(arch::kAllArchs), name_of_row);
INSTANTIATE_TEST_SUITE_P(BothArchs, EvidenceInFull, testing::ValuesIn(arch::kAllArchs),
                         name_of_row);

TEST_P(Evidence, AnAuditComesToTheSameVerdicts) {
  const std::string printed =
      verify({"--recipe", "lts-sealed", "--recipe", "lts-unsealed", "--recipe", "lying",
              "--scenario", "munmap/*", "--scenario", "mprotect/*", "--scenario", "mseal/*",
              "--scenario", "life/fork", "--scenario", "life/compat",
              // With timelines, which are computed again too.
              "--json", (folder_.path() / "report.json").string()},
             bundle());
  EXPECT_THAT(bytes_of(bundle() / "report.json"), HasSubstr("\"phase\": \"life\""));
  const std::string audited = audit(bundle(), 0);
  EXPECT_THAT(audited, HasSubstr("CONFIRMED: "));
  EXPECT_THAT(audited, HasSubstr(fmt::format("  {} lts-sealed: computed again", arch_name())));
  EXPECT_THAT(audited, HasSubstr(fmt::format("  {} lying: computed again", arch_name())));
  // The seal that was printed is the one that it has.
  const std::size_t at = printed.find("\nseal ");
  ASSERT_NE(at, std::string::npos) << printed;
  const std::string seal = printed.substr(at + 6, 64);
  EXPECT_THAT(audit(bundle(), 0, {"--seal", seal}), HasSubstr("seal " + seal));
  // Somewhere else.
  fs::rename(bundle(), bundle("elsewhere"));
  EXPECT_THAT(audit(bundle("elsewhere"), 0), HasSubstr("CONFIRMED: "));
  for (const char* name : {"kernel.config", "kernel.json"}) {
    EXPECT_GT(fs::file_size(bundle("elsewhere") / "runs" / (arch_name() + "-lts-sealed") / name),
              100U);
  }
}

TEST_P(Evidence, ControlsAreAuditedToo) {
  verify({"--recipe", "lts-sealed", "--scenario", "control/stores", "--scenario",
          "control/tamper-*", "--scenario", "control/stores-code"},
         bundle());
  EXPECT_THAT(audit(bundle(), 0), HasSubstr("CONFIRMED: "));
}

/// What was found of each tampering is held against its announcement again, from the trace alone.
TEST_P(Evidence, ACampaignIsAuditedToo) {
  verify(
      {"--recipe", "tampering", "--scenario", "control/campaign", "--seed", "5", "--count", "60"},
      bundle());
  const auto campaign_in = [](const std::string& text) {
    return nlohmann::json::parse(text)["runs"][0]["campaign"];
  };
  const auto campaign = campaign_in(bytes_of(bundle() / "report.json"));
  ASSERT_TRUE(campaign.is_object());
  EXPECT_EQ(campaign["seed"], 5);
  EXPECT_EQ(campaign["made"], 60);
  EXPECT_GT(campaign["reported"], 0);
  EXPECT_THAT(audit(bundle(), 0), HasSubstr("CONFIRMED: "));
  // A report that claims one more is not what the trace gives.
  auto report = nlohmann::ordered_json::parse(bytes_of(bundle() / "report.json"));
  report["runs"][0]["campaign"]["reported"] = campaign["reported"].get<int>() + 1;
  std::ofstream(bundle() / "report.json", std::ios::binary) << report.dump(1) << "\n";
  seal_again(bundle());
  EXPECT_THAT(audit(bundle(), 1), HasSubstr("campaign: reported: the report says"));
}

TEST_P(Evidence, AWitnessedRunIsAuditedToo) {
  verify({"--recipe", "lts-unsealed", "--scenario", "munmap/*", "--witness"}, bundle());
  EXPECT_THAT(audit(bundle(), 0), HasSubstr("CONFIRMED: "));
}

/// What the full matrix asks for beside the rest: copies of code that were written by force,
/// children, processes of 32 bits, namespaces, memory under pressure, what the kernel has.
TEST_P(EvidenceInFull, PartsOfTheFullMatrixAreAuditedToo) {
  for (const char* recipe : {"lts-sealed", "lts-unsealed"}) {
    SCOPED_TRACE(recipe);
    run::RunRequest request =
        request_for(GetParam(), recipe,
                    {"munmap/whole", "ptrace/poke", "procmem/self", "fork/*", "madvise/*-fork",
                     "timens/*", "uprobe/*", "uring/*", "life/uprobes"},
                    true);
    request.variant = "force-ptrace";
    request.kernel_arguments = "proc_mem.force_override=ptrace";
    request.evidence_dir = bundle(recipe);
    fs::create_directories(request.evidence_dir);
    report::Run run;
    run_guest(request, run);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(run.ending.good) << run.ending.text;
    ASSERT_TRUE(run.evidence.has_value());
    EXPECT_EQ(run.counts.mismatches, 0U);
    EXPECT_TRUE(std::any_of(run.cells.begin(), run.cells.end(), [](const report::Cell& cell) {
      return cell.observation.change == report::Change::Privatised;
    }));
    EXPECT_GT(run.cells.size(), 40U);
    expect_same_again(recipe, std::move(run));
  }
}

TEST_P(Evidence, AVariantIsAuditedToo) {
  // Which cells lie depends on the guest: an audit must know the variant too.
  verify({"--recipe", "lying", "--variant", "force-never", "--scenario", "munmap/*", "--scenario",
          "mprotect/rw*"},
         bundle());
  const std::string audited = audit(bundle(), 0);
  EXPECT_THAT(audited, HasSubstr("CONFIRMED: "));
  EXPECT_THAT(audited,
              HasSubstr(fmt::format("  {} lying:force-never: computed again", arch_name())));
}

TEST_P(Evidence, ARunWithoutSymbolsIsAuditedToo) {
  // Of a kernel without symbols nothing is known; of one with symbols it is known what it lacks.
  run::RunRequest request = request_for(GetParam(), "lts-unsealed", {"munmap/whole", "uring/*"});
  request.symbols.clear();
  request.evidence_dir = bundle("no-symbols");
  fs::create_directories(request.evidence_dir);
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  expect_same_again("no-symbols", std::move(run));
}

TEST_P(Evidence, TwoRunsOfTheSameGiveTheSameTrace) {
  expect_the_same_bytes({"munmap/*", "mremap/*", "life/fork", "life/exec", "ptrace/poke"});
}

TEST_P(EvidenceInFull, TwoRunsOfEachLifeGiveTheSameTrace) { expect_the_same_bytes({"life/*"}); }

TEST_P(Evidence, AnotherSealIsAnotherTrace) {
  // The control of the test above: twins differ by a handful of entry writes. Their files differ by
  // their names alone, and their places because they are two kernels: what is compared is what
  // happened, in order.
  verify({"--recipe", "lts-sealed", "--recipe", "lts-unsealed", "--scenario", "munmap/whole"},
         bundle());
  const auto happened = [&](const char* recipe) {
    std::vector<event::Event> events;
    read_trace(bundle() / "runs" / (arch_name() + "-" + recipe), events);
    std::vector<std::tuple<event::Kind, unsigned, bool, bool>> told;
    for (const event::Event& event : events) {
      told.emplace_back(event.kind, event.level, event.old_value == 0, event.new_value == 0);
    }
    return told;
  };
  const auto sealed = happened("lts-sealed");
  const auto unsealed = happened("lts-unsealed");
  EXPECT_GT(sealed.size(), 5'000U);
  EXPECT_GT(unsealed.size(), 5'000U);
  EXPECT_FALSE(sealed == unsealed);
}

TEST_P(Evidence, ChangedBytesAreNamed) {
  verify({"--recipe", "lts-sealed", "--scenario", "munmap/whole"}, bundle());
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(bundle())) {
    if (!entry.is_regular_file()) continue;
    const std::string was = bytes_of(entry.path());
    if (was.empty()) continue;
    for (const std::size_t at : {std::size_t{0}, was.size() / 2, was.size() - 1}) {
      std::string edited = was;
      edited[at] = static_cast<char>(edited[at] ^ 0x10);
      std::ofstream(entry.path(), std::ios::binary) << edited;
      const std::string name = entry.path().lexically_relative(bundle()).generic_string();
      EXPECT_THAT(audit(bundle(), 1),
                  AllOf(HasSubstr("CHANGED " + name + ": "), HasSubstr("block ")));
    }
    std::ofstream(entry.path(), std::ios::binary) << was;
  }
  EXPECT_THAT(audit(bundle(), 0), HasSubstr("CONFIRMED"));
}

TEST_P(Evidence, AForgedTraceGivesOtherVerdicts) {
  verify({"--recipe", "lts-unsealed", "--scenario", "munmap/whole"}, bundle());
  // No entry that maps a page is ever cleared.
  std::size_t changed = 0;
  forge(bundle(), "runs/" + arch_name() + "-lts-unsealed", [&](event::Event& event) {
    if (event.kind == event::Kind::SlotWrite && event.level == 1 && event.new_value == 0) {
      event.new_value = event.old_value;
      ++changed;
    }
    return true;
  });
  EXPECT_GT(changed, 10U);
  const std::string audited = audit(bundle(), 1);
  EXPECT_THAT(audited, Not(HasSubstr("CHANGED")));
  EXPECT_THAT(audited, HasSubstr("DIVERGES"));
  EXPECT_THAT(audited, HasSubstr(fmt::format("DIFFERENT {} lts-unsealed: [vdso] munmap/whole: "
                                             "observation: change: the report says gone, the trace "
                                             "gives unchanged",
                                             arch_name())));
}

TEST_P(Evidence, AForgedReportIsNotWhatTheTraceGives) {
  // The unsealed twin's run, said to be of a sealed kernel's that held.
  verify({"--recipe", "lts-unsealed", "--scenario", "munmap/whole"}, bundle());
  std::string report = bytes_of(bundle() / "report.json");
  const std::string was = "\"verdict\": \"as-expected\"";
  for (std::size_t at = report.find(was); at != std::string::npos; at = report.find(was)) {
    report.replace(at, was.size(), "\"verdict\": \"held\"");
  }
  std::ofstream(bundle() / "report.json", std::ios::binary) << report;
  seal_again(bundle());
  EXPECT_THAT(audit(bundle(), 1),
              HasSubstr("munmap/whole: verdict: the report says held, the trace "
                        "gives as-expected"));
}

/// Changes some entry writes: what a run records whose watch is broken.
TEST_P(Evidence, ARunWithABrokenWatchIsAuditedToThatVerdict) {
  run::RunRequest request = request_for(GetParam(), "lts-unsealed", {"munmap/whole"});
  request.evidence_dir = bundle();
  fs::create_directories(request.evidence_dir);
  // Several: the kernel may write one of them again before memory is looked at.
  int changed = 0;
  request.mutate = [&](event::Event& event) {
    if (changed == 16 || event.kind != event::Kind::SlotWrite || event.icount < 20'000'000) return;
    ++changed;
    event.new_value ^= 0x1000;
  };
  report::Run run;
  run_guest(request, run);
  ASSERT_EQ(changed, 16);
  EXPECT_GT(run.counts.mismatches, 0U);
  ASSERT_TRUE(run.evidence.has_value());
  auto opened = app::open_run(folder_.path(), {"bundle", 0, 0, {}});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  evidence::TraceReader trace(*opened.value().source);
  const auto again =
      run::replay(opened.value().request, trace, opened.value().names(), opened.value().console);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again.value().run.counts.mismatches, run.counts.mismatches);
  EXPECT_EQ(again.value().divergence, "");
}

TEST_P(Evidence, AFullDiskIsNamedAndTheVerdictsAreKept) {
  run::RunRequest request = request_for(GetParam(), "lts-sealed", {"munmap/whole"});
  request.evidence_dir = bundle();
  fs::create_directories(request.evidence_dir);
  fs::create_symlink("/dev/full", request.evidence_dir / "trace.slvt");
  report::Run run;
  run_guest(request, run);
  EXPECT_FALSE(run.evidence.has_value());
  EXPECT_THAT(text_of(findings_of(run, "evidence")), HasSubstr("No space left on device"));
  ASSERT_FALSE(run.cells.empty());
  EXPECT_EQ(run.cells[0].verdict, report::Verdict::Held);
  EXPECT_EQ(report::conclude({std::move(run)}, {}, {}).exit_code, ExitCode::HostLacks);
}

/// Life in numbers: processes that come and go, a thousand of them.
TEST_P(Evidence, AStormTakesFewBytesAnEvent) {
  verify({"--recipe", "lts-sealed", "--scenario", "life/thousand"}, bundle());
  const auto manifest = nlohmann::json::parse(std::ifstream(bundle() / "manifest.json"));
  const auto events = manifest["runs"][0]["events"].get<double>();
  const auto bytes = static_cast<double>(
      fs::file_size(bundle() / "runs" / (arch_name() + "-lts-sealed") / "trace.slvt"));
  EXPECT_GT(events, 300'000);
  EXPECT_LE(bytes / events, kMostBytesPerEvent);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THAT(audit(bundle(), 0), HasSubstr("CONFIRMED"));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  fmt::print("{} events in {} bytes, {:.2f} an event; audited in {:.1f} s\n", events, bytes,
             bytes / events, took.count());
}

TEST_P(Evidence, EventsAreListed) {
  verify({"--recipe", "lts-unsealed", "--scenario", "munmap/whole"}, bundle());
  Child query({program_path(), "trace", "query", bundle().string(), "--mapping", "[vdso]", "--kind",
               "slot-write", "--function", "*unmap*"});
  ASSERT_EQ(query.finish(), 0) << query.text();
  EXPECT_THAT(query.output(), HasSubstr("-> 0x0 by "));
  EXPECT_THAT(query.output(), HasSubstr("[vdso] at 0x"));
  EXPECT_THAT(query.output(), HasSubstr("in munmap/whole\n"));
  EXPECT_THAT(query.errors(), HasSubstr(" events"));
  Child json({program_path(), "trace", "export", bundle().string(), "--kind", "doorbell"});
  ASSERT_EQ(json.finish(), 0) << json.text();
  const std::string first = json.output().substr(0, json.output().find('\n'));
  EXPECT_EQ(nlohmann::json::parse(first)["kind"], "doorbell");
  const fs::path csv = folder_.path() / "all.csv";
  Child all({program_path(), "trace", "export", bundle().string(), "--format", "csv", "--out",
             csv.string()});
  ASSERT_EQ(all.finish(), 0) << all.text();
  const std::string lines = bytes_of(csv);
  EXPECT_TRUE(lines.starts_with("run,icount,kind,process,"));
  EXPECT_GT(std::count(lines.begin(), lines.end(), '\n'), 5'000);
}

/// The main job, kept and audited: all six guests.
TEST(EvidenceInFullOfAll, TheDefaultMatrixIsAuditedInTime) {
  const Folder folder;
  const fs::path bundle = folder.path() / "bundle";
  Child verify({program_path(), "verify", "--bundle", bundle.string()});
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  Child audit({program_path(), "audit", bundle.string()});
  ASSERT_EQ(audit.finish(), 0) << audit.text();
  EXPECT_THAT(audit.text(), HasSubstr("CONFIRMED"));
  // Of all children so far the audit's share is small; its own is what is promised.
  const auto before = std::chrono::steady_clock::now();
  const auto found = app::audit_bundle(bundle);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_TRUE(found.value().confirmed());
  EXPECT_LE(took.count(), kMostSecondsToAudit);
  fmt::print("audited in {:.1f} s\n", took.count());
}

}  // namespace
}  // namespace sealvisor::test
