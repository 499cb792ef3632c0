#include "vmm/report/compat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <string>

#include "tests/unit/report/samples.h"
#include "tests/unit/report/schema_check.h"

namespace sealvisor::report {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

MappingOutcome outcome(const char* mapping, Change change) {
  return {mapping, {change, {4, 1, 1, 0, 0}, name_of(change)}};
}

Sequence sequence(SequenceVerdict verdict) {
  const bool broken = verdict == SequenceVerdict::Breaks;
  Sequence made;
  made.name = "compat/rr-record";
  made.software = "rr";
  made.when = "record: vvar is unmapped";
  made.source = "rr-debugger/rr: src/record_syscall.cc";
  made.then = "the recording ends";
  SequenceCall call;
  call.call = "munmap";
  call.what = "[vvar]";
  call.start = 0x7ffff7fc0000;
  call.end = 0x7ffff7fc4000;
  call.ends = true;
  call.result = broken ? -EPERM : 0;
  call.answer = broken ? "EPERM" : "ok";
  if (!broken) {
    call.outcomes = {outcome("[vvar]", Change::Gone)};
    call.changes = {samples::entry_change()};
  }
  made.calls = {call};
  if (broken) made.first_failed = 0;
  made.gave_up = broken;
  made.complete = verdict != SequenceVerdict::Unobserved;
  made.mappings_before = 12;
  made.mappings_left = broken ? 12 : 11;
  made.outcomes = {outcome("[vvar]", broken ? Change::Unchanged : Change::Gone)};
  made.expected = "as it is";
  made.expected_source = "a source";
  made.verdict = verdict;
  return made;
}

Run run(const char* recipe, SequenceVerdict verdict) {
  Run made = samples::sealed_run();
  made.recipe = recipe;
  made.cells.clear();
  made.lives.clear();
  made.sequences = {sequence(verdict)};
  made.not_tried = {{"compat/uml-stub", "UML makes these calls on x86-64 alone"}};
  return made;
}

Report both() {
  return conclude_compat(
      {run("lts-sealed", SequenceVerdict::Breaks), run("lts-unsealed", SequenceVerdict::Works)},
      {});
}

TEST(CompatReport, SaysWhatBreaksAndThatTheControlWorks) {
  const Report report = both();
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  EXPECT_THAT(report.conclusion, StartsWith("AS EXPECTED: 1 sequences of rr break"));
  EXPECT_THAT(report.conclusion, HasSubstr("1 of rr work"));
  const std::string text = render_compat_text(report);
  EXPECT_THAT(text, HasSubstr("munmap [vvar]: EPERM"));
  EXPECT_THAT(text, HasSubstr("11 of 12 mappings"));
  EXPECT_THAT(text, HasSubstr("1 of 4 pages seen"));
  EXPECT_THAT(text, HasSubstr("the recording ends"));
  EXPECT_THAT(text, HasSubstr("not tried uml-stub"));
  EXPECT_THAT(text, Not(HasSubstr("FINDINGS")));
}

TEST(CompatReport, SaysWhichKernelsAreForTheExperimentAlone) {
  const auto text_of = [](const char* recipe) {
    return render_compat_text(conclude_compat({run(recipe, SequenceVerdict::Breaks)}, {}));
  };
  EXPECT_THAT(text_of("checkpoint-restore-sealed"), HasSubstr("for this experiment alone"));
  EXPECT_THAT(text_of("lts-sealed"), Not(HasSubstr("for this experiment alone")));
}

TEST(CompatReport, FailsForWhatIsNotAsExpected) {
  report::Run bad = run("lts-sealed", SequenceVerdict::Unexpected);
  bad.findings = {{"x86_64/lts-sealed/compat/rr-record/claim", "claim", "it lies", false, ""}};
  Report report = conclude_compat({bad}, {});
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_THAT(report.conclusion, StartsWith("NOT AS EXPECTED: 1 finding, the first"));
  EXPECT_THAT(render_compat_text(report), HasSubstr("it lies"));
  EXPECT_FALSE(report.runs[0].good);

  report::Run untrusted = run("lts-sealed", SequenceVerdict::Breaks);
  untrusted.counts.mismatches = 1;
  EXPECT_EQ(conclude_compat({untrusted}, {}).exit_code, ExitCode::Failed);

  report::Run crashed = run("lts-sealed", SequenceVerdict::Breaks);
  crashed.ending = {false, "kernel panic", "Kernel panic\n"};
  EXPECT_EQ(conclude_compat({crashed}, {}).exit_code, ExitCode::GuestFailed);

  const NotRun missing{arch::Arch::Arm64, "x", {ExitCode::HostLacks, "no", 0}};
  EXPECT_EQ(conclude_compat({}, {missing}).exit_code, ExitCode::HostLacks);
  EXPECT_EQ(conclude_compat({}, {}).exit_code, ExitCode::Failed) << "nothing seen confirms nothing";
  EXPECT_EQ(conclude_compat({run("lts-sealed", SequenceVerdict::Unobserved)}, {missing}).exit_code,
            ExitCode::Failed);
}

TEST(CompatReport, SaysThatAControlIsMissing) {
  EXPECT_THAT(both().conclusion, Not(HasSubstr("without a control")));
  const Report alone = conclude_compat({run("lts-sealed", SequenceVerdict::Breaks)}, {});
  EXPECT_EQ(alone.exit_code, ExitCode::AsExpected);
  EXPECT_THAT(alone.conclusion, HasSubstr("1 of them without a control"));
  report::Run other = run("lts-unsealed", SequenceVerdict::Works);
  other.arch = arch::Arch::Arm64;
  EXPECT_THAT(conclude_compat({run("lts-sealed", SequenceVerdict::Breaks), other}, {}).conclusion,
              HasSubstr("1 of them without a control"))
      << "of another architecture is none";
}

TEST(CompatReport, WhatWasNotObservedFails) {
  report::Run half = run("lts-unsealed", SequenceVerdict::Works);
  half.sequences.push_back(sequence(SequenceVerdict::Unobserved));
  half.sequences.back().name = "compat/rr-move";
  const Report report = conclude_compat({half}, {});
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].id, "x86_64/lts-unsealed/compat/rr-move/monitor");
}

