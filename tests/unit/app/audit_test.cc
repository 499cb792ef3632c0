#include "vmm/app/audit.h"

#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/support/test_bundle.h"

namespace sealvisor::test {
namespace {

using Kernel = ScriptedRun::Kernel;
using testing::HasSubstr;
using testing::Not;

std::string in_run(const char* name) { return std::string(TestBundle::kRun) + "/" + name; }

/// What an audit prints, and whether it confirms.
struct Said {
  bool confirmed = false;
  std::string text;
};
Said audit(const TestBundle& bundle) {
  const auto audit = app::audit_bundle(bundle.folder());
  if (!audit) return {false, audit.error().message};
  return {audit.value().confirmed(), app::render_audit(audit.value(), bundle.folder())};
}

TEST(AuditOfABundle, ConfirmsWhatIsAsItWas) {
  for (const Kernel kernel : {Kernel::Refuses, Kernel::Obeys, Kernel::Lies}) {
    TestBundle bundle;
    bundle.make(kernel);
    const Said said = audit(bundle);
    EXPECT_TRUE(said.confirmed) << said.text;
    EXPECT_THAT(said.text, HasSubstr("CONFIRMED: 1 cells"));
    EXPECT_THAT(said.text, HasSubstr("computed: " + bundle.report.conclusion));
    EXPECT_THAT(said.text, HasSubstr(evidence::hex(bundle.seal)));
  }
}

TEST(AuditOfABundle, ConfirmsARunThatHadNoSymbols) {
  TestBundle bundle;
  bundle.make(Kernel::Obeys, false);
  const Said said = audit(bundle);
  EXPECT_TRUE(said.confirmed) << said.text;
}

TEST(AuditOfABundle, NamesAnEditedFileAndDoesNotJudgeByIt) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  const std::string path = in_run(evidence::kTraceName);
  std::string trace = bundle.read(path);
  trace[trace.size() / 2] = static_cast<char>(trace[trace.size() / 2] ^ 4);
  bundle.write(path, trace);
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("CHANGED " + path + ": block 0, at byte 16"));
  EXPECT_THAT(said.text, HasSubstr("NOT CONFIRMED: it is not as it was sealed"));
}

TEST(AuditOfABundle, AForgedTraceGivesAnotherVerdict) {
  TestBundle bundle;
  bundle.make(Kernel::Lies);
  bundle.forge([](event::Event& event) {
    if (event.kind == event::Kind::SlotWrite && event.new_value == 0) {
      event.new_value = event.old_value;
    }
    return true;
  });
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, Not(HasSubstr("CHANGED")));
  EXPECT_THAT(said.text, HasSubstr("DIFFERENT x86_64 lts-sealed: [vdso] munmap/whole: verdict: the "
                                   "report says violation, the trace gives held"));
  EXPECT_THAT(said.text, HasSubstr("DIVERGES"));
}

TEST(AuditOfABundle, AForgedReportIsNotWhatTheTraceGives) {
  TestBundle bundle;
  bundle.make(Kernel::Lies);
  std::string report = bundle.read(evidence::kReportName);
  for (std::size_t at = report.find("\"violation\""); at != std::string::npos;
       at = report.find("\"violation\"")) {
    report.replace(at, 11, "\"held\"");
  }
  bundle.write(evidence::kReportName, report);
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("[vdso] munmap/whole: verdict: the report says held, the trace "
                                   "gives violation"));
}

TEST(AuditOfABundle, AForgedDescriptionDoesNotFitItsTrace) {
  TestBundle bundle;
  bundle.make(Kernel::Lies);
  std::string run = bundle.read(in_run(evidence::kRunName));
  run.replace(run.find("\"sealed\": true"), 14, "\"sealed\": false");
  bundle.write(in_run(evidence::kRunName), run);
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("CHANGED " + in_run(evidence::kTraceName) + ": block 0"));
}

