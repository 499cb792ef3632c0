#include "vmm/report/junit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/report/samples.h"
#include "tests/unit/support/shell.h"
#include "vmm/report/conclude.h"

namespace sealvisor::report {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// What test cases came to, by "class name": "passed" or the name of the element in them, and the
/// message.
struct Come {
  std::string outcome = "passed";
  std::string message;
};

std::map<std::string, Come> cases_of(const Report& report) {
  std::istringstream stream(render_junit(report));
  boost::property_tree::ptree tree;
  boost::property_tree::read_xml(stream, tree);
  std::map<std::string, Come> cases;
  for (const auto& [suite_name, suite] : tree.get_child("testsuites")) {
    if (suite_name != "testsuite") continue;
    for (const auto& [name, made] : suite) {
      if (name != "testcase") continue;
      Come come;
      for (const char* outcome : {"failure", "error", "skipped"}) {
        if (made.count(outcome) == 0) continue;
        come = {outcome, made.get<std::string>(std::string(outcome) + ".<xmlattr>.message")};
      }
      cases[made.get<std::string>("<xmlattr>.classname") + " " +
            made.get<std::string>("<xmlattr>.name")] = come;
    }
  }
  return cases;
}

std::string outcome_in(const std::map<std::string, Come>& cases, const std::string& name) {
  const auto found = cases.find(name);
  return found == cases.end() ? "missing" : found->second.outcome;
}

/// Whether any test case has not passed and was not skipped.
bool any_failed(const Report& report) {
  for (const auto& [name, come] : cases_of(report)) {
    // The conclusion has the exit code by itself.
    if (name == "sealvisor conclusion") continue;
    if (come.outcome == "failure" || come.outcome == "error") return true;
  }
  return false;
}

Report with(const std::function<void(report::Run&)>& change, const std::vector<KnownFinding>& known,
            report::Run run = samples::sealed_run()) {
  change(run);
  return conclude({run}, {}, known);
}

const std::vector<KnownFinding> kKnownVvar = {
    {"x86_64/lts-sealed/[vvar]*", "a reason & <more>", "6.12", "6.12", "2026-01-31"}};

TEST(ReportJunit, WhatHeldHasPassedAndWhatDoesNotExistWasSkipped) {
  const auto cases = cases_of(conclude({samples::sealed_run(), samples::unsealed_run()}, {}, {}));
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.[vdso] munmap/whole"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.[vvar_vclock] munmap/whole"), "skipped");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.scenarios life/fork"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.watch guest"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.watch re-walks"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-unsealed.[vdso] munmap/whole"), "passed");
  EXPECT_EQ(outcome_in(cases, "sealvisor conclusion"), "passed");
  EXPECT_EQ(cases.size(), 5U + 2 + 2 + 2 + 1 + 2 + 1);
}

TEST(ReportJunit, WhatIsWrongHasNotPassed) {
  const auto of = [](const std::function<void(report::Run&)>& change) {
    return cases_of(with(change, {}));
  };
  EXPECT_EQ(outcome_in(of([](report::Run& run) {
                         run.cells[0] = samples::violated("[vdso]", "munmap", "whole");
                       }),
                       "x86_64.lts-sealed.[vdso] munmap/whole"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.cells[2].verdict = Verdict::Mismatch; }),
                       "x86_64.lts-sealed.[vvar] munmap/whole"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.lives[1].violations = 1; }),
                       "x86_64.lts-sealed.scenarios life/exec"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.lives[0].user_entries = 0; }),
                       "x86_64.lts-sealed.scenarios life/fork"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.lives[0].complete = false; }),
                       "x86_64.lts-sealed.scenarios life/fork"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.counts.mismatches = 3; }),
                       "x86_64.lts-sealed.watch re-walks"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) { run.counts.rewalks = 0; }),
                       "x86_64.lts-sealed.watch re-walks"),
            "skipped")
      << "what compared nothing has not passed";
  EXPECT_EQ(
      outcome_in(
          of([](report::Run& run) {
            run.findings = {{"x86_64/lts-sealed/life/fork/[vdso]/S2", "S2", "frame", false, ""}};
          }),
          "x86_64.lts-sealed.scenarios life/fork"),
      "failure")
      << "a finding in the midst of a scenario is the scenario's";
  EXPECT_EQ(outcome_in(of([](report::Run& run) {
                         run.findings = {{"x86_64/lts-sealed/boot/doorbell/monitor", "monitor",
                                          "text", false, ""}};
                       }),
                       "x86_64.lts-sealed.findings boot/doorbell/monitor"),
            "failure");
  EXPECT_EQ(outcome_in(of([](report::Run& run) {
                         run.findings = {{"x86_64/lts-sealed/trace/evidence", "evidence",
                                          "disk full", false, ""}};
                       }),
                       "x86_64.lts-sealed.findings trace/evidence"),
            "error");
}

