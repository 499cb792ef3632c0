#include "vmm/app/compat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "guest/compat/list.h"
#include "tests/unit/app/temporary.h"
#include "vmm/app/lifetime.h"
#include "vmm/app/scenarios.h"

namespace sealvisor::app {
namespace {

using arch::Arch;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> names_of(const std::vector<scenario::PlanItem>& plan) {
  std::vector<std::string> names;
  for (const scenario::PlanItem& item : plan) names.emplace_back(item.scenario->name);
  return names;
}

std::vector<std::string> names_of(const std::vector<report::NotTried>& not_tried) {
  std::vector<std::string> names;
  for (const report::NotTried& one : not_tried) names.push_back(one.name);
  return names;
}

TEST(ChooseSequences, EachOfTheListIsTriedOrSaidNotToBe) {
  for (const Arch arch : arch::kAllArchs) {
    for (const char* recipe : {"lts-sealed", "checkpoint-restore-sealed"}) {
      const auto chosen = choose_sequences({}, arch, recipe);
      ASSERT_TRUE(chosen.ok()) << chosen.error().message;
      EXPECT_EQ(chosen.value().plan.size() + chosen.value().not_tried.size(),
                compat::kSequences.size());
    }
  }
}

TEST(ChooseSequences, WhatASoftwareHasNotOrAKernelLacksIsNotTried) {
  const auto x86 = choose_sequences({}, Arch::X86_64, "lts-sealed");
  ASSERT_TRUE(x86.ok());
  EXPECT_THAT(names_of(x86.value().not_tried), ElementsAre("compat/criu-map"));
  const auto arm = choose_sequences({}, Arch::Arm64, "lts-sealed");
  ASSERT_TRUE(arm.ok());
  EXPECT_THAT(names_of(arm.value().plan),
              testing::AllOf(Contains("compat/criu-park"), Contains("compat/gvisor-stub"),
                             Contains("compat/rr-record"), Not(Contains("compat/uml-stub"))));
  const auto restore = choose_sequences({}, Arch::X86_64, "checkpoint-restore-sealed");
  ASSERT_TRUE(restore.ok());
  EXPECT_TRUE(restore.value().not_tried.empty());
  for (const report::NotTried& one : arm.value().not_tried) EXPECT_FALSE(one.reason.empty());
}

TEST(ChooseSequences, TakesPatternsOfItsOwnScenariosOnly) {
  const auto some = choose_sequences({"compat/rr-*"}, Arch::Arm64, "lts-sealed");
  ASSERT_TRUE(some.ok());
  EXPECT_THAT(names_of(some.value().plan),
              ElementsAre("compat/rr-record", "compat/rr-replay", "compat/rr-move"));
  const auto other = choose_sequences({"life/fork"}, Arch::X86_64, "lts-sealed");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, ExitCode::Usage);
  EXPECT_THAT(other.error().message, HasSubstr("life/fork is for `sealvisor verify`"));
  EXPECT_FALSE(choose_sequences({"compat/none"}, Arch::X86_64, "lts-sealed").ok());
}

TEST(CheckVerified, RefusesWhatIsForOtherCommands) {
  EXPECT_TRUE(check_verified({}).ok());
  EXPECT_TRUE(check_verified({"munmap/*", "life/*", "control/stores"}).ok());
  const auto sequence = check_verified({"life/*", "compat/rr-record"});
  ASSERT_FALSE(sequence.ok());
  EXPECT_THAT(sequence.error().message, HasSubstr("is for `sealvisor compat`"));
  const auto storm = check_verified({"storm/*"});
  ASSERT_FALSE(storm.ok());
  EXPECT_THAT(storm.error().message, HasSubstr("is for `sealvisor lifetime`"));
}

/// Built kernels of every recipe.
class Kernels : public testing::Test {
 protected:
  Kernels() {
    for (const char* name : {"image", "Image", "vmlinux"}) folder_.file(name, "kernel");
    places_.agents = "/agents";
    places_.plugin = "/plugin.so";
    tools_.kernel_dir = [this](const std::string& recipe, Arch) -> Result<std::filesystem::path> {
      if (recipe == "restless") return Error{ExitCode::HostLacks, "not built"};
      return folder_.path();
    };
  }
  Temporary folder_;
  Places places_;
  VerifyTools tools_;
};

TEST_F(Kernels, CompatHasASequencePlanForEachGuest) {
  CompatOptions options;
  options.archs = {Arch::X86_64, Arch::Arm64};
  options.recipes = {"lts-sealed", "lts-unsealed"};
  const auto prepared = prepare_compat(options, places_, tools_);
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  const auto& requests = prepared.value().guests.requests;
  ASSERT_EQ(requests.size(), 4U);
  ASSERT_EQ(prepared.value().not_tried.size(), 4U);
  for (const run::RunRequest& request : requests) {
    EXPECT_FALSE(request.plan.empty());
    for (const scenario::PlanItem& item : request.plan) {
      EXPECT_EQ(item.scenario->kind, scenario::Kind::Sequence);
    }
    EXPECT_FALSE(request.lifetime);
  }
  EXPECT_GT(requests[0].plan.size(), requests[2].plan.size()) << "UML is of x86-64";
}

TEST_F(Kernels, LifetimeListsChangesOfLifeStormsAndControls) {
  LifetimeOptions options;
  options.archs = {Arch::X86_64};
  options.recipes = {"lts-sealed", "restless"};
  const auto prepared = prepare_lifetime(options, places_, tools_);
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  ASSERT_EQ(prepared.value().requests.size(), 1U);
  ASSERT_EQ(prepared.value().not_run.size(), 1U);
  const run::RunRequest& request = prepared.value().requests[0];
  EXPECT_TRUE(request.lifetime);
  EXPECT_THAT(names_of(request.plan),
              testing::AllOf(Contains("life/thousand"), Contains("storm/time-namespace"),
                             Contains("control/own-calls"), Contains("control/tamper-entry")));
  options.machine.scenarios = {"munmap/whole"};
  const auto wrong = prepare_lifetime(options, places_, tools_);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message, HasSubstr("munmap/whole is not for `sealvisor lifetime`"));
}

}  // namespace
}  // namespace sealvisor::app
