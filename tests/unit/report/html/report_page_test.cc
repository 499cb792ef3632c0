// What the page says. What a browser makes of it is tests/browser.
#include "vmm/report/html/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/unit/report/samples.h"
#include "vmm/report/conclude.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/layout.h"

namespace sealvisor::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t times = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++times;
  }
  return times;
}

TEST(ReportPage, StandsAlone) {
  const std::string page = render_html(conclude({samples::sealed_run()}, {}, {}));
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>\n<html lang=\"en\">"));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_EQ(count(page, "http"), count(page, "http-equiv"));
  EXPECT_EQ(count(page, "src="), 0U);
  EXPECT_EQ(count(page, "<h1>"), 1U);
}

TEST(ReportPage, SaysWhatItConcludes) {
  const Report good = conclude({samples::sealed_run()}, {}, {});
  EXPECT_THAT(render_html(good), HasSubstr("<p class=\"conclusion\">" + good.conclusion + "</p>"));
  const Report bad = conclude({samples::failed_run()}, {}, {});
  EXPECT_THAT(render_html(bad), HasSubstr("<p class=\"conclusion failed\">NOT AS EXPECTED"));
  EXPECT_THAT(render_html(bad), HasSubstr("the guest failed: kernel panic"));
  EXPECT_THAT(render_html(bad), HasSubstr("Kernel panic - not syncing\xEF\xBF\xBD[31m"));
}

TEST(ReportPage, HasAllThreeVoicesAndTheSourceOfAnExpectation) {
  const std::string page = render_html(conclude({samples::sealed_run()}, {}, {}));
  EXPECT_THAT(page, HasSubstr("<td>EPERM, sl</td><td><span class=\"wrap\">unchanged</span></td>"
                              "<td><span class=\"wrap\">EPERM, unchanged<br><span class=\"note\">"
                              "mm/vma.c: can_modify_vma</span></span></td>"));
}

TEST(ReportPage, WhatWasForcedIsAClassOfItsOwn) {
  report::Run run = samples::sealed_run();
  run.cells.push_back(samples::forced("[vdso]", "ptrace-poke", "whole"));
  const std::string page = render_html(conclude({run}, {}, {}));
  EXPECT_THAT(page, HasSubstr("<tr data-state=\"exception\">"));
  EXPECT_THAT(page, HasSubstr("class=\"other\">forced</a>"));
  EXPECT_THAT(page, HasSubstr("<br><span class=\"note\">broke S2 S5</span>"));
}

TEST(ReportPage, ProcessesThatAreNotListedAreCounted) {
  const std::string page = render_html(conclude({samples::sealed_run()}, {}, {}));
  EXPECT_THAT(page, HasSubstr("The system mappings of 0 processes changed between installation and "
                              "exit; of 1,236 they did not."));
  EXPECT_THAT(page, HasSubstr("(2 listed, 1,234 only counted)"));
  const std::string lying = render_html(conclude({samples::lying_run()}, {}, {}));
  EXPECT_THAT(lying, HasSubstr("of 4 processes changed"));
  EXPECT_THAT(lying, HasSubstr("3 of those that changed are not listed"));
}

TEST(ReportPage, TimelinesOfAllRunsTogetherAreBoundedAndThePageSaysSo) {
  // A process with all that one may have, as often as would fill more than a page.
  report::Run many = samples::unsealed_run();
  Process process = many.processes[1];
  const std::size_t before = process.timeline.size();
  process.timeline.resize(kMostMoments, process.timeline[2]);
  const auto life = static_cast<std::size_t>(
      std::count_if(process.timeline.begin(), process.timeline.end(),
                    [](const Moment& one) { return one.phase == Phase::Life; }));
  ASSERT_EQ(life, kMostMoments - before + 5);
  many.processes.clear();
  constexpr std::size_t kMany = kMostMomentsOfPage / kMostMoments + 2;
  for (std::size_t i = 0; i < kMany; ++i) {
    process.id = i + 1;
    many.processes.push_back(process);
  }
  const report::Run few = samples::unsealed_run(arch::Arch::Arm64);
  std::size_t all = kMany * kMostMoments;
  for (const Process& one : few.processes) all += one.timeline.size();
  const std::string page = render_html(conclude({many, few}, {}, {}));
  const auto listed = [&](const std::string& kind) { return count(page, "<li class=\"" + kind); };
  EXPECT_EQ(listed("written") + listed("seen") + listed("elsewhere") + listed("broken") +
                listed("populated") + listed("found") + listed("ended"),
            kMostMomentsOfPage);
  EXPECT_THAT(page, HasSubstr(fmt::format(" {} moments are left out of their timelines",
                                          grouped(all - kMostMomentsOfPage))));
  EXPECT_EQ(count(page, "are left out of their timelines"), 1U) << "the other one is whole";
  EXPECT_THAT(page, HasSubstr("Left out of this page, not of the JSON report: 4 moments"))
      << "how the first began and ended";
}