TEST(ReportJunit, WhatWasNotObservedHasNeverPassed) {
  const auto unobserved = [](report::Run& run) {
    run.cells[2] = samples::unobserved("[vvar]", "munmap", "whole");
  };
  const char* const name = "x86_64.lts-sealed.[vvar] munmap/whole";
  auto cases = cases_of(with(unobserved, {}));
  EXPECT_EQ(cases[name].outcome, "error");
  cases = cases_of(with(unobserved, kKnownVvar));
  EXPECT_EQ(cases[name].outcome, "skipped");
  EXPECT_THAT(cases[name].message,
              HasSubstr("no page of it was ever populated; known finding: a reason & <more>"));
  EXPECT_EQ(cases.count("x86_64.lts-sealed.findings [vvar]/whole/unobserved"), 0U)
      << "its cells have it";
  const auto with_another = [&](report::Run& run) {
    unobserved(run);
    run.findings = {
        {"x86_64/lts-sealed/[vvar]/munmap/whole/monitor", "monitor", "text", false, ""}};
  };
  const std::vector<KnownFinding> the_other = {
      {"x86_64/lts-sealed/[vvar]/munmap/whole/monitor", "a reason", "6.12", "6.12", "2026-01-31"}};
  EXPECT_EQ(outcome_in(cases_of(with(with_another, the_other)), name), "error")
      << "that another finding is known excuses nothing";
  EXPECT_EQ(outcome_in(cases_of(with(with_another, kKnownVvar)), name), "skipped");
  cases = cases_of(conclude({samples::failed_run()}, {}, {}));
  EXPECT_EQ(outcome_in(cases, "arm64.lts-sealed.[vdso] munmap/whole"), "error");
  EXPECT_EQ(outcome_in(cases, "arm64.lts-sealed.watch guest"), "error");
}

TEST(ReportJunit, AKnownFindingIsSkippedWithItsReason) {
  const auto cases = cases_of(
      with([](report::Run& run) { run.cells[2] = samples::violated("[vvar]", "munmap", "whole"); },
           kKnownVvar));
  const auto& come = cases.at("x86_64.lts-sealed.[vvar] munmap/whole");
  EXPECT_EQ(come.outcome, "skipped");
  EXPECT_EQ(come.message, "known finding: a reason & <more>");
  EXPECT_EQ(outcome_in(cases, "sealvisor conclusion"), "passed");
}

TEST(ReportJunit, AControlPassesWhenItSeesItsLiesAndFailsOtherwise) {
  const char* const lie = "x86_64.lying.[vdso] munmap/whole";
  auto cases = cases_of(conclude({samples::lying_run()}, {}, {}));
  EXPECT_EQ(outcome_in(cases, lie), "passed");
  EXPECT_EQ(outcome_in(cases, "sealvisor conclusion"), "passed");
  report::Run missed = samples::lying_run();
  missed.findings.erase(missed.findings.begin());
  missed.cells[0] = samples::held("[vdso]", "munmap", "whole");
  missed.cells[0].lie = true;
  cases = cases_of(conclude({missed}, {}, {}));
  EXPECT_EQ(outcome_in(cases, lie), "failure");
  EXPECT_EQ(outcome_in(cases, "sealvisor conclusion"), "failure");
  missed.ending.good = false;
  cases = cases_of(conclude({missed}, {}, {}));
  EXPECT_EQ(outcome_in(cases, lie), "failure") << "also of a guest that failed";
  report::Run more = samples::lying_run();
  more.cells[1] = samples::violated("[vdso]", "munmap", "first-page");
  cases = cases_of(conclude({more}, {}, {}));
  EXPECT_EQ(outcome_in(cases, "x86_64.lying.[vdso] munmap/first-page"), "failure")
      << "a violation that is not documented";
}

