#include "vmm/report/conclude.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/unit/report/samples.h"

namespace sealvisor::report {
namespace {

using arch::Arch;

const Finding* find(const Report& report, const std::string& id) {
  for (const Finding& finding : report.findings) {
    if (finding.id == id) return &finding;
  }
  return nullptr;
}

TEST(Conclude, OrdersExitCodesFromBestToWorst) {
  const std::vector<ExitCode> order = {ExitCode::AsExpected,  ExitCode::ProgramFailed,
                                       ExitCode::Usage,       ExitCode::HostLacks,
                                       ExitCode::GuestFailed, ExitCode::Failed};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t k = i; k < order.size(); ++k) {
      EXPECT_EQ(worse(order[i], order[k]), order[k]);
      EXPECT_EQ(worse(order[k], order[i]), order[k]);
    }
  }
}

TEST(Conclude, GoodRunsAreAsExpected) {
  const Report report = conclude({samples::sealed_run(), samples::sealed_run(Arch::Arm64),
                                  samples::unsealed_run(), samples::lying_run()},
                                 {}, {});
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  for (const report::Run& run : report.runs) EXPECT_TRUE(run.good) << run.summary;
  EXPECT_EQ(
      report.conclusion,
      "AS EXPECTED: sealed: 8 cells unchanged, 8 of them refused by the seal, nothing forced; "
      "not sealed: 2 of 2 cells seen to change, as expected; control: exactly the 3 documented "
      "lies caught; 0 "
      "violations in 5 scenarios without cells; exact lane (tcg).");
  EXPECT_NE(report.threat_model.find("hostile"), std::string::npos);
  EXPECT_NE(report.threat_model.find("/proc/PID/mem"), std::string::npos)
      << "what was not forced is said in full there";
}

struct Spoiled {
  const char* name;
  std::function<void(report::Run&)> spoil;
  ExitCode code;
  std::string finding;  ///< Id that must be new; empty: none is made.
};

class ConcludeSpoiled : public testing::TestWithParam<Spoiled> {};