TEST(ReportPage, ARunWithoutTimelinesHasNone) {
  report::Run run = samples::sealed_run();
  run.processes.clear();
  run.processes_left_out = {};
  run.writers.clear();
  const std::string page = render_html(conclude({run}, {}, {}));
  EXPECT_THAT(page, Not(HasSubstr("Timelines")));
  EXPECT_THAT(page, Not(HasSubstr("Code that wrote")));
}

TEST(ReportPage, AWriterWithoutCodeIsNoLink) {
  report::Run run = samples::unsealed_run();
  run.writers[0].lines.clear();
  run.writers[0].source = CodeSource::None;
  const std::string page = render_html(conclude({run}, {}, {}));
  EXPECT_THAT(page, HasSubstr("by zap_present_ptes+0x1a2: <code>"));
  EXPECT_THAT(page, Not(HasSubstr("class=\"writer\"")));
}

TEST(ReportPage, AFindingIsSaidInWordsToo) {
  report::Run run = samples::sealed_run();
  run.cells[2] = samples::unobserved("[vvar]", "munmap", "whole");
  run.findings = {
      {"x86_64/lts-sealed/[vdso]/munmap/whole/monitor", "monitor", "text", false, ""},
      {"x86_64/lts-sealed/life/fork/monitor", "monitor", "text", false, ""},
  };
  const auto words = [&](const std::vector<KnownFinding>& known) {
    const Report report = conclude({run}, {}, known);
    const report::Run& of = report.runs[0];
    std::vector<std::string> all;
    for (const Cell& cell : of.cells) all.push_back(html::verdict_words(of, cell));
    for (const Life& life : of.lives) all.push_back(html::outcome_words(of, life));
    return all;
  };
  EXPECT_THAT(words({}), ElementsAre("held, new finding", "held", "unobserved, new finding", "held",
                                     "skipped", "0 violations, new finding", "0 violations"));
  EXPECT_THAT(words({{"x86_64/lts-sealed/*", "reason", "6.12", "6.12", "2026-01-31"}}),
              ElementsAre("held, known finding", "held", "unobserved, known finding", "held",
                          "skipped", "0 violations, known finding", "0 violations"));
}

// --- how things stand with a cell ---

html::State state_of(report::Run run, std::size_t cell,
                     const std::vector<KnownFinding>& known = {}) {
  const Report report = conclude({std::move(run)}, {}, known);
  return html::state_of(report.runs[0], report.runs[0].cells[cell]);
}

TEST(ReportPage, StatesAreThoseOfTheConclusion) {
  using html::State;
  const std::vector<KnownFinding> known = {
      {"x86_64/lts-sealed/[vvar]*", "reason", "6.12", "6.12", "2026-01-31"}};
  report::Run run = samples::sealed_run();
  EXPECT_EQ(state_of(run, 0), State::Good);
  EXPECT_EQ(state_of(run, 4), State::Skipped);
  run.cells[2] = samples::violated("[vvar]", "munmap", "whole");
  EXPECT_EQ(state_of(run, 2), State::Finding);
  EXPECT_EQ(state_of(run, 2, known), State::Open);
  run.cells[2] = samples::unobserved("[vvar]", "munmap", "whole");
  EXPECT_EQ(state_of(run, 2), State::Finding);
  EXPECT_EQ(state_of(run, 2, known), State::Open);
  run.cells[2].observation.text = kNotReached;
  run.ending.good = false;
  EXPECT_EQ(state_of(run, 2), State::Open) << "the guest's end is the finding";
  EXPECT_EQ(state_of(samples::lying_run(), 0), State::Lie);
  report::Run forced = samples::sealed_run();
  forced.cells[0] = samples::forced("[vdso]", "ptrace-poke", "whole");
  EXPECT_EQ(state_of(forced, 0), State::Exception);
  forced.cells[0].verdict = Verdict::ByDesign;
  EXPECT_EQ(state_of(forced, 0), State::Exception);
  report::Run missed = samples::lying_run();
  missed.cells[1].lie = true;
  EXPECT_EQ(state_of(missed, 1), State::Finding) << "a lie that was not caught";
}

