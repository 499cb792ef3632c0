// The static program in emulated hosts that have KVM.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/nested/hosts.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/base/result.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using engine::nested::FrameKind;
using engine::nested::HostPlan;
using engine::nested::NestedHost;

/// A folder of its own for each test, emptied first.
fs::path fresh_folder(const std::string& name) {
  fs::path folder = fs::path(SEALVISOR_BUILD_DIR) / "nested-out" / name;
  fs::remove_all(folder);
  return folder;
}

/// A plan for a host of `arch` and `cpu` whose program has to be set; a failed test without one.
HostPlan bare_plan(arch::Arch arch, const std::string& cpu) {
  HostPlan plan;
  plan.arch = arch;
  plan.cpu_model = cpu;
  const auto places = app::find_places({.executable = SEALVISOR_BUILD_DIR "/sealvisor",
                                        .share_override = std::nullopt,
                                        .source_dir = SEALVISOR_SOURCE_DIR});
  if (!places) {
    ADD_FAILURE() << places.error().message;
    return plan;
  }
  const auto folder = app::kernel_dir(places.value(), "host", arch);
  if (!folder) {
    ADD_FAILURE() << folder.error().message;
    return plan;
  }
  const auto kernel = engine::nested::host_kernel(folder.value(), arch);
  if (!kernel) {
    ADD_FAILURE() << kernel.error().message;
    return plan;
  }
  plan.kernel = kernel.value();
  plan.init = places.value().agent_dir(arch) / "host-init";
  return plan;
}

/// A small program that was built beside the tests for trying what a host can do.
fs::path trial(arch::Arch arch) {
  return fs::path(SEALVISOR_BUILD_DIR) / "guest" / arch::name_of(arch) / "host-trial";
}

struct Host {
  const char* name;
  arch::Arch arch;
  const char* cpu;
  const char* kvm = "";  ///< What the kernel says of its KVM.
};

class Nested : public testing::TestWithParam<Host> {};

INSTANTIATE_TEST_SUITE_P(Hosts, Nested,
                         testing::Values(Host{"X86Svm", arch::Arch::X86_64, "EPYC-v4,+svm",
                                              "kvm_amd: Nested Paging enabled"},
                                         Host{"Arm64Vhe", arch::Arch::Arm64, "cortex-a76",
                                              "kvm [1]: VHE mode initialized successfully"},
                                         Host{"Arm64Nvhe", arch::Arch::Arm64, "cortex-a57",
                                              "kvm [1]: Hyp nVHE mode initialized successfully"}),
                         [](const testing::TestParamInfo<Host>& host) {
                           return std::string(host.param.name);
                         });

TEST_P(Nested, HasAKvmThatRunsCode) {
  HostPlan plan = bare_plan(GetParam().arch, GetParam().cpu);
  plan.program = trial(plan.arch);
  plan.arguments = {"kvm"};
  plan.kernel_arguments = "loglevel=7";
  plan.out = fresh_folder(std::string("kvm-") + GetParam().name);
  const Ran ran = run(plan);
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, 0U) << ran.console;
  EXPECT_NE(ran.console.find(GetParam().kvm), std::string::npos) << ran.console;
  EXPECT_NE(ran.console.find("KVM_GET_API_VERSION 12"), std::string::npos) << ran.console;
  EXPECT_NE(ran.console.find("interrupt controller made"), std::string::npos) << ran.console;
  EXPECT_NE(ran.console.find("KVM_RUN: the guest stored 0x55"), std::string::npos) << ran.console;
}

TEST_P(Nested, RunsDoctor) {
  HostPlan plan = bare_plan(GetParam().arch, GetParam().cpu);
  plan.program = fs::path(SEALVISOR_BUILD_DIR) / "nested" / arch::name_of(plan.arch) / "sealvisor";
  // What the program looks for beside itself; there is nothing in the host that could run it.
  plan.files = {{.path = "share/sealvisor/guest/kernel/build",
                 .source = fs::path(SEALVISOR_SOURCE_DIR) / "guest/kernel/build",
                 .executable = true}};
  plan.arguments = {"doctor"};
  plan.out = fresh_folder(std::string("doctor-") + GetParam().name);
  const Ran ran = run(plan);
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, static_cast<unsigned>(ExitCode::HostLacks)) << ran.console;
  const auto line = [](const std::string& name, const std::string& rest) {
    return fmt::format("{:<17}  {}", name, rest);
  };
  EXPECT_NE(ran.console.find(line("tcg x86_64", "not ready  exact: no qemu-system-x86_64 in PATH")),
            std::string::npos)
      << ran.console;
  const bool arm64 = GetParam().arch == arch::Arch::Arm64;
  EXPECT_NE(ran.console.find(line("kvm", arm64 ? "ready      exact, " : "ready      audited, ")),
            std::string::npos)
      << ran.console;
  EXPECT_NE(ran.console.find("API 12; has "), std::string::npos) << ran.console;
  EXPECT_EQ(ran.console.find("with nested paging of AMD") == std::string::npos, arm64)
      << ran.console;
  EXPECT_EQ(ran.console.find("no /dev/kvm on this host"), std::string::npos) << ran.console;
  EXPECT_EQ(ran.console.find("software KVM"), std::string::npos) << ran.console;
  EXPECT_EQ(ran.outcome.files, std::vector<std::string>{});
}

struct StoreHost {
  const char* name;
  const char* cpu;
  unsigned cases;
  const char* skipped;
};

