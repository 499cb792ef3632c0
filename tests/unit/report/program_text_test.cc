#include "vmm/report/program_text.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "vmm/report/conclude.h"

namespace sealvisor::report {
namespace {

ProgramMapping mapping(const char* name, Change change, std::uint32_t seen = 2) {
  ProgramMapping made;
  made.name = name;
  made.place = 0x7ffff7fd0000;
  made.pages = 2;
  made.seen = seen;
  made.change = change;
  return made;
}

Program sample() {
  Program program;
  program.name = "tool";
  program.command = {"/bin/tool", "--word"};
  program.outcome = Program::Outcome::Exited;
  program.traced = true;
  program.output = "one\ntwo\x1b[31m\n";
  program.errors = "wrong";
  ProgramProcess process;
  process.pid = 7;
  process.image = "/bin/tool";
  process.bits = 64;
  process.status = 0;
  process.first = {{"[vdso]", 0x7ffff7fd0000, 0x7ffff7fd2000, false}};
  process.last.emplace();
  program.processes = {process};
  for (std::uint64_t id = 1; id <= 2; ++id) {
    ProgramSpace space;
    space.id = id;
    space.pids = {7};
    space.image = "/bin/tool";
    space.mappings = {mapping("[vdso]", Change::Gone), mapping("[vvar]", Change::Unchanged, 1)};
    space.mappings[0].text = "2 of 2 pages";
    space.mappings[0].changes.emplace_back().function = "unmap_page_range+0x1";
    program.spaces.push_back(space);
  }
  return program;
}

Run unsealed_run_of(Program program) {
  Run run;
  run.recipe = "lts-unsealed";
  run.ending.good = true;
  run.ending.text = "agent finished";
  run.programs.push_back(std::move(program));
  return run;
}

std::string text_of(const Program& program) { return programs_text(unsealed_run_of(program), {}); }

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(ProgramText, SaysWhatBecameOfEachMapping) {
  const std::string text = text_of(sample());
  expect_has(text, "program   tool: /bin/tool --word: exit status 0; 1 process; 2 address spaces");
  expect_has(text, "no sl, not listed at");
  expect_has(text, "gone (2 of 2 pages)");
  expect_has(text, "unchanged, 1 of 2 pages seen");
  expect_has(text, "unmap_page_range+0x1");
  expect_has(text, "out| one\n");
  expect_has(text, "out| two\\x1b[31m\n");
  expect_has(text, "err| wrong\n");
  // Two address spaces that came out alike are one row.
  EXPECT_EQ(text.find("gone (2 of 2 pages)"), text.rfind("gone (2 of 2 pages)")) << text;
}

TEST(ProgramText, SaysWhatIsNotKnown) {
  Program program = sample();
  program.traced = false;
  program.processes.clear();
  program.spaces.resize(1);
  program.spaces[0].pids.clear();
  program.spaces[0].image.clear();
  program.spaces[0].mappings = {mapping("[vdso]", Change::Unchanged)};
  program.spaces[0].mappings[0].absent = 1;
  program.output_left_out = 1234;
  const std::string text = text_of(program);
  expect_has(text, "not traced; 1 address space");
  expect_has(text, "(unknown)");
  expect_has(text, "1 page absent at the");
  expect_has(text, "1,234 bytes of output past the bound are left out");
}

TEST(ProgramText, EachEndHasItsWords) {
  Program program;
  using Outcome = Program::Outcome;
  const struct {
    Outcome outcome;
    std::int32_t value;
    const char* text;
  } rows[] = {{Outcome::Exited, 3, "exit status 3"},
              {Outcome::Killed, 9, "killed by SIGKILL"},
              {Outcome::Killed, 99, "killed by signal 99"},
              {Outcome::TooLong, 0, "ended from outside: its time was up"},
              {Outcome::NotRun, ENOENT, "could not be run: ENOENT"},
              {Outcome::NotTraced, EPERM, "could not be traced: EPERM"},
              {Outcome::CutOff, 0, "cut off: the guest ended first"}};
  for (const auto& row : rows) {
    program.outcome = row.outcome;
    program.value = row.value;
    EXPECT_EQ(outcome_text(program), row.text);
    EXPECT_FALSE(succeeded(program));
  }
  program.outcome = Outcome::Exited;
  program.value = 0;
  EXPECT_TRUE(succeeded(program));
}

TEST(ProgramText, TheConclusionCountsThem) {
  const Report report = conclude({unsealed_run_of(sample())}, {}, {});
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected) << report.conclusion;
  EXPECT_EQ(report.conclusion,
            "AS EXPECTED: 1 program observed in 2 address spaces, 2 system mappings seen to "
            "change; exact lane (tcg).");
  EXPECT_NE(report.threat_model.find("followed by ptrace"), std::string::npos);
  EXPECT_EQ(report.threat_model.find("nothing was forced"), std::string::npos);
  EXPECT_NE(report.runs[0].summary.find("1 program, 2 system mappings seen to change"),
            std::string::npos)
      << report.runs[0].summary;
  // A finding of theirs fails it as any other does.
  report::Run bad = unsealed_run_of(sample());
  bad.findings.push_back({"x86_64/k/program/tool/[vdso]/S1", "S1", "gone", false, ""});
  EXPECT_EQ(conclude({bad}, {}, {}).exit_code, ExitCode::Failed);
  EXPECT_EQ(programs_method({report::Run()}), "");
}

TEST(ProgramText, WhatWasForcedIsCountedApart) {
  Program program = sample();
  program.spaces.resize(1);
  program.spaces[0].mappings = {mapping("[vdso]", Change::Privatised),
                                mapping("[vvar]", Change::Unchanged)};
  program.spaces[0].mappings[0].text = "a copy but for 1 bytes";
  expect_has(text_of(program), "privatised (a copy but for 1 bytes)");
  EXPECT_EQ(changed_mappings(program), 1U);
  EXPECT_EQ(forced_mappings(program), 1U);
  const Report report = conclude({unsealed_run_of(program)}, {}, {});
  EXPECT_EQ(
      report.conclusion,
      "AS EXPECTED: 1 program observed in 1 address space, 1 system mapping seen to change, 1 "
      "of them by force alone (S2, S5); exact lane (tcg).");
}

TEST(ProgramText, WhatFailsByItsOwnAccountIsSaid) {
  Program program = sample();
  program.value = 9;
  const Report failed = conclude({unsealed_run_of(program)}, {}, {});
  EXPECT_EQ(failed.exit_code, ExitCode::ProgramFailed);
  EXPECT_TRUE(failed.runs[0].good);
  EXPECT_EQ(failed.conclusion,
            "PROGRAM FAILED: 1 program failed by its own account (tool: exit status 9). Apart from "
            "that: 1 program observed in 2 address spaces, 2 system mappings seen to change; exact "
            "lane (tcg).");
  // What the user's file says is held against the file, and nothing else.
  program.judged = true;
  EXPECT_EQ(conclude({unsealed_run_of(program)}, {}, {}).exit_code, ExitCode::AsExpected);
  program.judged = false;
  report::Run bad = unsealed_run_of(program);
  bad.findings.push_back({"x86_64/k/program/tool/[vdso]/S1", "S1", "gone", false, ""});
  const Report worse = conclude({bad}, {}, {});
  EXPECT_EQ(worse.exit_code, ExitCode::Failed);
  EXPECT_TRUE(worse.conclusion.starts_with("NOT AS EXPECTED: ")) << worse.conclusion;
  // One that never ran is not among those that were observed.
  program.outcome = Program::Outcome::NotRun;
  program.value = ENOENT;
  program.spaces.clear();
  EXPECT_EQ(conclude({unsealed_run_of(program)}, {}, {}).conclusion,
            "PROGRAM FAILED: 1 program failed by its own account (tool: could not be run: ENOENT); "
            "exact lane (tcg).");
}

TEST(ProgramText, WhatWasNotObservedIsNotAmongWhatDidNotChange) {
  Program program = sample();
  program.spaces.clear();
  const Report nothing = conclude({unsealed_run_of(program)}, {}, {});
  EXPECT_EQ(nothing.exit_code, ExitCode::Failed);
  ASSERT_EQ(nothing.findings.size(), 1U);
  EXPECT_EQ(nothing.findings[0].id, "x86_64/lts-unsealed/program/tool/unobserved");
  EXPECT_EQ(nothing.conclusion.find("observed in"), std::string::npos) << nothing.conclusion;
  program = sample();
  program.spaces.resize(1);
  program.spaces[0].mappings = {mapping("[vdso]", Change::Unchanged),
                                mapping("[vvar]", Change::Unobserved, 0)};
  program.spaces[0].mappings[0].absent = 1;
  program.spaces_left_out = 3;
  EXPECT_EQ(conclude({unsealed_run_of(program)}, {}, {}).conclusion,
            "AS EXPECTED: 1 program observed in 1 address space, no system mappings seen to "
            "change, 1 never populated and so not observed, 1 absent in part at the end and not "
            "touched again, 3 address spaces more only counted; exact lane (tcg).");
}

TEST(ProgramText, OneLineDoesNotFillTheReport) {
  Program program = sample();
  program.output = std::string(5000, 'x') + "\nnext\n";
  const std::string text = text_of(program);
  expect_has(text, std::string(1000, 'x') + " ... 4,000 bytes more of this line\n");
  EXPECT_EQ(text.find(std::string(1001, 'x')), std::string::npos);
  expect_has(text, "out| next\n");
}

}  // namespace
}  // namespace sealvisor::report
