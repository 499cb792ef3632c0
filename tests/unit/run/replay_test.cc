// A run that was recorded gives the same report when it is given to another session.
#include "vmm/run/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"
#include "tests/unit/support/scripted_run.h"
#include "tests/unit/support/trace_edit.h"
#include "vmm/evidence/manifest.h"
#include "vmm/report/json.h"
#include "vmm/run/description.h"

namespace sealvisor::test {
namespace {

using Kernel = ScriptedRun::Kernel;
using testing::HasSubstr;

class Replay : public testing::Test {
 protected:
  void record(Kernel kernel, std::function<void(ScriptedRun&)> at_the_end = {}) {
    request_ = ScriptedRun::request(folder_.path());
    request_.timelines = timelines_;
    ScriptedRun script(request_, kernel);
    script.at_the_end = std::move(at_the_end);
    script.play(recorded_);
  }
  [[nodiscard]] std::filesystem::path file(const char* name) const {
    return request_.evidence_dir / name;
  }
  [[nodiscard]] evidence::Digest seed() const {
    return evidence::digest_of(app::Temporary::read(file(evidence::kRunName)));
  }
  Result<run::Replayed> replay(const std::function<void(run::Session&)>& prepare = {}) {
    auto request = run::parse_description(app::Temporary::read(file(evidence::kRunName)));
    EXPECT_TRUE(request.ok()) << request.error().message;
    auto names =
        evidence::RecordedSymbols::parse(app::Temporary::read(file(evidence::kSymbolsName)));
    EXPECT_TRUE(names.ok()) << names.error().message;
    auto source = evidence::FileSource::open(file(evidence::kTraceName), seed());
    EXPECT_TRUE(source.ok()) << source.error().message;
    evidence::TraceReader trace(source.value());
    return run::replay(request.value(), trace, &names.value(),
                       app::Temporary::read(file(evidence::kConsoleName)), prepare);
  }
  /// The trace, rewritten.
  void edit(const std::function<bool(event::Event&)>& how) {
    evidence::BlockSeal seal;
    const auto other = file("other");
    edit_trace(file(evidence::kTraceName), other, seed(), how, seal);
    std::filesystem::rename(other, file(evidence::kTraceName));
  }
  static std::string json(report::Run run) {
    run.kernel_path.clear();  // of the host that it ran on
    report::Report report;
    report.runs.push_back(std::move(run));
    return report::render_json(report);
  }

  app::Temporary folder_;
  run::RunRequest request_;
  report::Run recorded_;
  bool timelines_ = false;
};

TEST_F(Replay, GivesTheSameReport) {
  for (const Kernel kernel : {Kernel::Refuses, Kernel::Obeys, Kernel::Lies}) {
    record(kernel);
    const auto again = replay();
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(json(again.value().run), json(recorded_));
    EXPECT_EQ(again.value().divergence, "");
    ASSERT_EQ(recorded_.cells.size(), 1U);
    EXPECT_EQ(recorded_.cells[0].verdict,
              kernel == Kernel::Refuses ? report::Verdict::Held : report::Verdict::Violation);
    EXPECT_EQ(again.value().events, recorded_.evidence->events);
    EXPECT_EQ(recorded_.counts.mismatches, 0U);
    EXPECT_GT(recorded_.counts.rewalked_tables, 20U);
    EXPECT_TRUE(recorded_.ending.good);
  }
}

TEST_F(Replay, GivesTheSameTimelines) {
  timelines_ = true;
  for (const Kernel kernel : {Kernel::Refuses, Kernel::Obeys}) {
    record(kernel);
    ASSERT_EQ(recorded_.processes.size(), 1U);
    EXPECT_EQ(recorded_.processes[0].changed, kernel == Kernel::Obeys);
    EXPECT_EQ(recorded_.processes[0].cell, 1U);
    const auto again = replay();
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(json(again.value().run), json(recorded_));
    EXPECT_EQ(again.value().divergence, "") << "their code is read from what the trace has";
  }
}

TEST_F(Replay, NamesTheFunctionsThatStored) {
  record(Kernel::Obeys);
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  const auto& changes = again.value().run.cells[0].changes;
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].function, "zap_pte_range+0x12");
}