TEST_P(ConcludeSpoiled, RunIsNotGood) {
  report::Run run = samples::sealed_run();
  GetParam().spoil(run);
  const Report report = conclude({run, samples::unsealed_run()}, {}, {});
  EXPECT_EQ(report.exit_code, GetParam().code);
  EXPECT_FALSE(report.runs[0].good);
  EXPECT_TRUE(report.runs[1].good);
  EXPECT_TRUE(report.conclusion.starts_with("NOT AS EXPECTED: ")) << report.conclusion;
  EXPECT_EQ(report.conclusion.find("refused by the seal"), std::string::npos)
      << "a run that is not good confirms nothing: " << report.conclusion;
  if (!GetParam().finding.empty()) {
    const Finding* finding = find(report, GetParam().finding);
    ASSERT_NE(finding, nullptr);
    EXPECT_FALSE(finding->known);
    EXPECT_NE(report.conclusion.find(GetParam().finding), std::string::npos) << report.conclusion;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ConcludeSpoiled,
    testing::Values(
        Spoiled{
            "ViolationWithoutFinding",
            [](report::Run& run) { run.cells[0] = samples::violated("[vdso]", "munmap", "whole"); },
            ExitCode::Failed, "x86_64/lts-sealed/[vdso]/munmap/whole/expectation"},
        Spoiled{"MismatchedAnswer",
                [](report::Run& run) { run.cells[2].verdict = Verdict::Mismatch; },
                ExitCode::Failed, "x86_64/lts-sealed/[vvar]/munmap/whole/expectation"},
        Spoiled{"FindingOfAnInvariant",
                [](report::Run& run) {
                  run.findings.push_back(
                      {"x86_64/lts-sealed/life/fork/[vdso]/S2", "S2", "frame", false, ""});
                },
                ExitCode::Failed, "x86_64/lts-sealed/life/fork/[vdso]/S2"},
        Spoiled{"Unobserved",
                [](report::Run& run) {
                  run.cells[2] = samples::unobserved("[vvar]", "munmap", "whole");
                },
                ExitCode::Failed, "x86_64/lts-sealed/[vvar]/whole/unobserved"},
        Spoiled{"LifeViolation", [](report::Run& run) { run.lives[1].violations = 1; },
                ExitCode::Failed, "x86_64/lts-sealed/life/exec/monitor"},
        Spoiled{"LifeThatDidNotRun", [](report::Run& run) { run.lives[0].status = 12; },
                ExitCode::Failed, "x86_64/lts-sealed/life/fork/monitor"},
        Spoiled{"LifeNeverJudged", [](report::Run& run) { run.lives[0].user_entries = 0; },
                ExitCode::Failed, "x86_64/lts-sealed/life/fork/monitor"},
        Spoiled{"LifeCutOff", [](report::Run& run) { run.lives[0].complete = false; },
                ExitCode::Failed, "x86_64/lts-sealed/life/fork/monitor"},
        Spoiled{"SealNotClaimed", [](report::Run& run) { run.mappings[1].claims_sealed = false; },
                ExitCode::Failed, "x86_64/lts-sealed/[vvar]/claim"},
        Spoiled{"Mismatches", [](report::Run& run) { run.counts.mismatches = 3; }, ExitCode::Failed,
                "x86_64/lts-sealed/rewalk/monitor"},
        Spoiled{"WitnessDiffers",
                [](report::Run& run) {
                  run.counts.witness_stores = 5;
                  run.counts.witness_differences = 1;
                },
                ExitCode::Failed, "x86_64/lts-sealed/witness/monitor"},
        Spoiled{"StepsSawNothing",
                [](report::Run& run) {
                  run.counts.stepped_instructions = 6000;
                  run.counts.stepped_entries = 0;
                },
                ExitCode::Failed, "x86_64/lts-sealed/step-check/monitor"},
        Spoiled{"AnEntryHadNoTrap",
                [](report::Run& run) {
                  run.counts.stepped_instructions = 6000;
                  run.counts.stepped_entries = 40;
                  run.counts.stepped_untrapped = 1;
                },
                ExitCode::Failed, "x86_64/lts-sealed/step-check/monitor"},
        Spoiled{"EvidenceLost",
                [](report::Run& run) {
                  run.findings.push_back(
                      {"x86_64/lts-sealed/trace/evidence", "evidence", "disk full", false, ""});
                },
                ExitCode::HostLacks, "x86_64/lts-sealed/trace/evidence"},
        Spoiled{"GuestFailed",
                [](report::Run& run) {
                  run.ending = {false, "kernel panic", "..."};
                  run.cells[0] = samples::unobserved("[vdso]", "munmap", "whole");
                },
                ExitCode::GuestFailed, ""},
        Spoiled{"GuestBrokeTheProtocol",
                [](report::Run& run) {
                  run.ending = {false, "doorbell flood", ""};
                  run.findings.push_back(
                      {"x86_64/lts-sealed/boot/doorbell/monitor", "monitor", "junk", false, ""});
                },
                ExitCode::GuestFailed, "x86_64/lts-sealed/boot/doorbell/monitor"},
        Spoiled{"ViolatedAndThenFailed",
                [](report::Run& run) {
                  run.ending = {false, "kernel panic", ""};
                  run.findings.push_back(
                      {"x86_64/lts-sealed/life/fork/[vdso]/S2", "S2", "frame", false, ""});
                },
                ExitCode::Failed, "x86_64/lts-sealed/life/fork/[vdso]/S2"}),
    [](const auto& spoiled) { return std::string(spoiled.param.name); });

TEST(Conclude, UnobservedCellsOfOneFormAreOneFindingAndNeverHeld) {
  report::Run run = samples::sealed_run();
  run.cells.push_back(samples::unobserved("[vvar_vclock]", "munmap", "whole"));
  run.cells.push_back(samples::unobserved("[vvar_vclock]", "mprotect-rw", "whole"));
  const KnownFinding known{"*/[vvar_vclock]/*/unobserved", "never populated", "6.12", "6.12",
                           "2026-01-31"};
  const Report report = conclude({run}, {}, std::span(&known, 1));
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_TRUE(report.findings[0].known);
  EXPECT_NE(report.findings[0].text.find("2 cells of [vvar_vclock]/whole"), std::string::npos);
  EXPECT_NE(report.conclusion.find("4 cells unchanged, 4 of them refused by the seal"),
            std::string::npos);
  EXPECT_NE(report.conclusion.find("2 cells unobserved"), std::string::npos);
}

TEST(Conclude, SaysHowManyHeldCellsWereSeenInPart) {
  report::Run run = samples::sealed_run();
  const std::string whole = conclude({run}, {}, {}).conclusion;
  EXPECT_EQ(whole.find("in part"), std::string::npos) << whole;
  for (const std::size_t i : {std::size_t{2}, std::size_t{3}}) {
    run.cells[i].observation = {Change::Unchanged, {4, 1, 1, 0, 0}, "unchanged, 1 of 4 pages seen"};
  }
  const Report report = conclude({run, samples::sealed_run(Arch::Arm64)}, {}, {});
  EXPECT_NE(report.conclusion.find("sealed: 8 cells unchanged, 8 of them refused by the seal (2 of "
                                   "them seen in part), "),
            std::string::npos)
      << report.conclusion;
  EXPECT_NE(report.runs[0].summary.find("4 cells held (2 of them seen in part)"), std::string::npos)
      << report.runs[0].summary;
  EXPECT_EQ(report.runs[1].summary.find("in part"), std::string::npos);
  // What is unobserved is never held, in part or whole.
  run.cells[2].verdict = Verdict::Unobserved;
  const KnownFinding known{"*/[vvar]/*/unobserved", "never populated", "6.12", "6.12",
                           "2026-01-31"};
  const std::string less = conclude({run}, {}, std::span(&known, 1)).conclusion;
  EXPECT_NE(less.find("3 cells unchanged, 3 of them refused by the seal (1 of them seen"),
            std::string::npos)
      << less;
}

TEST(Conclude, ControlMustReportExactlyTheDocumentedLies) {
  struct Case {
    const char* name;
    std::function<void(report::Run&)> spoil;
    bool good;
    const char* finding;
  };
  const std::vector<Case> cases = {
      {"as documented", [](report::Run&) {}, true, nullptr},
      {"a lie was not caught",
       [](report::Run& run) {
         run.cells[2].verdict = Verdict::Held;
         run.findings.erase(run.findings.begin() + 1);
       },
       false, "x86_64/lying/[vvar]/munmap/whole/control"},
      {"a lie was not observed",
       [](report::Run& run) {
         run.cells[2] = samples::unobserved("[vvar]", "munmap", "whole");
         run.cells[2].lie = true;
         run.findings.erase(run.findings.begin() + 1);
       },
       false, "x86_64/lying/[vvar]/munmap/whole/control"},
      {"an undocumented cell was reported",
       [](report::Run& run) { run.cells[1] = samples::violated("[vdso]", "munmap", "first-page"); },
       false, "x86_64/lying/[vdso]/munmap/first-page/expectation"},
      {"a finding of another kind",
       [](report::Run& run) {
         run.findings.push_back({"x86_64/lying/life/fork/[vdso]/S8", "S8", "gone", false, ""});
       },
       false, "x86_64/lying/life/fork/[vdso]/S8"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    report::Run run = samples::lying_run();
    one.spoil(run);
    const Report report = conclude({run}, {}, {});
    EXPECT_EQ(report.runs[0].good, one.good);
    EXPECT_EQ(report.exit_code, one.good ? ExitCode::AsExpected : ExitCode::Failed);
    if (one.finding == nullptr) continue;
    const Finding* finding = find(report, one.finding);
    ASSERT_NE(finding, nullptr);
    EXPECT_FALSE(finding->known);
    EXPECT_EQ(report.findings.front().id, one.finding) << "new findings come first";
  }
}

TEST(Conclude, LiesOfAKernelThatIsNoControlAreViolations) {
  report::Run run = samples::lying_run();
  run.control = false;
  EXPECT_EQ(conclude({run}, {}, {}).exit_code, ExitCode::Failed);
}

TEST(Conclude, AControlWhoseLiesWereNotTriedSaysSo) {
  report::Run run = samples::lying_run();
  run.cells = {samples::held("[vdso]", "munmap", "first-page")};
  run.findings.clear();
  const Report report = conclude({run}, {}, {});
  EXPECT_TRUE(report.runs[0].good);
  EXPECT_NE(report.conclusion.find("none of the documented lies was tried"), std::string::npos);
}

TEST(Conclude, AKnownFindingDoesNotExcuseMismatches) {
  report::Run run = samples::sealed_run();
  run.counts.mismatches = 1;
  const KnownFinding known{"*/rewalk/monitor", "no", "6.12", "6.12", "2026-01-31"};
  const Report report = conclude({run}, {}, std::span(&known, 1));
  EXPECT_EQ(report.exit_code, ExitCode::Failed);
  EXPECT_FALSE(report.runs[0].good);
}

TEST(Conclude, ARunThatCouldNotStartKeepsTheRestAndItsOwnExitCode) {
  const NotRun missing{Arch::Arm64, "lts-sealed", {ExitCode::HostLacks, "not built", 0}};
  const Report report = conclude({samples::sealed_run()}, {missing}, {});
  EXPECT_EQ(report.exit_code, ExitCode::HostLacks);
  EXPECT_NE(report.conclusion.find("arm64 lts-sealed: did not run"), std::string::npos);
  EXPECT_NE(report.conclusion.find("4 cells unchanged, 4 of them refused by the seal"),
            std::string::npos);
  EXPECT_EQ(conclude({}, {}, {}).exit_code, ExitCode::Usage);
}

TEST(Conclude, SaysWhenNothingWasJudged) {
  report::Run run = samples::sealed_run();
  run.cells = {samples::skipped("[vvar_vclock]", "munmap", "whole")};
  run.lives.clear();
  const Report nothing = conclude({run}, {}, {});
  EXPECT_EQ(nothing.conclusion, "NOT AS EXPECTED: nothing was there to be judged.");
  EXPECT_EQ(nothing.exit_code, ExitCode::Failed);
  EXPECT_EQ(
      conclude({samples::failed_run()}, {}, {}).conclusion,
      "NOT AS EXPECTED: arm64 lts-sealed: the guest failed (kernel panic); 1 cell unobserved; "
      "exact lane (tcg).");
}

TEST(Conclude, TheConclusionIsOneShortLineHoweverMuchWentWrong) {
  std::vector<report::Run> runs(5, samples::failed_run());
  for (report::Run& run : runs) {
    run.ending.text = "engine died: " + std::string(600, 'x') + "\n";
    run.counts.mismatches = 1'000'000;
    run.findings.assign(50, {"arm64/lts-sealed/boot/S2", "S2", "frame", false, ""});
  }
  const std::vector<NotRun> missing(
      3, NotRun{Arch::Arm64, "lts-sealed", {ExitCode::HostLacks, "not built", 0}});
  const std::string conclusion = conclude(runs, missing, {}).conclusion;
  EXPECT_EQ(conclusion.find('\n'), std::string::npos);
  EXPECT_LT(conclusion.size(), 480U) << conclusion;
  EXPECT_NE(conclusion.find("..."), std::string::npos);
  EXPECT_NE(conclusion.find(", and 4 more; "), std::string::npos) << "guests that failed";
  EXPECT_NE(conclusion.find("did not run, and 2 more"), std::string::npos);
}

TEST(Conclude, AnInterruptIsNotAFailureOfTheGuest) {
  report::Run run = samples::failed_run();
  run.ending = {false, "interrupted: signal 2 (Interrupt)", "", true};
  const Report report = conclude({run}, {}, {});
  EXPECT_EQ(report.exit_code, ExitCode::GuestFailed);
  EXPECT_TRUE(
      report.conclusion.starts_with("NOT AS EXPECTED: arm64 lts-sealed: stopped "
                                    "(interrupted: signal 2 (Interrupt))"))
      << report.conclusion;
  EXPECT_EQ(report.runs[0].summary.find("the guest failed"), std::string::npos);
}

TEST(Conclude, AUsersOwnImageIsNeverSaidToHold) {
  report::Run run = samples::unsealed_run();
  run.expectations = false;
  run.recipe = "/boot/vmlinuz";
  for (Cell& cell : run.cells) cell.expectation.reset();
  run.mappings[0].claims_sealed = true;  // no recipe promises anything else
  const Report report = conclude({run}, {}, {});
  EXPECT_EQ(report.exit_code, ExitCode::AsExpected);
  EXPECT_NE(report.conclusion.find("own image: the kernel did what it claims"), std::string::npos);
}

}  // namespace
}  // namespace sealvisor::report
