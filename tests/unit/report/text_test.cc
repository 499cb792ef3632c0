#include "vmm/report/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/report/samples.h"
#include "vmm/report/conclude.h"

namespace sealvisor::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string line_with(const std::string& text, const std::string& part) {
  for (const std::string& line : lines_of(text)) {
    if (line.find(part) != std::string::npos) return line;
  }
  return "no line has " + part;
}

TEST(ReportText, ShowsTheFourVoicesSideBySide) {
  const std::string text = render_text(conclude({samples::sealed_run()}, {}, {}));
  const std::string row = line_with(text, "munmap/whole,first-page");
  EXPECT_THAT(row,
              testing::MatchesRegex(" *.vdso. +2 +munmap/whole,first-page +EPERM, sl +unchanged +"
                                    "EPERM, unchanged +held"));
  EXPECT_THAT(text, Not(HasSubstr("FINDINGS")));
  EXPECT_THAT(text, HasSubstr("== x86_64 lts-sealed: engine tcg, exact lane, kernel 6.12.117-"));
  EXPECT_THAT(text, HasSubstr("101,234 table writes seen"));
  EXPECT_THAT(text, HasSubstr("0 mismatches"));
  EXPECT_THAT(line_with(text, "skipped [vvar_vclock]"), HasSubstr("no such mapping"));
  EXPECT_THAT(line_with(text, "life/fork"), HasSubstr("0 violations"));
}

TEST(ReportText, ShowsWhatWasTamperedWith) {
  report::Run run = samples::sealed_run();
  EXPECT_THAT(render_text(conclude({run}, {}, {})), Not(HasSubstr("tampering")));
  run.campaign = samples::campaign();
  const report::Report report = conclude({run}, {}, {});
  const std::string text = render_text(report, {.width = 1000});
  EXPECT_THAT(
      line_with(text, "undone at once"),
      testing::MatchesRegex(" +tampering +user mode +kernel +/dev/mem +undone at once +not as "
                            "it is"));
  EXPECT_THAT(line_with(text, "write-bit"), testing::MatchesRegex(" +write-bit +5 +2 +4 +2 +1"));
  EXPECT_THAT(line_with(text, "same-value"), testing::MatchesRegex(" +same-value +1 +0 +0 +0 +0"));
  EXPECT_THAT(line_with(text, "  campaign "),
              HasSubstr("seed 5: 12 of 12 tamperings made, 3 of them to another process; of 9 that "
                        "user mode can see 8 were reported, of 2 that were undone at once 2 were "
                        "recorded, 1 were harmless; 0 false alarms; store instructions used: 6 of "
                        "117 by user mode, 4 of 116 by the kernel"));
  EXPECT_THAT(
      run.good ? "" : report.conclusion,
      HasSubstr("x86_64 lts-sealed: 12 tamperings: 8 of 9 reported, 2 of 2 recorded, 0 false "
                "alarms"));
}

TEST(ReportText, WhatALaneDoesNotSeeIsNotCountedAsMissed) {
  report::Run run = samples::sealed_run();
  run.campaign = samples::campaign();
  run.lane = "audited";
  const std::string text = render_text(conclude({run}, {}, {}), {.width = 1000});
  EXPECT_THAT(line_with(text, "  campaign "),
              HasSubstr("8 were reported, 2 were undone at once, which this lane does not see, 1 "
                        "were harmless"));
  EXPECT_THAT(text, HasSubstr("8 of 9 reported, 2 undone at once, which this lane does not see, 0 "
                              "false alarms"));
  EXPECT_THAT(line_with(text, "  campaign "), Not(HasSubstr("recorded")));
}

TEST(ReportText, SaysWhatTheStartCost) {
  report::Run run = samples::sealed_run();
  const auto start = [&] {
    return line_with(render_text(conclude({run}, {}, {}), {.width = 120}), "  start ");
  };
  EXPECT_EQ(start(),
            "  start     4.2 ms of the VMM's CPU to the first instruction; 1,021 exits to init; "
            "1,234,567 instructions to init; VMM:");
  run.start = {std::nullopt, std::nullopt, std::nullopt};
  EXPECT_EQ(start(), "  start     VMM: 5.5 MiB beside guest memory");
  run.resident_bytes.reset();
  EXPECT_THAT(start(), HasSubstr("no line has"));
}