TEST_F(Replay, TheSameRunGivesTheSameBytes) {
  record(Kernel::Obeys);
  const std::string first = app::Temporary::read(file(evidence::kTraceName));
  record(Kernel::Obeys);
  EXPECT_EQ(app::Temporary::read(file(evidence::kTraceName)), first);
  record(Kernel::Refuses);
  EXPECT_NE(app::Temporary::read(file(evidence::kTraceName)), first);
}

TEST_F(Replay, AnEditedStoreGivesAnotherVerdictAndDoesNotFitMemory) {
  record(Kernel::Lies);
  ASSERT_EQ(recorded_.cells[0].verdict, report::Verdict::Violation);
  // The entries that were cleared, left as they were.
  edit([](event::Event& event) {
    if (event.kind == event::Kind::SlotWrite && event.new_value == 0) {
      event.new_value = event.old_value;
    }
    return true;
  });
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_NE(json(again.value().run), json(recorded_));
  EXPECT_EQ(again.value().run.cells[0].verdict, report::Verdict::Held);
  EXPECT_THAT(again.value().divergence, HasSubstr("memory is not as it was when it was read"));
}

TEST_F(Replay, AStoreThatIsLeftOutDoesNotFitMemory) {
  record(Kernel::Obeys);
  edit([](event::Event& event) {
    return event.kind != event::Kind::SlotWrite || event.new_value != 0;
  });
  const auto again = replay();
  ASSERT_FALSE(again.ok()) << "what was read behind it belongs to no step now";
  EXPECT_THAT(again.error().message, HasSubstr("memory that was read, and the run goes on"));
}

TEST_F(Replay, OtherReadsThanThoseOfTheRunAreFound) {
  record(Kernel::Refuses);
  // A root that the run did not have: the session walks other tables.
  edit([](event::Event& event) { return event.kind != event::Kind::RootLoad; });
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_THAT(again.value().divergence, HasSubstr("is asked for, which nobody had read"));
  EXPECT_NE(json(again.value().run), json(recorded_));
}

TEST_F(Replay, AnEventThatAsksForUnknownMemoryIsFound) {
  record(Kernel::Refuses);
  edit([](event::Event& event) {
    if (event.kind == event::Kind::Doorbell) event.new_value += 0x100;
    return true;
  });
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_THAT(again.value().divergence, HasSubstr("which nobody had read"));
}

TEST_F(Replay, AStoreToCodeThatNobodyToldOfShowsAtTheEnd) {
  record(Kernel::Refuses,
         [](ScriptedRun& script) { script.guest().memory.tables[FakeGuest::kVdso][5] ^= 1; });
  const auto found = std::find_if(recorded_.findings.begin(), recorded_.findings.end(),
                                  [](const report::Finding& finding) {
                                    return finding.id.find("/code/") != std::string::npos;
                                  });
  ASSERT_NE(found, recorded_.findings.end());
  EXPECT_THAT(found->text, HasSubstr("memory holds"));
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(json(again.value().run), json(recorded_));
}

TEST_F(Replay, AStoreToCodeThatWasToldIsNoDifference) {
  record(Kernel::Refuses, [](ScriptedRun& script) {
    std::uint64_t& word = script.guest().memory.tables[FakeGuest::kVdso][5];
    event::Event store{};
    store.kind = event::Kind::ContentWrite;
    store.gpa = FakeGuest::kVdso.gpa().value + 5 * 8;
    store.size = 8;
    store.parts = 1;
    store.old_value = word;
    store.new_value = word ^= 1;
    store.pc = 0xffffffff81000000;
    script.guest().emit(store);
  });
  for (const report::Finding& finding : recorded_.findings) {
    EXPECT_EQ(finding.id.find("/code/"), std::string::npos) << finding.text;
  }
  EXPECT_EQ(recorded_.counts.content_writes, 1U);
  const auto again = replay();
  ASSERT_TRUE(again.ok()) << again.error().message;
  const auto& code = again.value().code.frames().at(FakeGuest::kVdso);
  EXPECT_NE(code.first, *code.last);
  EXPECT_EQ(code.told, *code.last);
}

TEST_F(Replay, TellsWhoListens) {
  record(Kernel::Obeys);
  std::size_t events = 0;
  std::size_t changes = 0;
  const auto again = replay([&](run::Session& session) {
    session.listen([&](const event::Event&, std::span<const model::MappingChange> made) {
      ++events;
      changes += made.size();
    });
  });
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_GT(events, 20U);
  EXPECT_GE(changes, 2U);
}

}  // namespace
}  // namespace sealvisor::test
