#include "vmm/run/blind_spots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> spots(arch::Arch arch, const std::string& cpu_model = "",
                               bool witness = false) {
  run::RunRequest request;
  request.arch = arch;
  request.cpu_model = cpu_model;
  report::Run run;
  if (witness) run.counts.witness_stores = 1;
  return run::blind_spots(request, run);
}

TEST(BlindSpots, SayThatTheDefaultModelHasNoMops) {
  EXPECT_THAT(spots(arch::Arch::Arm64),
              Contains(AllOf(HasSubstr("FEAT_MOPS"), HasSubstr("default CPU model has none"))));
}

TEST(BlindSpots, DoNotPromiseThatOfAnotherModel) {
  const auto max = spots(arch::Arch::Arm64, "max");
  EXPECT_THAT(max, Contains(AllOf(HasSubstr("FEAT_MOPS"), HasSubstr("model max"))));
  EXPECT_THAT(max, Not(Contains(HasSubstr("has none"))));
}

TEST(BlindSpots, AreThoseOfTheArchitecture) {
  EXPECT_THAT(spots(arch::Arch::Arm64), Contains(HasSubstr("dc zva")));
  EXPECT_THAT(spots(arch::Arch::X86_64), Contains(HasSubstr("iret")));
  EXPECT_THAT(spots(arch::Arch::X86_64), Not(Contains(HasSubstr("MOPS"))));
  for (const arch::Arch arch : arch::kAllArchs) {
    EXPECT_THAT(spots(arch), Contains(HasSubstr("one vCPU")));
    EXPECT_THAT(spots(arch), Contains(HasSubstr("lower half")));
    EXPECT_THAT(spots(arch), Contains(HasSubstr("not instrumented")));
  }
}

TEST(BlindSpots, OfProgramsAreTheirOwn) {
  run::RunRequest request;
  request.programs.emplace_back();
  const auto spots = run::blind_spots(request, {});
  EXPECT_THAT(spots, Contains(HasSubstr("is the program's word")));
  // No option of `observe` would help.
  EXPECT_THAT(spots, Not(Contains(HasSubstr("--full"))));
  EXPECT_THAT(spots, Not(Contains(HasSubstr("--scenario"))));
}

TEST(BlindSpots, SayWhatACampaignDoesNotTry) {
  run::RunRequest request;
  report::Run run;
  request.arch = arch::Arch::X86_64;
  EXPECT_THAT(run::blind_spots(request, run), Not(Contains(HasSubstr("tampered"))));
  run.campaign.emplace();
  EXPECT_THAT(run::blind_spots(request, run),
              AllOf(Contains(HasSubstr("not tampered with: mappings of 32-bit processes")),
                    Contains(HasSubstr("told by a removal")), Contains(HasSubstr("fxsave")),
                    Contains(HasSubstr("keys are off")), Not(Contains(HasSubstr("not told")))));
  run.protection_keys = true;
  EXPECT_THAT(run::blind_spots(request, run), Not(Contains(HasSubstr("keys are off"))));
  request.arch = arch::Arch::Arm64;
  EXPECT_THAT(run::blind_spots(request, run), Not(Contains(HasSubstr("fxsave"))));
  EXPECT_THAT(run::blind_spots(request, run), Not(Contains(HasSubstr("[uprobes] was not"))));
  request.engine = engine::Kind::Kvm;
  run.lane = "exact";
  EXPECT_THAT(run::blind_spots(request, run),
              AllOf(Contains(HasSubstr("[uprobes] was not tampered with")),
                    Contains(HasSubstr("not tampered with in this lane")),
                    Contains(HasSubstr("which instruction stored to code or loaded a root"))));
  run.lane = "audited";
  EXPECT_THAT(run::blind_spots(request, run), Contains(HasSubstr("none of these is recorded")));
}

TEST(BlindSpots, NameTheStoresToCodeThatEndTheGuest) {
  run::RunRequest request;
  request.engine = engine::Kind::Kvm;
  report::Run run;
  for (const char* lane : {"exact", "audited"}) {
    run.lane = lane;
    request.arch = arch::Arch::Arm64;
    EXPECT_THAT(run::blind_spots(request, run), Contains(HasSubstr("ends the guest as crashed")));
    request.arch = arch::Arch::X86_64;
    EXPECT_THAT(run::blind_spots(request, run),
                AllOf(Not(Contains(HasSubstr("ends the guest as crashed"))),
                      Contains(HasSubstr("gets an undefined-instruction exception"))));
  }
}