/// The emulator of stores (arch/arm64/stores.h) against the CPU, instruction by instruction.
class NestedStores : public testing::TestWithParam<StoreHost> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedStores,
    testing::Values(StoreHost{"Arm64Lse", "cortex-a76", 19000, "0 classes skipped"},
                    StoreHost{"Arm64NoLse", "cortex-a57", 13000,
                              "12 classes skipped for want of LSE atomics"}),
    [](const testing::TestParamInfo<StoreHost>& host) { return std::string(host.param.name); });

Ran run_oracle(const StoreHost& host, const std::string& name, std::vector<std::string> arguments) {
  HostPlan plan = bare_plan(arch::Arch::Arm64, host.cpu);
  plan.program = fs::path(SEALVISOR_BUILD_DIR) / "guest/arm64/store-oracle";
  plan.arguments = std::move(arguments);
  plan.out = fresh_folder(fmt::format("stores-{}-{}", name, host.name));
  Ran ran = run(std::move(plan));
  fmt::print("{}\n", ran.console);  // A count for each class.
  return ran;
}

TEST_P(NestedStores, AreEmulatedAsTheCpuDoesThem) {
  const Ran ran = run_oracle(GetParam(), "equal", {});
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, 0U) << ran.console;
  const std::string counts =
      fmt::format("{} cases compared, 0 differed, {}", GetParam().cases, GetParam().skipped);
  EXPECT_NE(ran.console.find(counts), std::string::npos) << ran.console;
}

TEST_P(NestedStores, EmulatedWronglyOnceInAHundredAreAllFound) {
  const Ran ran = run_oracle(GetParam(), "broken", {"--break", "100"});
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Exited) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, 1U) << ran.console;
  const std::string counts = fmt::format("{} cases compared, {} differed, {}", GetParam().cases,
                                         GetParam().cases / 100, GetParam().skipped);
  EXPECT_NE(ran.console.find(counts), std::string::npos) << ran.console;
}

class NestedStream : public testing::TestWithParam<Host> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedStream,
                         testing::Values(Host{"X86", arch::Arch::X86_64, ""},
                                         Host{"Arm64", arch::Arch::Arm64, ""}),
                         [](const testing::TestParamInfo<Host>& host) {
                           return std::string(host.param.name);
                         });

TEST_P(NestedStream, BringsFilesBack) {
  HostPlan plan = bare_plan(GetParam().arch, "");
  plan.program = trial(plan.arch);
  plan.arguments = {"files", "a word"};
  plan.environment = {"TRIAL=with spaces"};
  plan.out = fresh_folder(std::string("files-") + GetParam().name);
  const Ran ran = run(plan);
  EXPECT_EQ(ran.outcome.end.value, 7U) << ran.console;
  std::vector<std::string> files = ran.outcome.files;
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"folder/large", "words"}));
  EXPECT_EQ(fs::file_size(plan.out / "folder/large"), 5'000'000U);
  std::string words(fs::file_size(plan.out / "words"), '\0');
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen((plan.out / "words").c_str(), "rb"),
                                                   &std::fclose);
  ASSERT_EQ(std::fread(words.data(), 1, words.size(), file.get()), words.size());
  EXPECT_EQ(words, "a word|with spaces");
  EXPECT_NE(ran.console.find("/out/bad name is not sent"), std::string::npos) << ran.console;
}

TEST_P(NestedStream, KillsAProgramThatTakesTooLong) {
  HostPlan plan = bare_plan(GetParam().arch, "");
  plan.program = trial(plan.arch);
  plan.arguments = {"hang"};
  plan.deadline = std::chrono::seconds(2);
  plan.out = fresh_folder(std::string("hang-") + GetParam().name);
  const Ran ran = run(plan);
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Deadline) << ran.console;
  EXPECT_EQ(ran.outcome.files, std::vector<std::string>{"started"});
}

TEST_P(NestedStream, TellsOfASignal) {
  HostPlan plan = bare_plan(GetParam().arch, "");
  plan.program = trial(plan.arch);
  plan.arguments = {"abort"};
  plan.out = fresh_folder(std::string("abort-") + GetParam().name);
  const Ran ran = run(plan);
  EXPECT_EQ(ran.outcome.end.kind, FrameKind::Killed) << ran.console;
  EXPECT_EQ(ran.outcome.end.value, 6U);
}

TEST_P(NestedStream, NamesAHostThatEndsEarly) {
  HostPlan plan = bare_plan(GetParam().arch, "");
  plan.program = trial(plan.arch);
  plan.arguments = {"reset"};
  plan.out = fresh_folder(std::string("reset-") + GetParam().name);
  auto host = NestedHost::create(std::move(plan));
  ASSERT_TRUE(host) << host.error().message;
  const auto outcome = host.value().run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ExitCode::GuestFailed);
  EXPECT_NE(outcome.error().message.find("ended without sending all of its stream"),
            std::string::npos)
      << outcome.error().message;
  EXPECT_NE(outcome.error().message.find("resetting"), std::string::npos)
      << outcome.error().message;
}

TEST_P(NestedStream, RefusesAStreamThatIsNotOne) {
  HostPlan plan = bare_plan(GetParam().arch, "");
  plan.program = trial(plan.arch);
  plan.arguments = {"noise"};
  plan.out = fresh_folder(std::string("noise-") + GetParam().name);
  auto host = NestedHost::create(std::move(plan));
  ASSERT_TRUE(host) << host.error().message;
  const auto outcome = host.value().run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ExitCode::GuestFailed);
  EXPECT_EQ(outcome.error().message,
            "the emulated host's port: the stream does not begin with its magic");
}

}  // namespace
}  // namespace sealvisor::test