TEST(ReportText, SaysWhatALaneOfKvmPromisesBesideItsMechanism) {
  report::Run run = samples::sealed_run(arch::Arch::Arm64);
  const auto text = [&] { return render_text(conclude({run}, {}, {}), {.width = 400}); };
  EXPECT_THAT(text(), Not(HasSubstr("  promise "))) << "of tcg the lane says it all";
  run.engine = "kvm";
  run.mechanism = "traps at 5 returns";
  EXPECT_THAT(line_with(text(), "  promise "), HasSubstr("every write to a followed table"));
  EXPECT_THAT(text(), Not(HasSubstr("Never run")));
  run.lane = "audited";
  EXPECT_THAT(line_with(text(), "  promise "), HasSubstr("through those returns is judged first"));
  run.arch = arch::Arch::X86_64;
  EXPECT_THAT(text(), Not(HasSubstr("Never run")));
  run.lane = "exact";
  EXPECT_THAT(line_with(text(), "  promise "), HasSubstr("Never run on hardware, nor in an"));
}

TEST(ReportText, FormsThatCameOutDifferentlyKeepTheirRows) {
  report::Run run = samples::sealed_run();
  run.cells[1] = samples::violated("[vdso]", "munmap", "first-page");
  const std::string text = render_text(conclude({run}, {}, {}));
  EXPECT_THAT(line_with(text, "munmap/whole "), HasSubstr("held"));
  EXPECT_THAT(line_with(text, " munmap/first-page "), HasSubstr("violation"));
}

TEST(ReportText, MappingsStayTogetherAndDetailsGoToTheWrites) {
  report::Run run = samples::unsealed_run();
  run.cells = {samples::changed("[vdso]", "mprotect-r", "whole"),
               samples::changed("[vvar]", "mprotect-r", "whole"),
               samples::changed("[vdso]", "munmap", "whole"),
               samples::held("[vdso]", "mprotect-r", "last-page")};
  run.cells[0].observation.change = Change::Replaced;
  run.cells[0].observation.text = "replaced (frame 0x1 -> 0x2), 1 of 4 pages seen";
  run.cells[2].changes.clear();
  const std::string text = render_text(conclude({run}, {}, {}));
  EXPECT_LT(text.find("mprotect-r/whole"), text.find("munmap/whole"));
  EXPECT_LT(text.find("munmap/whole"), text.find("mprotect-r/last-page"));
  EXPECT_LT(text.find("mprotect-r/last-page"), text.find("[vvar]        1  mprotect-r/whole"));
  EXPECT_THAT(line_with(text, "mprotect-r/whole "), HasSubstr("  replaced, 1 of 4 pages seen  "));
  EXPECT_THAT(text, HasSubstr("[vdso] mprotect-r/whole: replaced (frame 0x1 -> 0x2), 1 of 4"));
  EXPECT_THAT(text, HasSubstr("[vdso] munmap/whole: gone, 0 entry writes"));
}

/// Rows of the cell table, without its titles.
std::vector<std::string> table_rows(const std::string& text) {
  const std::vector<std::string> lines = lines_of(text);
  auto row = lines.begin();
  while (row != lines.end() && row->find("operation/form") == std::string::npos) ++row;
  if (row != lines.end()) ++row;
  std::vector<std::string> rows;
  for (; row != lines.end() && !row->starts_with("  counts") && !row->starts_with("  skipped") &&
         !row->starts_with("  who");
       ++row) {
    rows.push_back(*row);
  }
  return rows;
}

TEST(ReportText, CellsOfAMappingThatCameOutAlikeAreOneRowWhateverWasDone) {
  report::Run run = samples::sealed_run();
  run.lives.clear();
  run.cells.clear();
  for (const char* operation : {"munmap", "mprotect-r", "mmap-fixed", "mprotect-rw"}) {
    for (const char* form : {"whole", "first-page"}) {
      run.cells.push_back(samples::held("[vdso]", operation, form));
    }
  }
  run.cells.push_back(samples::held("[vdso]", "mremap-shrink", "last-page"));
  const std::string text = render_text(conclude({run}, {}, {}), {.width = 200});
  const std::vector<std::string> rows = table_rows(text);
  ASSERT_THAT(rows, testing::SizeIs(2)) << text;
  EXPECT_EQ(rows[0],
            "  [vdso]       9  munmap,mprotect-{r,rw},mmap-fixed/whole,      EPERM, sl  unchanged "
            "             EPERM, unchanged  held")
      << text;
  EXPECT_EQ(rows[1], "                  first-page; mremap-shrink/last-page") << text;
}

