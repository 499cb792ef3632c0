#include "vmm/report/lifetime_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

#include "tests/unit/report/samples.h"
#include "tests/unit/report/schema_check.h"

namespace sealvisor::report {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

LifeChange change(const char* mapping, Effect effect, const char* cause, const char* scenario,
                  bool by_kernel) {
  LifeChange made;
  made.mapping = mapping;
  made.effect = effect;
  made.cause = cause;
  made.by = "a_function";
  made.path = {"set_pte", "a_function", "entry_SYSCALL_64"};
  made.path_complete = true;
  made.in_life = std::string(cause) != "fault";
  made.by_kernel = by_kernel;
  made.writes = 8;
  made.seen = 8;
  made.spaces = 4;
  made.scenarios = {{scenario, 8}};
  made.example = "entry at 0x1000";
  return made;
}

MappingLife life(const char* mapping, LifeVerdict verdict) {
  MappingLife made;
  made.mapping = mapping;
  made.claims_sealed = true;
  made.spaces = 1234;
  made.entries = 99;
  made.pages_populated = 2468;
  made.verdict = verdict;
  if (verdict == LifeVerdict::Changed) made.changed_by = {"time namespace (vdso_join_timens)"};
  made.text = "text";
  return made;
}

Life ran(const char* name) {
  Life made = samples::life(name);
  made.violations = 0;
  return made;
}

/// What a good kernel shows: [vvar] changes in time namespaces, and the controls left their traces.
Run good_run(bool sealed = true) {
  Run made = sealed ? samples::sealed_run() : samples::unsealed_run();
  made.cells.clear();
  made.findings.clear();
  made.lives = {ran("life/fork"), ran("storm/time-namespace"), ran("control/own-calls"),
                ran("control/tamper-entry")};
  made.counts.known_changes = 8;
  made.counts.known_changes_judged = 8;
  made.lifetime.emplace();
  made.lifetime->mappings = {life("[vdso]", LifeVerdict::NeverChanged),
                             life("[vvar]", LifeVerdict::Changed)};
  made.lifetime->changes = {
      change("[vvar]", Effect::Removed, "time namespace", "storm/time-namespace", true),
      change("[vdso]", Effect::Permission, "outside", "control/tamper-entry", false),
      change("[vdso]", Effect::FilledIn, "fault", "life/fork", false)};
  if (!sealed) {
    made.lifetime->changes.push_back(
        change("[vdso]", Effect::Removed, "system call", "control/own-calls", false));
  }
  made.lifetime->writes = 100;
  return made;
}

TEST(LifetimeReport, SaysForEachMappingWhetherTheKernelChangesIt) {
  const Report report = conclude_lifetime({good_run(true), good_run(false)}, {});
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected) << report.conclusion;
  EXPECT_THAT(report.conclusion,
              StartsWith("AS EXPECTED: by the kernel itself, on x86_64 [vdso] never changed in "
                         "2,468 address spaces, 4,936 pages, 198 entries to user mode; on x86_64 "
                         "[vvar] changed by"));
  EXPECT_THAT(report.conclusion, HasSubstr("during 4 scenarios"));
  EXPECT_THAT(report.conclusion, HasSubstr("[vvar] changed by time namespace (vdso_join_timens)"));
  const std::string text = render_lifetime_text(report);
  EXPECT_THAT(text, HasSubstr("entry_SYSCALL_64 > a_function > set_pte"));
  EXPECT_THAT(text, HasSubstr("storm/time-namespace 8"));
  EXPECT_THAT(text, HasSubstr("filled in, copied, and gone with the process"));
}

// An architecture vouches for its own mappings: what one showed says nothing of the other's.
TEST(LifetimeReport, ConcludesForEachArchitecture) {
  report::Run other = good_run();
  other.arch = arch::Arch::Arm64;
  other.lifetime->mappings[0] = life("[vdso]", LifeVerdict::Unobserved);
  other.lifetime->mappings[0].spaces = 0;
  report::Run half = good_run(false);
  half.lifetime->mappings[0].spaces = 0;
  half.lifetime->mappings[0].verdict = LifeVerdict::Unobserved;
  const Report report = conclude_lifetime({good_run(), half, other}, {});
  EXPECT_THAT(report.conclusion, HasSubstr("on x86_64 [vdso] never changed in 1,234 address"));
  EXPECT_THAT(report.conclusion, HasSubstr("unobserved in 1 of 2 guests"));
  EXPECT_THAT(report.conclusion, HasSubstr("on arm64 [vdso] unobserved"));
}

