#include "vmm/app/audit.h"

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
  // Of one that ended well nothing depends on it but its digest.
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  bundle.write(in_run(evidence::kConsoleName), "Kernel panic\n");
  EXPECT_THAT(audit(bundle).text, HasSubstr("CHANGED " + in_run(evidence::kConsoleName)));
}

TEST(AuditOfABundle, TheCommandAsksForTheSeal) {
  TestBundle bundle;
  bundle.make(Kernel::Refuses);
  app::AuditOptions options;
  options.folder = bundle.folder();
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("CONFIRMED"));
  options.seal = evidence::hex(bundle.seal);
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), Not(HasSubstr("NOT CONFIRMED")));
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