TEST(ReportText, OperationsOfAFamilyStandTogetherWhereTheFirstOfThemStands) {
  report::Run run = samples::sealed_run();
  run.lives.clear();
  run.cells.clear();
  for (const char* operation : {"madvise-cold", "munmap", "madvise-free", "uffd-wp"}) {
    run.cells.push_back(samples::held("[vdso]", operation, "whole"));
  }
  const std::string text = render_text(conclude({run}, {}, {}), {.width = 200});
  EXPECT_THAT(text, HasSubstr(" madvise-{cold,free},munmap,uffd-wp/whole "));
}

TEST(ReportText, OneDifferenceKeepsARowApart) {
  struct Case {
    const char* name;
    std::function<void(Cell&)> differ;
  };
  const std::vector<Case> cases = {
      {"mapping", [](Cell& cell) { cell.mapping = "[vvar]"; }},
      {"answer", [](Cell& cell) { cell.claim.text = "EACCES"; }},
      {"sl", [](Cell& cell) { cell.claim.sealed = false; }},
      {"change", [](Cell& cell) { cell.observation.change = Change::Moved; }},
      {"expectation", [](Cell& cell) { cell.expectation->errnos = {EACCES}; }},
      {"verdict", [](Cell& cell) { cell.verdict = Verdict::Violation; }},
      {"lie", [](Cell& cell) { cell.lie = true; }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    report::Run run = samples::sealed_run();
    run.lives.clear();
    run.cells = {samples::held("[vdso]", "munmap", "whole"),
                 samples::held("[vdso]", "mremap-move", "whole")};
    EXPECT_THAT(table_rows(render_text(conclude({run}, {}, {}))), testing::SizeIs(1));
    one.differ(run.cells[1]);
    EXPECT_THAT(table_rows(render_text(conclude({run}, {}, {}))), testing::SizeIs(2));
  }
}

TEST(ReportText, ARowSaysWhatItsCellsHaveInCommonOfTheObservation) {
  report::Run run = samples::unsealed_run();
  run.cells = {samples::changed("[vdso]", "mprotect-w", "whole"),
               samples::changed("[vdso]", "mprotect-rw", "whole")};
  run.cells[0].observation = {Change::Replaced, {2, 2, 0, 0, 2}, "replaced (frame 0x1 -> 0x2)"};
  run.cells[1].observation = {Change::Replaced, {2, 2, 0, 0, 2}, "replaced (frame 0x1 -> 0x3)"};
  const auto row = [&] {
    return line_with(render_text(conclude({run}, {}, {})), "mprotect-{w,rw}/whole");
  };
  EXPECT_THAT(row(), HasSubstr("  replaced  "));
  run.cells[0].observation.text = run.cells[1].observation.text = "replaced, 1 of 2 pages seen";
  EXPECT_THAT(row(), HasSubstr("  replaced, 1 of 2 pages seen  "));
}

TEST(ReportText, NamesTheWriterOfEachChange) {
  report::Run run = samples::unsealed_run();
  run.cells[0].changes.assign(5, samples::entry_change());
  run.cells[0].changes[0].transient = true;
  run.cells[0].changes_left_out = 10;
  const std::string text = render_text(conclude({run}, {}, {}));
  EXPECT_THAT(line_with(text, "entry writes"), HasSubstr("15 entry writes (13 more)"));
  EXPECT_THAT(text, HasSubstr("0x7ffff7fc1000 level 1 at 0x1f2a608: 0x80000000023a1025 -> 0x0"));
  EXPECT_THAT(text, HasSubstr("zap_present_ptes+0x1a2: xchg qword ptr [rbx], rax"));
  EXPECT_THAT(text, HasSubstr("P R US A NX key 0 gpa 0x23a1000 -> absent"));
  EXPECT_THAT(text, Not(HasSubstr("(transient)"))) << "what lasted comes first";
}

TEST(ReportText, PutsNewFindingsFirstAndCountsDocumentedLies) {
  report::Run run = samples::sealed_run();
  run.findings = {{"x86_64/lts-sealed/[vdso]/munmap/whole/S1", "S1", "it is gone", false, ""}};
  const std::string text = render_text(conclude({samples::lying_run(), run}, {}, {}));
  EXPECT_THAT(text, HasSubstr("FINDINGS\n  NEW   x86_64/lts-sealed/[vdso]/munmap/whole/S1\n"));
  EXPECT_THAT(text, HasSubstr("control   3 findings, all where this recipe"));
  EXPECT_THAT(line_with(text, "lying/"), HasSubstr("no line has")) << "lies are not listed";
  EXPECT_THAT(text, HasSubstr("violation (lie)"));
}

TEST(ReportText, GoesFromTablesToTheConclusionInOneLine) {
  report::Run run = samples::sealed_run();
  run.findings = {{"x86_64/lts-sealed/[vdso]/munmap/whole/S1", "S1", "it is gone", false, ""}};
  const NotRun missing{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "kernel is not built", 0}};
  const Report report = conclude({run, samples::unsealed_run()}, {missing}, {});
  const std::string text = render_text(report, {false, 100, 2});
  std::size_t last = 0;
  EXPECT_TRUE(text.starts_with("FINDINGS\n  NEW ")) << "what was found leads";
  for (const char* part : {"== x86_64 lts-sealed", "operation/form", "\n  counts ", "\n  outcome ",
                           "== x86_64 lts-unsealed", "\n  counts ", "== arm64 lying: did not run",
                           "\nwhat these runs cannot see\n", "\nthreat model: "}) {
    const std::size_t found = text.find(part, last);
    ASSERT_NE(found, std::string::npos) << part << " is not behind what must come before it:\n"
                                        << text;
    last = found;
  }
  EXPECT_GT(report.conclusion.size(), 100U) << "else a line that is broken would not show";
  EXPECT_TRUE(text.ends_with("\n" + report.conclusion + "\n")) << text;
}

