// What goes wrong with a guest or with the VMM, in emulated hosts: tests/nested/faults.
#include <chrono>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/nested/hosts.h"
#include "vmm/app/options.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using engine::nested::FrameKind;
using engine::nested::HostPlan;

struct FaultRow {
  const char* host;
  arch::Arch arch;
  const char* cpu;
  const char* what;  ///< Argument of fault-trial.
  unsigned checks;   ///< That it makes; fewer would be a test that was left out.
};

/// A host with the programs and a sealed kernel in it; a failed test without one.
HostPlan sealed_plan(arch::Arch arch, const std::string& cpu, const std::string& out) {
  app::VerifyOptions options;
  options.machine.engine = engine::Kind::Kvm;
  options.machine.cpu_model = cpu;
  options.archs = {arch};
  options.recipes = {"lts-sealed"};
  options.machine.scenarios = {"munmap/*"};
  options.deadline = std::chrono::seconds(200);
  return verify_plan(options, out);
}

class NestedFaults : public testing::TestWithParam<FaultRow> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedFaults,
                         testing::Values(FaultRow{"X86Svm", kX86, "EPYC-v4,+svm", "engine", 27},
                                         FaultRow{"X86Svm", kX86, "EPYC-v4,+svm", "program", 36},
                                         FaultRow{"X86Svm", kX86, "EPYC-v4,+svm", "console", 8},
                                         FaultRow{"X86Svm", kX86, "EPYC-v4,+svm", "kill", 4},
                                         FaultRow{"Arm64Vhe", kArm, "cortex-a76", "engine", 32},
                                         FaultRow{"Arm64Vhe", kArm, "cortex-a76", "program", 38},
                                         FaultRow{"Arm64Vhe", kArm, "cortex-a76", "console", 8},
                                         FaultRow{"Arm64Vhe", kArm, "cortex-a76", "kill", 4},
                                         FaultRow{"Arm64Nvhe", kArm, "cortex-a57", "engine", 32}),
                         [](const testing::TestParamInfo<FaultRow>& row) {
                           return fmt::format("{}_{}", row.param.host, row.param.what);
                         });

TEST_P(NestedFaults, EndAsTheyShould) {
  const FaultRow& row = GetParam();
  HostPlan plan = sealed_plan(row.arch, row.cpu, fmt::format("faults-{}-{}", row.host, row.what));
  plan.files.push_back({.path = "bin/sealvisor", .source = plan.program, .executable = true});
  plan.program = plan.program.parent_path() / "fault-trial";
  plan.arguments = {row.what};
  const Ran ran = run(std::move(plan));
  fmt::print("{}\n", ran.console);
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited);
  EXPECT_EQ(ran.outcome.end.value, 0U);
  const std::string counts = fmt::format("{} checks passed, 0 failed", row.checks);
  EXPECT_NE(ran.console.find(counts), std::string::npos) << "expected " << counts;
}

struct GicHost {
  const char* name;
  const char* cpu;
};

/// A host whose own interrupt controller is a GICv2: its KVM offers guests no other.
class NestedGicV2 : public testing::TestWithParam<GicHost> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedGicV2,
                         testing::Values(GicHost{"Arm64Vhe", "cortex-a76"},
                                         GicHost{"Arm64Nvhe", "cortex-a57"}),
                         [](const testing::TestParamInfo<GicHost>& host) {
                           return std::string(host.param.name);
                         });

TEST_P(NestedGicV2, HasNoGicV3ForGuests) {
  HostPlan plan = sealed_plan(kArm, GetParam().cpu, fmt::format("gicv2-kvm-{}", GetParam().name));
  plan.gic_version = 2;
  plan.program = fs::path(SEALVISOR_BUILD_DIR) / "guest/arm64/host-trial";
  plan.arguments = {"kvm"};
  const Ran ran = run(std::move(plan));
  EXPECT_EQ(ran.outcome.end.value, 1U);
  EXPECT_NE(ran.console.find("KVM_DEV_TYPE_ARM_VGIC_V3: No such device"), std::string::npos);
}

TEST_P(NestedGicV2, RunsARealGuest) {
  HostPlan plan = sealed_plan(kArm, GetParam().cpu, fmt::format("gicv2-{}", GetParam().name));
  plan.gic_version = 2;
  const Ran ran = run(std::move(plan));
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited);
  EXPECT_EQ(ran.outcome.end.value, 0U);
  EXPECT_NE(ran.console.find("refused by the seal"), std::string::npos);
}

}  // namespace
}  // namespace sealvisor::test