TEST(ReportPage, ALifeIsGoodOnlyIfNothingIsWrong) {
  using html::State;
  report::Run run = samples::sealed_run();
  EXPECT_EQ(html::state_of(run, run.lives[0]), State::Good);
  for (const auto& spoil : std::vector<std::function<void(Life&)>>{
           [](Life& life) { life.violations = 1; }, [](Life& life) { life.status = 12; },
           [](Life& life) { life.complete = false; }}) {
    Life life = run.lives[0];
    spoil(life);
    EXPECT_EQ(html::state_of(run, life), State::Finding);
  }
  run.findings = {{"x86_64/lts-sealed/life/fork/[vdso]/S2", "S2", "frame", false, ""}};
  EXPECT_EQ(html::state_of(run, run.lives[0]), State::Finding);
  run.findings[0].known = true;
  EXPECT_EQ(html::state_of(run, run.lives[0]), State::Open);
}

TEST(ReportPage, HasTheProgramsOfTheUsers) {
  report::Run run = samples::run_of(samples::program());
  run.processes = {samples::quiet_process(9, "program tool")};
  run.findings = {{"x86_64/lts-sealed/program/tool/[vdso]/S1", "S1", "[vdso] is gone", false, ""}};
  const std::string page = render_html(conclude({run}, {}, {}));
  EXPECT_THAT(page, HasSubstr("<title>sealvisor observe: not as expected</title>"));
  EXPECT_THAT(page, HasSubstr("<h4 id=\"r1-u1\">tool: <span class=\"bad\">killed by SIGSEGV, 1 "
                              "mapping changed, new finding</span></h4>"));
  // A finding leads to its program, the program to the timeline of its address space.
  EXPECT_THAT(page, HasSubstr("<a href=\"#r1-u1\">x86_64/lts-sealed/program/tool/[vdso]/S1</a>"));
  EXPECT_THAT(page, HasSubstr("<a href=\"#r1-p9\">process 9</a>"));
  EXPECT_THAT(page, HasSubstr("id=\"r1-p9\""));
  EXPECT_THAT(page, HasSubstr("gone (2 of 2 pages)"));
  EXPECT_THAT(page, HasSubstr("S1 of [vdso] in /tool: is gone"));
  EXPECT_THAT(page, HasSubstr("/tool --word"));
  EXPECT_THAT(page, HasSubstr("<pre>binary \xEF\xBF\xBD and text\n</pre>"));
}

TEST(ReportPage, AProgramThatFailedByItselfIsNoBrokenSeal) {
  const Report report = conclude({samples::run_of(samples::program())}, {}, {});
  ASSERT_EQ(report.exit_code, ExitCode::ProgramFailed);
  const std::string page = render_html(report);
  EXPECT_THAT(page, HasSubstr("<title>sealvisor observe: a program failed</title>"));
  EXPECT_THAT(page, Not(HasSubstr("new finding</span>")));
}

TEST(ReportPage, AHostileProgramStaysInItsPlaceAndIsBounded) {
  Program program = samples::program();
  program.name = "<b>\"";
  program.command = {"/<script>", "\x1b[31m", "a\nb"};
  program.output = "</pre><script>\xE2\x80\xAE\xff\n" + std::string(1'000'000, '<');
  program.errors = "</details>";
  program.spaces[0].image = "<i>";
  program.spaces[0].mappings[0].name = "<u>";
  program.spaces[0].violations[0].text = "<s>";
  program.processes[0].image = "<em>";
  program.spaces.resize(1);
  for (std::uint64_t id = 10; id < 2000; ++id) {
    program.spaces.push_back(program.spaces[0]);
    program.spaces.back().id = id;
  }
  const std::string page = render_html(conclude({samples::run_of(program)}, {}, {}));
  for (const char* markup :
       {"<b>", "<script>\xE2", "</pre><script", "<i>", "<u>", "<s>", "<em>&"}) {
    EXPECT_THAT(page, Not(HasSubstr(markup))) << markup;
  }
  EXPECT_THAT(page, HasSubstr("/&lt;script&gt; \xEF\xBF\xBD[31m a b"));
  EXPECT_THAT(page, HasSubstr("&lt;/details&gt;"));
  EXPECT_THAT(page, HasSubstr("Left out of this page, not of the JSON report: 1,491 mappings"));
  EXPECT_LT(page.size(), 1'500'000U);
}

}  // namespace
}  // namespace sealvisor::report
