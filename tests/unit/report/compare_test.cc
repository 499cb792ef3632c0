#include "vmm/report/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/report/samples.h"
#include "vmm/report/conclude.h"
#include "vmm/report/json.h"

namespace sealvisor::report {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Report report_of(report::Run run) { return conclude({std::move(run)}, {}, {}); }

/// All differences, a line each.
std::string differences(const Report& recorded, const Report& computed, bool told = true) {
  const auto comparison = compare(render_json(recorded), computed, told);
  if (!comparison) return comparison.error().message;
  std::string text;
  for (const Difference& one : comparison.value().differences) {
    text += one.what + ": " + one.recorded + " / " + one.computed + "\n";
  }
  return text;
}

TEST(CompareReports, FindsNothingInTheSame) {
  for (const report::Run& run : {samples::sealed_run(), samples::unsealed_run(),
                                 samples::lying_run(), samples::failed_run()}) {
    EXPECT_EQ(differences(report_of(run), report_of(run)), "");
  }
  const auto comparison = compare(render_json(report_of(samples::sealed_run())),
                                  report_of(samples::sealed_run()), true);
  ASSERT_TRUE(comparison.ok());
  EXPECT_EQ(comparison.value().cells, samples::sealed_run().cells.size());
}

TEST(CompareReports, LeavesOutWhatTheHostMeasured) {
  report::Run other = samples::sealed_run();
  other.seconds += 1;
  other.cpu_seconds += 1;
  other.start_to_init += 1;
  other.start.cpu_ms = 12;
  other.resident_bytes = 1234;
  other.kernel_path = "/elsewhere/vmlinux";
  other.costs.push_back({"exits", 1, 2});
  EXPECT_EQ(differences(report_of(samples::sealed_run()), report_of(other)), "");
}

TEST(CompareReports, InstructionsToInitAreTheTracesUnderTcgOnly) {
  report::Run run = samples::sealed_run();
  run.start.instructions = 1000;
  report::Run other = run;
  other.start.instructions = 2000;
  run.engine = other.engine = "tcg";
  EXPECT_THAT(differences(report_of(run), report_of(other)),
              HasSubstr("instructions_to_init: 1000 / 2000\n"));
  run.engine = other.engine = "kvm";
  EXPECT_EQ(differences(report_of(run), report_of(other)), "");
}

TEST(CompareReports, NamesTheCellAndWhatOfItDiffers) {
  report::Run other = samples::sealed_run();
  const Cell& cell = other.cells.front();
  const std::string name =
      "x86_64 lts-sealed: " + cell.mapping + " " + cell.operation + "/" + cell.form;
  other.cells.front().verdict = Verdict::Violation;
  const std::string found = differences(report_of(samples::sealed_run()), report_of(other));
  EXPECT_THAT(found, HasSubstr(name + ": verdict: held / violation\n"));
  EXPECT_THAT(found, HasSubstr("exit_code: 0 / 1\n")) << "and what follows from it";
}

TEST(CompareReports, NamesWhatIsThereOnceOnly) {
  report::Run other = samples::sealed_run();
  other.cells.pop_back();
  EXPECT_THAT(differences(report_of(samples::sealed_run()), report_of(other)),
              HasSubstr(" / nothing\n"));
  EXPECT_THAT(differences(report_of(other), report_of(samples::sealed_run())),
              HasSubstr(": nothing / "));
}

TEST(CompareReports, ACountIsAVerdictToo) {
  report::Run other = samples::sealed_run();
  ++other.counts.rewalks;
  EXPECT_THAT(differences(report_of(samples::sealed_run()), report_of(other)),
              HasSubstr("x86_64 lts-sealed: counts: rewalks: "));
}

TEST(CompareReports, InstructionsAreToldByTheSameDisassemblerOnly) {
  report::Run run = samples::unsealed_run();
  Cell* changed = nullptr;
  for (Cell& cell : run.cells) {
    if (!cell.changes.empty()) changed = &cell;
  }
  ASSERT_NE(changed, nullptr);
  const Report recorded = report_of(run);
  changed->changes.front().instruction = "told otherwise";
  EXPECT_THAT(differences(recorded, report_of(run)), HasSubstr("instruction"));
  EXPECT_EQ(differences(recorded, report_of(run), false), "");
}

TEST(CompareReports, ListingsAreToldByTheSameDisassemblerOnly) {
  report::Run run = samples::unsealed_run();
  ASSERT_FALSE(run.writers.empty());
  const Report recorded = report_of(run);
  run.writers.front().lines.front().text = "told otherwise";
  EXPECT_THAT(differences(recorded, report_of(run)), HasSubstr("told otherwise"));
  EXPECT_EQ(differences(recorded, report_of(run), false), "");
}

TEST(CompareReports, CodeOfTheSymbolsFileIsTheHostsOwn) {
  // What the run was told once the guest had ended; the trace knows nothing of it.
  report::Run told = samples::unsealed_run();
  for (Writer& writer : told.writers) writer.source = CodeSource::Vmlinux;
  report::Run computed = told;
  for (Writer& writer : computed.writers) {
    writer.source = CodeSource::None;
    writer.lines.clear();
  }
  const auto each_change = [](report::Run& run, const auto& act) {
    for (Cell& cell : run.cells) {
      for (EntryChange& change : cell.changes) act(change);
    }
    for (Process& process : run.processes) {
      for (Moment& moment : process.timeline) {
        if (moment.write) act(*moment.write);
      }
    }
  };
  each_change(computed, [](EntryChange& change) { change.instruction.clear(); });
  EXPECT_EQ(differences(report_of(told), report_of(computed)), "");
  // Nothing else of these writes is left out.
  each_change(computed, [](EntryChange& change) { ++change.new_value; });
  EXPECT_THAT(differences(report_of(told), report_of(computed)), HasSubstr("new: "));
  for (Writer& writer : told.writers) writer.source = CodeSource::Memory;
  EXPECT_THAT(differences(report_of(told), report_of(computed)),
              HasSubstr("source: memory / none"));
}

TEST(CompareReports, ATimelineIsComputedToo) {
  report::Run other = samples::unsealed_run();
  other.processes.back().timeline.front().icount += 1;
  EXPECT_THAT(differences(report_of(samples::unsealed_run()), report_of(other)),
              HasSubstr("x86_64 lts-unsealed: "));
}

TEST(CompareReports, RefusesWhatIsNoReport) {
  for (const char* text : {"", "no JSON", "[]", "{}", R"({"schema": "sealvisor-report-1"})",
                           R"({"schema": "sealvisor-report-1", "runs": {}, "not_run": []})"}) {
    EXPECT_FALSE(compare(text, {}, true).ok()) << text;
    EXPECT_FALSE(not_run_of(text).ok()) << text;
  }
}

TEST(CompareReports, GivesBackWhatCouldNotRun) {
  const Report report =
      conclude({}, {{arch::Arch::Arm64, "lts-sealed", {ExitCode::HostLacks, "not built"}}}, {});
  const auto not_run = not_run_of(render_json(report));
  ASSERT_TRUE(not_run.ok()) << not_run.error().message;
  ASSERT_EQ(not_run.value().size(), 1U);
  EXPECT_EQ(not_run.value()[0].arch, arch::Arch::Arm64);
  EXPECT_EQ(not_run.value()[0].error.code, ExitCode::HostLacks);
  EXPECT_EQ(differences(report, conclude({}, not_run.value(), {})), "");
}

}  // namespace
}  // namespace sealvisor::report