TEST(AuditOfABundle, AForgedKnownFindingIsFound) {
  TestBundle bundle;
  bundle.make(Kernel::Lies);
  bundle.write(evidence::kKnownName, R"({"schema": "sealvisor-known-findings-1", "findings": [
    {"id": "x86_64/*", "reason": "forged", "kernels": {"from": "6.12", "to": "6.12"},
     "reviewed": "2026-01-31"}]})");
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("known: the report says false, the trace gives true"));
}

TEST(AuditOfABundle, AForgedSnapshotIsNotTheTracesCode) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  const std::string path = in_run("code/0x400000.last");
  std::string code = bundle.read(path);
  code[100] = static_cast<char>(code[100] ^ 1);
  bundle.write(path, code);
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr(path + ": other bytes than the trace has"));
}

TEST(AuditOfABundle, ARunThatIsNotWholeIsNamedAndTheOthersCompared) {
  TestBundle bundle;
  bundle.make(Kernel::Lies);
  seal_again(bundle.folder(), [](evidence::Manifest& manifest) {
    evidence::RunEntry other;
    other.folder = "runs/arm64-lts-sealed";
    other.not_whole = "No space left on device";
    manifest.runs.push_back(other);
  });
  Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("  runs/arm64-lts-sealed: NOT CONFIRMED: its evidence is not "
                                   "whole: No space left on device"));
  EXPECT_THAT(said.text, HasSubstr("x86_64 lts-sealed: computed again from"));
  EXPECT_THAT(said.text, Not(HasSubstr("DIFFERENT")));
  EXPECT_THAT(said.text, HasSubstr("NOT CONFIRMED: not every run could be computed again"));
  // What is wrong with the other one is still said.
  std::string report = bundle.read(evidence::kReportName);
  report.replace(report.find("\"violation\""), 11, "\"held\"");
  bundle.write(evidence::kReportName, report);
  bundle.seal_again();
  said = audit(bundle);
  EXPECT_THAT(said.text, HasSubstr("DIFFERENT x86_64 lts-sealed"));
}

TEST(AuditOfABundle, AForgedConsoleOfARunThatFailedIsFound) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses, true, [](ScriptedRun& script) {
    script.words = "BUG: all is lost\n";
    script.ending = engine::End::GuestCrashed;
  });
  EXPECT_TRUE(audit(bundle).confirmed) << audit(bundle).text;
  bundle.write(in_run(evidence::kConsoleName), "all is well\n");
  EXPECT_THAT(audit(bundle).text, HasSubstr("CHANGED " + in_run(evidence::kConsoleName)));
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("console_tail: the report says BUG: all is lost"));
  EXPECT_THAT(said.text, HasSubstr("the trace gives all is well"));
}

TEST(AuditOfABundle, WhatARecipePromisesFollowsFromItsName) {
  // Whoever makes the trace anew can say of its run what he likes.
  for (const char* member : {"expectations", "sealed"}) {
    TestBundle bundle;
    bundle.make(Kernel::Lies);
    std::string run = bundle.read(in_run(evidence::kRunName));
    const auto was = evidence::digest_of(run);
    const std::string from = fmt::format("\"{}\": true", member);
    run.replace(run.find(from), from.size(), fmt::format("\"{}\": false", member));
    bundle.write(in_run(evidence::kRunName), run);
    evidence::BlockSeal end;
    const auto trace = bundle.file(in_run(evidence::kTraceName));
    rechain(trace, was, evidence::digest_of(run), end);
    seal_again(bundle.folder(), [&](evidence::Manifest& manifest) {
      manifest.runs[0].trace_end = end.digest;
      manifest.runs[0].trace_blocks = end.blocks;
    });
    const Said said = audit(bundle);
    EXPECT_FALSE(said.confirmed);
    EXPECT_THAT(said.text, Not(HasSubstr("CHANGED")));
    EXPECT_THAT(said.text, HasSubstr(fmt::format("CONTRADICTS x86_64 lts-sealed: \"{}\" is false, "
                                                 "and not of a recipe lts-sealed",
                                                 member)));
  }
}

