// What an audit by itself cannot find, and what finds it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/support/test_bundle.h"
#include "vmm/app/audit.h"
#include "vmm/report/compare.h"
#include "vmm/report/json.h"

namespace sealvisor::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The audited bundle as text.
std::string audit(const TestBundle& bundle, bool confirmed) {
  const auto audit = app::audit_bundle(bundle.folder());
  EXPECT_TRUE(audit.ok());
  if (!audit) return audit.error().message;
  const std::string text = app::render_audit(audit.value(), bundle.folder());
  EXPECT_EQ(audit.value().confirmed(), confirmed) << text;
  return text;
}

/// A page of the sealed [vdso] becomes writable, user mode runs, and the page is as it was.
void change_for_a_moment(ScriptedRun& script) {
  FakeGuest& guest = script.guest();
  const Frame root{FakeGuest(Arch::X86_64).next_table};  // the first that was made
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.write = true, .exec = true});
  event::Event entry{};
  entry.kind = event::Kind::UserEntry;
  entry.icount = ++guest.icount;
  entry.root = root.gpa().value;
  guest.emit(entry);
  guest.map(root, FakeGuest::kVdsoPlace, FakeGuest::kVdso, {.exec = true});
}

TEST(AuditLimits, EntriesToUserModeThatAreLeftOut) {
  TestBundle bundle;
  bundle.at_the_end = change_for_a_moment;
  bundle.make(ScriptedRun::Kernel::Refuses);
  audit(bundle, true);
  const std::size_t findings = bundle.report.runs.at(0).findings.size();
  ASSERT_GT(findings, 0U) << "the change is judged at an entry to user mode";

  std::uint64_t dropped = 0;
  bundle.forge([&](event::Event& event) {
    const bool entry = event.kind == event::Kind::UserEntry;
    dropped += entry ? 1 : 0;
    return !entry;
  });
  seal_again(bundle.folder(),
             [&](evidence::Manifest& manifest) { manifest.runs.at(0).events -= dropped; });
  ASSERT_GT(dropped, 1U);
  // They change no memory: the trace follows from itself. The report does not follow from it.
  const std::string audited = audit(bundle, false);
  EXPECT_THAT(audited, Not(HasSubstr("CHANGED")));
  EXPECT_THAT(audited, Not(HasSubstr("DIVERGES")));
  EXPECT_THAT(audited, HasSubstr("DIFFERENT "));

  // Nor does that show once the report says what this trace gives.
  auto opened = app::open_run(bundle.folder(), {TestBundle::kRun, 0, 0, {}});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const app::RunEvidence& evidence = opened.value();
  evidence::TraceReader trace(*evidence.source);
  auto replayed = run::replay(evidence.request, trace, evidence.names(), evidence.console);
  ASSERT_TRUE(replayed.ok()) << replayed.error().message;
  EXPECT_LT(replayed.value().run.findings.size(), findings);
  auto not_run = report::not_run_of(bundle.read(evidence::kReportName));
  ASSERT_TRUE(not_run.ok()) << not_run.error().message;
  report::Run run = std::move(replayed.value().run);
  app::annotate(run, evidence.request);
  const report::Report forged = report::conclude({std::move(run)}, std::move(not_run).value(), {});
  bundle.write(evidence::kReportName, report::render_json(forged));
  bundle.seal_again();
  EXPECT_THAT(audit(bundle, true), HasSubstr("CONFIRMED: "));

  // The seal that was kept does.
  app::AuditOptions options;
  options.folder = bundle.folder();
  options.seal = evidence::hex(bundle.seal);
  testing::internal::CaptureStdout();
  EXPECT_EQ(app::audit(options), 1);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("it has another seal"));
}

}  // namespace
}  // namespace sealvisor::test