TEST(CompatReport, ARealProgramMayNotGetThroughASeal) {
  report::Run real = run("lts-sealed", SequenceVerdict::Breaks);
  real.real.emplace();
  real.real->name = "uml";
  real.lifetime.emplace();
  LifeChange change;
  change.mapping = "[vdso]";
  change.effect = Effect::Removed;
  change.cause = "system call";
  change.by = "munmap";
  change.in_life = true;
  real.lifetime->changes = {change};
  EXPECT_EQ(conclude_compat({real}, {}).exit_code, ExitCode::Failed);
  real.sealed = false;
  EXPECT_EQ(conclude_compat({real}, {}).exit_code, ExitCode::AsExpected);
}

TEST(CompatReport, WhatAGuestSaysIsPrintable) {
  report::Run hostile = run("lts-sealed", SequenceVerdict::Breaks);
  hostile.sequences[0].calls[0].what = "\x1b[31m";
  EXPECT_THAT(render_compat_text(conclude_compat({hostile}, {})), Not(HasSubstr("\x1b[31m")));
}

TEST(CompatJson, IsValidByTheSchemaAndNoMutationIs) {
  Report report = both();
  report.runs[0].findings = {{"a/b/S1", "S1", "text", false, ""}};
  report.findings = report.runs[0].findings;
  report.not_run = {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}};
  const SchemaDocument document(render_compat_json(report));
  const test::ShellAnswer checked =
      check_schema("docs/compat.schema.json", "--mutate '" + document.path().string() + "'");
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_THAT(checked.output, Not(HasSubstr(": 0 mutations tried")));
  const auto json = nlohmann::json::parse(render_compat_json(report));
  const auto& call = json["runs"][0]["sequences"][0]["calls"][0];
  EXPECT_EQ(call["errno"], EPERM);
  EXPECT_EQ(call["start"], "0x7ffff7fc0000");
  EXPECT_TRUE(json["runs"][1]["sequences"][0]["first_failed"].is_null());
}

}  // namespace
}  // namespace sealvisor::report