TEST(AuditOfABundle, AnEngineIsWhatItWasAskedToBe) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses, true, [](ScriptedRun& script) {
    script.describe = [](engine::Outcome& outcome) { outcome.mechanism = "magic"; };
  });
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("CONTRADICTS x86_64 lts-sealed: run.json has the engine tcg"));
}

TEST(AuditOfABundle, ForgedSymbolsAreNotTheTraces) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  // No cell of this run names a function: nothing of the report depends on it.
  std::string symbols = bundle.read(in_run(evidence::kSymbolsName));
  symbols.insert(symbols.find('{') + 1, " ");
  bundle.write(in_run(evidence::kSymbolsName), symbols);
  bundle.seal_again();
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, Not(HasSubstr("DIFFERENT")));
  EXPECT_THAT(said.text, HasSubstr("symbols.json is not the one that its trace was made with"));
}

TEST(AuditOfABundle, OneWithoutRunsConfirmsNothing) {
  const app::Temporary folder;
  auto bundle = app::Bundle::create(folder.path() / "bundle", "");
  ASSERT_TRUE(bundle.ok());
  ASSERT_TRUE(bundle.value().finish(report::conclude({}, {}, {}), TestBundle::kNoKnown).ok());
  const auto audit = app::audit_bundle(folder.path() / "bundle");
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  EXPECT_FALSE(audit.value().confirmed());
  EXPECT_FALSE(audit.value().gave_up());
  EXPECT_THAT(app::render_audit(audit.value(), folder.path()),
              HasSubstr("NOT CONFIRMED: it has no run: nothing was computed"));
}

TEST(AuditOfABundle, AnAuditorsOwnFailureIsNotTheBundles) {
  app::Audit audit;
  audit.runs.resize(2);
  audit.runs[0].problem = Error{ExitCode::HostLacks, "std::bad_alloc"};
  audit.problem = Error{ExitCode::HostLacks, "not every run could be computed again"};
  EXPECT_TRUE(audit.gave_up());
  EXPECT_FALSE(audit.confirmed());
  audit.runs[1].divergence = "block 1";
  EXPECT_FALSE(audit.gave_up());
  audit.runs[1].divergence.clear();
  audit.runs[1].problem = Error{ExitCode::Failed, "its evidence was changed"};
  EXPECT_FALSE(audit.gave_up());
  EXPECT_FALSE(app::Audit().gave_up()) << "nothing was done";
}

TEST(AuditOfABundle, MoreEventsThanTheManifestHasAreNotRead) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  seal_again(bundle.folder(), [](evidence::Manifest& manifest) { manifest.runs[0].events = 3; });
  const Said said = audit(bundle);
  EXPECT_FALSE(said.confirmed);
  EXPECT_THAT(said.text, HasSubstr("more than 3 events"));
}

TEST(AuditOfABundle, TheCommandAsksForTheSeal) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  app::AuditOptions options;
  options.folder = bundle.folder();
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 0);
  std::string said = testing::internal::GetCapturedStdout();
  EXPECT_THAT(said, HasSubstr("CONFIRMED"));
  EXPECT_THAT(said, HasSubstr("The seal was not compared"));
  options.seal = evidence::hex(bundle.seal);
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 0);
  said = testing::internal::GetCapturedStdout();
  EXPECT_THAT(said, Not(HasSubstr("NOT CONFIRMED")));
  EXPECT_THAT(said, Not(HasSubstr("The seal was not compared")));
  options.seal = evidence::hex(evidence::digest_of("another"));
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 1);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("it has another seal"));
  options.seal = "nonsense";
  testing::internal::CaptureStderr();
  EXPECT_EQ(app::audit(options), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("64 hexadecimal digits"));
  options.seal.clear();
  options.folder = "/none";
  testing::internal::CaptureStderr();
  EXPECT_EQ(app::audit(options), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("no bundle"));
}

}  // namespace
}  // namespace sealvisor::test