std::vector<std::string> findings_of(const Run& run) {
  std::vector<std::string> ids;
  for (const Finding& finding : conclude_lifetime({run}, {}).findings) ids.push_back(finding.id);
  return ids;
}

TEST(LifetimeReport, AChangeThatIsNotKnownFails) {
  report::Run run = good_run();
  run.lifetime->changes.push_back(
      change("[vdso]", Effect::Removed, "kernel", "life/signals", true));
  EXPECT_THAT(findings_of(run), testing::ElementsAre("x86_64/lts-sealed/[vdso]/removed/lifetime"));
  EXPECT_EQ(conclude_lifetime({run}, {}).exit_code, ExitCode::Failed);
  run.expectations = false;
  EXPECT_TRUE(findings_of(run).empty()) << "of an own image nothing is known: it is a result";
}

TEST(LifetimeReport, ATimeNamespaceMayChangeVvarAlone) {
  report::Run run = good_run();
  run.lifetime->changes.push_back(
      change("[vdso]", Effect::Removed, "time namespace", "storm/time-namespace", true));
  EXPECT_EQ(findings_of(run).size(), 1U);
}

TEST(LifetimeReport, ATimeNamespaceGivesNoOtherPermissions) {
  report::Run run = good_run();
  run.lifetime->changes.push_back(
      change("[vvar]", Effect::Permission, "time namespace", "storm/time-namespace", true));
  EXPECT_THAT(findings_of(run),
              testing::ElementsAre("x86_64/lts-sealed/[vvar]/permission/lifetime"));
}

TEST(LifetimeReport, ASealThatACallGetsThroughFails) {
  report::Run run = good_run();
  run.lifetime->changes.push_back(
      change("[vdso]", Effect::Removed, "system call", "control/own-calls", false));
  EXPECT_EQ(findings_of(run).size(), 1U);
}

TEST(LifetimeReport, WhatHasNoCauseFails) {
  report::Run run = good_run();
  run.lifetime->changes.push_back(
      change("[vdso]", Effect::Removed, "unknown", "life/signals", false));
  run.expectations = false;
  EXPECT_EQ(findings_of(run).size(), 1U) << "whatever the kernel";
}

TEST(LifetimeReport, AControlThatLeavesNoTraceFails) {
  for (const std::size_t missing : {0U, 1U}) {
    report::Run run = good_run();
    run.lifetime->changes.erase(run.lifetime->changes.begin() +
                                static_cast<std::ptrdiff_t>(missing));
    EXPECT_EQ(findings_of(run).size(), 1U) << missing;
  }
  report::Run few = good_run();
  few.counts.known_changes = 9;
  EXPECT_EQ(findings_of(few).size(), 1U) << "each of its changes must be in the list";
  report::Run open = good_run(false);
  open.lifetime->changes.pop_back();
  EXPECT_EQ(findings_of(open).size(), 1U) << "an unsealed kernel does what a process asks for";
  report::Run quiet = good_run();
  quiet.lives.clear();
  quiet.lifetime->changes.pop_back();
  EXPECT_TRUE(findings_of(quiet).empty()) << "what did not run need not show";
}

TEST(LifetimeReport, AControlKernelMustHaveWhatItIsFor) {
  report::Run control = good_run();
  control.recipe = "restless";
  control.control = true;
  EXPECT_EQ(findings_of(control).size(), 1U);
  LifeChange drop = change("[vdso]", Effect::Removed, "kernel", "life/signals", true);
  drop.path = {"set_pte", "restless_drop_vdso", "get_signal", "asm_sysvec_apic_timer_interrupt"};
  control.lifetime->changes.push_back(drop);
  EXPECT_TRUE(findings_of(control).empty());
  EXPECT_THAT(conclude_lifetime({control}, {}).conclusion, Not(HasSubstr("[vdso] changed")))
      << "nothing is said of real kernels";
}

TEST(LifetimeReport, AControlKernelChangesNothingElse) {
  report::Run control = good_run();
  control.recipe = "restless";
  control.control = true;
  LifeChange drop = change("[vdso]", Effect::Removed, "kernel", "life/signals", true);
  drop.path = {"set_pte", "restless_drop_vdso", "get_signal", "asm_sysvec_apic_timer_interrupt"};
  control.lifetime->changes.push_back(drop);
  report::Run other = control;
  other.lifetime->changes.push_back(
      change("[vvar]", Effect::Removed, "kernel", "life/signals", true));
  EXPECT_THAT(findings_of(other), testing::ElementsAre("x86_64/restless/[vvar]/removed/lifetime"));
  other = control;
  other.lifetime->changes.push_back(change("[vdso]", Effect::Removed, "kernel", "life/fork", true));
  EXPECT_EQ(findings_of(other).size(), 1U) << "by another way through the kernel";
}