TEST(ReportJunit, WhatWasForcedHasPassedAndSaysWhatHappened) {
  const Report report = with(
      [](report::Run& run) {
        run.cells.push_back(samples::forced("[vdso]", "ptrace-poke", "whole"));
      },
      {});
  EXPECT_EQ(outcome_in(cases_of(report), "x86_64.lts-sealed.[vdso] ptrace-poke/whole"), "passed");
  const std::string xml = render_junit(report);
  EXPECT_THAT(xml, HasSubstr("<system-out>forced: no seal keeps it out"));
  EXPECT_THAT(xml, HasSubstr("; broke S2 S5"));
}

TEST(ReportJunit, EachKindOfTamperingIsACase) {
  report::Run run = samples::sealed_run();
  run.campaign = samples::campaign();
  auto cases = cases_of(conclude({run}, {}, {}));
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.campaign write-bit"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.campaign same-value"), "passed");
  const std::size_t count = cases.size();
  run.findings = {{"x86_64/lts-sealed/control/campaign/write-bit/monitor", "monitor",
                   "tampering 3 was not reported", false, ""}};
  const Report report = conclude({run}, {}, {});
  cases = cases_of(report);
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.campaign write-bit"), "failure");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.campaign same-value"), "passed");
  EXPECT_EQ(cases.size(), count) << "the finding is of that case";
  const std::string xml = render_junit(report);
  EXPECT_THAT(xml, HasSubstr("by kernel, undone at once: 2 made, 2 found as they are"));
  EXPECT_THAT(xml, HasSubstr("name=\"campaign\" value=\"seed 5: 12 of 12 tamperings made"));
}

Program good_program() {
  Program program = samples::program();
  program.outcome = Program::Outcome::Exited;
  program.value = 0;
  program.spaces[0].mappings[0].change = Change::Unchanged;
  program.spaces[0].violations.clear();
  return program;
}

TEST(ReportJunit, EachProgramIsACase) {
  constexpr const char* kName = "x86_64.lts-sealed.programs tool";
  const auto come_of = [&](const Program& program, const std::vector<Finding>& findings) {
    report::Run run = samples::run_of(program);
    run.findings = findings;
    const Report report = conclude({run}, {}, {});
    EXPECT_EQ(any_failed(report), report.exit_code != ExitCode::AsExpected) << report.conclusion;
    const auto cases = cases_of(report);
    EXPECT_EQ(cases.count(kName), 1U);
    return cases.count(kName) == 0 ? Come() : cases.at(kName);
  };
  EXPECT_EQ(come_of(good_program(), {}).outcome, "passed");
  // A seal that was broken, and an expectation that was not met.
  const Come broken =
      come_of(good_program(),
              {{"x86_64/lts-sealed/program/tool/[vdso]/S1", "S1", "[vdso] is gone", false, ""}});
  EXPECT_EQ(broken.outcome, "failure");
  EXPECT_EQ(broken.message, "S1: [vdso] is gone");
  const Finding unmet{"x86_64/lts-sealed/program/tool/line-4/expectation", "expectation",
                      "file:4: expected exit status 1, got exit status 0", false, ""};
  EXPECT_EQ(come_of(good_program(), {unmet}).outcome, "failure");
  // It failed by its own account, unless the user's file says that it must.
  Program program = samples::program();
  EXPECT_EQ(come_of(program, {}).outcome, "failure");
  EXPECT_EQ(come_of(program, {}).message, "killed by SIGSEGV");
  program.judged = true;
  EXPECT_EQ(come_of(program, {}).outcome, "passed");
  // What never ran and what was not seen has not passed.
  program.judged = false;
  program.outcome = Program::Outcome::NotRun;
  program.value = 2;
  program.spaces.clear();
  EXPECT_EQ(come_of(program, {}).outcome, "error");
  program = good_program();
  program.spaces.clear();
  EXPECT_EQ(come_of(program, {}).outcome, "error");
}