TEST(BlindSpots, OfKvmSayWhatTheGuestNoticesOfTheWatch) {
  run::RunRequest request;
  report::Run run;
  for (const char* lane : {"exact", "audited"}) {
    for (const arch::Arch arch : arch::kAllArchs) {
      request.engine = engine::Kind::Kvm;
      request.arch = arch;
      run.lane = lane;
      const auto all = run::blind_spots(request, run);
      EXPECT_THAT(all, Contains(HasSubstr("the guest can read the planted bytes")));
      const auto step = Contains(HasSubstr("single step in the guest"));
      if (arch == arch::Arch::Arm64) {
        EXPECT_THAT(all, step);
      } else {
        EXPECT_THAT(all, Not(step));
      }
    }
  }
  for (const arch::Arch arch : arch::kAllArchs) {
    EXPECT_THAT(spots(arch), Not(Contains(HasSubstr("planted")))) << "tcg plants nothing";
  }
}

TEST(BlindSpots, NameTheEntriesThatWereNotCountedByStep) {
  run::RunRequest request;
  request.engine = engine::Kind::Kvm;
  report::Run run;
  for (const char* lane : {"exact", "audited"}) {
    run.lane = lane;
    request.arch = arch::Arch::X86_64;
    EXPECT_THAT(run::blind_spots(request, run),
                Contains(HasSubstr("are not counted by single step on x86-64: it ends")));
    request.arch = arch::Arch::Arm64;
    request.step_check = false;
    EXPECT_THAT(run::blind_spots(request, run), Contains(HasSubstr("--step-check adds it")));
    request.step_check = true;
    EXPECT_THAT(run::blind_spots(request, run), Not(Contains(HasSubstr("--step-check"))));
  }
}

TEST(BlindSpots, OfEveryLaneSayWhatWasNotTriedAndWhatIsTheAgentsWord) {
  run::RunRequest request;
  report::Run run;
  for (const engine::Kind kind : {engine::Kind::Tcg, engine::Kind::Kvm}) {
    for (const char* lane : {"exact", "audited"}) {
      for (const arch::Arch arch : arch::kAllArchs) {
        request.engine = kind;
        request.arch = arch;
        run.lane = lane;
        const auto all = run::blind_spots(request, run);
        EXPECT_THAT(all, Contains(HasSubstr("really made is the agent's word")));
        EXPECT_THAT(all, Contains(AllOf(HasSubstr("not tried"), HasSubstr("32-bit processes"),
                                        HasSubstr("[uprobes]"), HasSubstr("madvise"),
                                        HasSubstr("pkey_mprotect"), HasSubstr("/proc/PID/mem"),
                                        HasSubstr("time namespaces"))));
      }
    }
  }
}

TEST(BlindSpots, OfAFullPlanNothingIsUntried) {
  run::RunRequest request;
  request.arch = arch::Arch::Arm64;
  std::uint32_t cell = 0;
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    scenario::expand(scenario, request.arch, true, cell,
                     [&](const auto& item) { request.plan.push_back(item); });
  }
  EXPECT_THAT(run::blind_spots(request, {}), Not(Contains(HasSubstr("not tried"))));
  std::erase_if(request.plan, [](const auto& item) {
    return item.scenario->kind == scenario::Kind::Cells && item.mapping->compat;
  });
  EXPECT_THAT(run::blind_spots(request, {}),
              Contains(HasSubstr("not tried: operations on mappings of 32-bit processes (")));
}

TEST(BlindSpots, NameTheWitnessThatDidNotRun) {
  EXPECT_THAT(spots(arch::Arch::X86_64), Contains(HasSubstr("no second witness")));
  EXPECT_THAT(spots(arch::Arch::X86_64, "", true), Not(Contains(HasSubstr("no second witness"))));
}

TEST(BlindSpots, OfTwoVcpusAreThatTheyTakeTurns) {
  run::RunRequest request;
  request.vcpus = 2;
  EXPECT_THAT(run::blind_spots(request, {}),
              AllOf(Contains(HasSubstr("2 vCPUs run in turn")), Not(Contains("one vCPU only"))));
}

}  // namespace
}  // namespace sealvisor::test
