#include "vmm/app/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sealvisor::app {
namespace {

using testing::HasSubstr;

Error lacks(const char* message) { return Error{ExitCode::HostLacks, message, 0}; }

TcgFacts good_facts() {
  return {arch::Arch::Arm64,
          std::string("QEMU 10.0.2 (/usr/bin/qemu-system-aarch64)"),
          std::string("plugin loads"),
          std::string("guest programs built"),
          {{"lts-sealed", Status()}, {"lying", Status()}},
          "9.9 GiB free"};
}

TEST(Doctor, ATcgLaneIsReadyWhenNothingIsMissing) {
  const Lane lane = tcg_lane(good_facts());
  EXPECT_EQ(lane.name, "tcg arm64");
  EXPECT_EQ(lane.state, "ready");
  for (const char* part :
       {"exact", "QEMU 10.0.2", "plugin loads", "lts-sealed, lying", "9.9 GiB"}) {
    EXPECT_THAT(lane.why, HasSubstr(part));
  }
}

TEST(Doctor, ATcgLaneNamesWhatIsMissing) {
  struct Case {
    void (*spoil)(TcgFacts&);
    const char* message;
  };
  const std::vector<Case> cases = {
      {[](TcgFacts& facts) { facts.qemu = lacks("no qemu-system-aarch64 in PATH"); },
       "no qemu-system-aarch64 in PATH"},
      {[](TcgFacts& facts) { facts.plugin = lacks("plugin does not load"); },
       "plugin does not load"},
      {[](TcgFacts& facts) { facts.agents = lacks("guest program x"); }, "guest program x"},
      {[](TcgFacts& facts) { facts.kernels[1].second = lacks("is not built; run it"); },
       "kernels missing: lying (is not built; run it)"},
  };
  for (const Case& one : cases) {
    TcgFacts facts = good_facts();
    one.spoil(facts);
    const Lane lane = tcg_lane(facts);
    EXPECT_EQ(lane.state, "not ready");
    EXPECT_THAT(lane.why, HasSubstr(one.message));
    EXPECT_EQ(lane.why.find('\n'), std::string::npos);
  }
}

TEST(Doctor, ATcgLaneIsReadyWithoutTheKernelsOfVariants) {
  TcgFacts facts = good_facts();
  facts.kernels_of_variants = {{"lts-sealed-smp", Status()}, {"lying-smp", lacks("is not built")}};
  const Lane lane = tcg_lane(facts);
  EXPECT_EQ(lane.state, "ready");
  EXPECT_THAT(lane.why, HasSubstr("kernels built: lts-sealed, lying, lts-sealed-smp;"));
  EXPECT_THAT(lane.why, HasSubstr("not built, for variants only: lying-smp;"));
}

engine::kvm::Choice chosen(engine::Mechanism mechanism) { return {mechanism, "because"}; }

TEST(Doctor, TellsTheStatesOfKvmApart) {
  struct Case {
    KvmFacts facts;
    const char* state;
    const char* message;
  };
  const std::vector<Case> cases = {
      {{"x86_64", false, false, "\nflags : vmx\n"}, "not used", "no /dev/kvm"},
      {{"x86_64", true, false, "\nflags : vmx\n"}, "not used", "may not open it"},
      {{"x86_64", true, true, "\nflags : fpu\n"}, "not used", "neither vmx nor svm"},
      {{"x86_64", true, true, "\nflags : svm\n", std::string("API 12"),
        chosen(engine::Mechanism::Audited)},
       "ready",
       "audited, never run on hardware: because; API 12"},
      {{"aarch64", true, true, "", std::string("API 12"), chosen(engine::Mechanism::Exact)},
       "ready",
       "exact, never run on hardware: because; API 12"},
      {{"aarch64", true, true, "", lacks("lacks KVM_CAP_X")}, "not ready", "lacks KVM_CAP_X"},
      {{"aarch64", true, true, "", std::string("API 12"), lacks("gone")}, "not ready", "gone"},
  };
  for (const Case& one : cases) {
    const Lane lane = kvm_lane(one.facts);
    EXPECT_EQ(lane.name, "kvm");
    EXPECT_EQ(lane.state, one.state);
    EXPECT_THAT(lane.why, HasSubstr(one.message));
  }
}

TEST(Doctor, SaysWhatAnEmulatedHostLacks) {
  NestedFacts facts{arch::Arch::Arm64, std::string("QEMU 10.0.2"), {}};
  Lane lane = nested_lane(facts);
  EXPECT_EQ(lane.name, "kvm-nested arm64");
  EXPECT_EQ(lane.state, "ready");
  EXPECT_THAT(lane.why, HasSubstr("exact: "));
  EXPECT_THAT(lane.why, HasSubstr("QEMU 10.0.2"));

  facts.arch = arch::Arch::X86_64;
  facts.parts = {lacks("no kernel"), lacks("no init"), lacks("no program")};
  lane = nested_lane(facts);
  EXPECT_EQ(lane.state, "not ready");
  EXPECT_THAT(lane.why, HasSubstr("audited: "));
  for (const char* part : {"no kernel", "no init", "no program"}) {
    EXPECT_THAT(lane.why, HasSubstr(part));
  }
  facts = {arch::Arch::X86_64, lacks("no QEMU"), {}};
  EXPECT_EQ(nested_lane(facts).state, "not ready");
}

}  // namespace
}  // namespace sealvisor::app