LifeVerdict verdict_of_vdso(const Report& report) {
  return report.runs.at(0).lifetime->mappings.at(0).verdict;
}

// "never changed" is for what was watched to its end, and for nothing else.
TEST(LifetimeReport, WhatDidNotRunNeverHeld) {
  EXPECT_EQ(verdict_of_vdso(conclude_lifetime({good_run()}, {})), LifeVerdict::NeverChanged);
  report::Run skipped = good_run();
  skipped.findings = {{"x86_64/lts-sealed/life/uprobes/monitor", "monitor",
                       "the agent could not run life/uprobes: not implemented", false, ""}};
  Report report = conclude_lifetime({skipped}, {});
  EXPECT_EQ(verdict_of_vdso(report), LifeVerdict::NotKnown);
  EXPECT_THAT(report.conclusion, Not(HasSubstr("never changed")));
  EXPECT_THAT(render_lifetime_text(report), HasSubstr("could not run life/uprobes"));

  report::Run none = good_run();
  none.lives[0].status = 38;
  EXPECT_EQ(verdict_of_vdso(conclude_lifetime({none}, {})), LifeVerdict::NotKnown)
      << "whether or not that is a finding";

  report::Run cut = good_run();
  cut.lives[0].complete = false;
  report = conclude_lifetime({cut}, {});
  EXPECT_EQ(verdict_of_vdso(report), LifeVerdict::NotKnown);
  EXPECT_EQ(report.exit_code, ExitCode::Failed);

  report::Run untrusted = good_run();
  untrusted.counts.mismatches = 1;
  EXPECT_EQ(verdict_of_vdso(conclude_lifetime({untrusted}, {})), LifeVerdict::NotKnown);

  report::Run crashed = good_run();
  crashed.ending = {false, "kernel panic", ""};
  report = conclude_lifetime({crashed}, {});
  EXPECT_EQ(verdict_of_vdso(report), LifeVerdict::NotKnown);
  EXPECT_EQ(report.runs[0].lifetime->mappings[1].verdict, LifeVerdict::Changed)
      << "what was seen was seen";

  // One run that watched is no evidence for another that did not.
  report::Run idle = good_run(false);
  idle.lifetime->writes = 0;
  report = conclude_lifetime({good_run(), idle}, {});
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_EQ(report.runs[1].lifetime->mappings[0].verdict, LifeVerdict::NotKnown);
}

TEST(LifetimeReport, NothingWatchedIsNoEvidence) {
  report::Run run = good_run();
  run.lifetime->writes = 0;
  EXPECT_EQ(conclude_lifetime({run}, {}).exit_code, ExitCode::Failed);
  EXPECT_EQ(conclude_lifetime({}, {}).exit_code, ExitCode::Failed);
  const NotRun missing{arch::Arch::Arm64, "x", {ExitCode::HostLacks, "no", 0}};
  EXPECT_EQ(conclude_lifetime({}, {missing}).exit_code, ExitCode::HostLacks);
  report::Run crashed = good_run();
  crashed.ending = {false, "kernel panic", ""};
  EXPECT_EQ(conclude_lifetime({crashed}, {}).exit_code, ExitCode::GuestFailed);
}

TEST(LifetimeJson, IsValidByTheSchemaAndNoMutationIs) {
  report::Run run = good_run();
  run.findings = {{"a/b/S1", "S1", "text", false, ""}};
  const Report report = conclude_lifetime(
      {run}, {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}});
  const SchemaDocument document(render_lifetime_json(report));
  const test::ShellAnswer checked =
      check_schema("docs/lifetime.schema.json", "--mutate '" + document.path().string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
  const auto json = nlohmann::json::parse(render_lifetime_json(report));
  const auto& changes = json["runs"][0]["lifetime"]["changes"];
  EXPECT_FALSE(changes[0]["known"].is_null()) << "a known change has its source";
  EXPECT_TRUE(changes[1]["known"].is_null());
}

}  // namespace
}  // namespace sealvisor::report