TEST(ReportText, AnInterruptedRunIsNotCalledAFailedGuest) {
  report::Run run = samples::failed_run();
  run.ending = {false, "interrupted: signal 15 (Terminated)", "", true};
  const std::string text = render_text(conclude({run}, {}, {}));
  EXPECT_THAT(text, HasSubstr("\n  interrupted: signal 15 (Terminated)\n"));
  EXPECT_THAT(text, Not(HasSubstr("the guest failed")));
}

TEST(ReportText, SaysABlindSpotOnceAndForWhom) {
  const std::string text = render_text(
      conclude({samples::sealed_run(), samples::sealed_run(arch::Arch::Arm64)}, {}, {}));
  const std::size_t first = text.find("stale TLB entries and DMA: out of scope");
  EXPECT_EQ(text.find("stale TLB entries and DMA: out of scope", first + 1), std::string::npos);
  EXPECT_THAT(text, HasSubstr("  - arm64: arm64 has a blind spot of its own"));
}

TEST(ReportText, AFailedGuestCannotWriteToTheTerminal) {
  const std::string text = render_text(conclude({samples::failed_run()}, {}, {}));
  EXPECT_THAT(text, HasSubstr("the guest failed: kernel panic"));
  EXPECT_THAT(text, HasSubstr("    | line one\n    | Kernel panic - not syncing\\x1b[31m\\xff\n"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(ReportText, NamesWhatDidNotRun) {
  const std::string text = render_text(conclude(
      {}, {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "kernel is not built", 0}}}, {}));
  EXPECT_THAT(text, HasSubstr("== arm64 lying: did not run: kernel is not built"));
}

TEST(ReportText, FitsItsWidth) {
  report::Run run = samples::unsealed_run();
  for (const char* form : {"first-page", "last-page", "neighbour"}) {
    run.cells.push_back(samples::changed("[vdso]", "munmap", form));
  }
  run.cells.push_back(samples::changed("[vvar_vclock]", "mremap-grow-move", "whole"));
  run.cells.back().observation.text =
      "permission-changed (frame 0x123456789000 -> 0x123456789abc), 1 of 4 pages seen";
  run.cells.back().expectation->errnos = {1, 13, 22, 14};
  run.findings = {{std::string(60, 'i') + "/S1", "S1", std::string(400, 't'), false, ""}};
  for (const std::size_t width : {std::size_t{100}, std::size_t{120}}) {
    std::vector<std::string> lines =
        lines_of(render_text(conclude({run, samples::lying_run()}, {}, {}), {false, width, 2}));
    ASSERT_THAT(lines.back(), HasSubstr("AS EXPECTED: ")) << "the conclusion: as long as it is";
    lines.pop_back();
    for (const std::string& line : lines) {
      EXPECT_LE(line.size(), width) << line;
      EXPECT_TRUE(line.empty() || line.back() != ' ') << "'" << line << "'";
    }
  }
}

TEST(ReportText, ColoursOnlyWhenAsked) {
  const Report report = conclude({samples::sealed_run(), samples::failed_run()}, {}, {});
  EXPECT_EQ(render_text(report).find('\x1b'), std::string::npos);
  EXPECT_THAT(render_text(report, {true, 120, 2}), HasSubstr("\x1b[32mheld\x1b[0m"));
}

}  // namespace
}  // namespace sealvisor::report