TEST(ReportJunit, AProgramThatTheGuestDidNotReachHasNotPassed) {
  report::Run run = samples::failed_run();
  Program program = samples::program();
  program.outcome = Program::Outcome::CutOff;
  program.judged = true;
  run.programs = {program};
  const auto cases = cases_of(conclude({run}, {}, {}));
  EXPECT_EQ(outcome_in(cases, "arm64." + run.recipe + ".programs tool"), "error");
}

TEST(ReportJunit, WhatAProgramWroteIsItsOwnAndBounded) {
  Program program = samples::program();
  program.output = "</system-out>\x1b[31m\xff]]>&\n" + std::string(100'000, '<');
  const std::string xml = render_junit(conclude({samples::run_of(program)}, {}, {}));
  EXPECT_THAT(xml, HasSubstr("<testsuites name=\"sealvisor observe\" "));
  EXPECT_THAT(xml, HasSubstr("out| &lt;/system-out&gt;\xEF\xBF\xBD[31m\xEF\xBF\xBD]]&gt;&amp;\n"));
  EXPECT_THAT(xml, HasSubstr(" bytes more"));
  EXPECT_THAT(xml, HasSubstr("observed: [vdso] gone (2 of 2 pages)"));
  EXPECT_LT(xml.size(), 60'000U);
}

TEST(ReportJunit, ARunThatDidNotStartIsAnError) {
  const auto cases =
      cases_of(conclude({samples::sealed_run()},
                        {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}}, {}));
  EXPECT_EQ(outcome_in(cases, "arm64.lying.watch start"), "error");
  EXPECT_EQ(outcome_in(cases, "sealvisor conclusion"), "failure");
}

TEST(ReportJunit, SomethingFailedExactlyIfTheExitCodeSaysSo) {
  const auto violated = [](report::Run& run) {
    run.cells[2] = samples::violated("[vvar]", "munmap", "whole");
  };
  const std::vector<Report> reports = {
      conclude({samples::sealed_run(), samples::unsealed_run(), samples::lying_run()}, {}, {}),
      conclude({samples::failed_run()}, {}, {}),
      conclude({}, {{arch::Arch::Arm64, "a", {ExitCode::HostLacks, "not built", 0}}}, {}),
      with(violated, {}),
      with(violated, kKnownVvar),
      with([](report::Run& run) { run.lives[0].status = 12; }, {}),
      with([](report::Run& run) { run.lives[0].complete = false; }, {}),
      with([](report::Run& run) { run.lives[0].user_entries = 0; }, {}),
      with([](report::Run& run) { run.counts.mismatches = 3; }, {}),
      with([](report::Run& run) { run.counts.witness_differences = 1; }, {}),
      with([](report::Run& run) { run.mappings[1].claims_sealed = false; }, {}),
      with(
          [](report::Run& run) {
            run.ending = {false, "deadline of 60 s passed", "", true};
          },
          {}),
      with([](report::Run& run) { run.cells[0].lie = true; }, {}, samples::lying_run()),
      with([](report::Run& run) { run.cells[1].lie = true; }, {}, samples::lying_run()),
  };
  int good = 0;
  for (const Report& report : reports) {
    const bool expected = report.exit_code == ExitCode::AsExpected;
    EXPECT_EQ(!any_failed(report), expected) << report.conclusion;
    EXPECT_EQ(outcome_in(cases_of(report), "sealvisor conclusion"),
              expected ? "passed" : "failure");
    good += expected ? 1 : 0;
  }
  EXPECT_EQ(good, 3);
}

TEST(ReportJunit, NamesThatAreAlikeAreToldApart) {
  const auto cases =
      cases_of(with([](report::Run& run) { run.cells.push_back(run.cells[0]); }, {}));
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.[vdso] munmap/whole"), "passed");
  EXPECT_EQ(outcome_in(cases, "x86_64.lts-sealed.[vdso] munmap/whole (2)"), "passed");
}

TEST(ReportJunit, ADotInARecipeIsNoLevelOfItsOwn) {
  report::Run run = samples::sealed_run();
  run.recipe = "bzImage-6.12";
  EXPECT_EQ(outcome_in(cases_of(conclude({run}, {}, {})), "x86_64.bzImage-6_12.watch guest"),
            "passed");
}

TEST(ReportJunit, WhatAGuestWroteStaysInItsPlace) {
  report::Run run = samples::failed_run();
  run.ending.text = "said \"&<]]>\x01\xff'";
  run.ending.console_tail = "one <b>\r\ntwo]]>\x1b[31m\xff\n";
  run.lives = {samples::life("life/<&\">\x02")};
  const std::string xml = render_junit(conclude({run}, {}, {}));
  EXPECT_THAT(xml,
              HasSubstr("message=\"said &quot;&amp;&lt;]]&gt;\xEF\xBF\xBD\xEF\xBF\xBD&#39;\""));
  EXPECT_THAT(xml, HasSubstr(">one &lt;b&gt;\ntwo]]&gt;\xEF\xBF\xBD[31m\xEF\xBF\xBD</error>"));
  EXPECT_THAT(xml, Not(HasSubstr("<b>")));
}

// --- the form, by a parser of others ---

class Files {
 public:
  Files() {
    std::string folder = fs::temp_directory_path() / "sealvisor-junit-XXXXXX";
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() { fs::remove_all(folder_); }
  std::string add(const Report& report) {
    const fs::path path = folder_ / (std::to_string(number_++) + ".xml");
    std::ofstream(path) << render_junit(report);
    return " '" + path.string() + "'";
  }

 private:
  fs::path folder_;
  int number_ = 0;
};

test::ShellAnswer check_junit(const std::string& arguments) {
  return test::run_in_shell("python3 '" SEALVISOR_SOURCE_DIR "/tests/unit/report/check_junit.py' " +
                            arguments);
}

Report hostile_report() {
  report::Run hostile = samples::failed_run();
  hostile.ending.text = "\"&<]]>\x01\xff'\xef\xbf\xbf";
  hostile.lives = {samples::life("life/<&\">\x02"), samples::life("life/<&\">\x02")};
  Program program = samples::program();
  program.name = "<&\">\x02";
  program.errors = "]]>\x01\xff'\xef\xbf\xbf";
  hostile.programs = {program, program};
  return conclude({samples::sealed_run(), samples::unsealed_run(), samples::lying_run(), hostile},
                  {{arch::Arch::Arm64, "lying", {ExitCode::HostLacks, "not built", 0}}}, {});
}

TEST(ReportJunit, IsWhatCiSystemsRead) {
  Files files;
  const std::string names = files.add(hostile_report()) + files.add(conclude({}, {}, {}));
  const test::ShellAnswer checked = check_junit(names);
  EXPECT_EQ(checked.status, 0) << checked.output;
}

TEST(ReportJunit, NoMutationOfItIs) {
  Files files;
  report::Run run = samples::failed_run();
  run.cells.push_back(samples::violated("[vvar]", "munmap", "whole"));
  run.cells.push_back(samples::skipped("[vvar_vclock]", "munmap", "whole"));
  const test::ShellAnswer checked = check_junit("--mutate" + files.add(conclude({run}, {}, {})));
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_THAT(checked.output, HasSubstr("mutations tried"));
  EXPECT_THAT(checked.output, Not(HasSubstr(": 0 mutations tried")));
}

}  // namespace
}  // namespace sealvisor::report
