#include "vmm/engine/nested/nested_host.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmm/engine/nested/command_line.h"

namespace sealvisor::engine::nested {
namespace {

MachinePlan machine(arch::Arch arch) {
  MachinePlan plan;
  plan.arch = arch;
  plan.memory_bytes = 512ULL << 20;
  plan.kernel = "/k";
  plan.initramfs = "/i";
  plan.tsc_khz = 2'500'000;
  return plan;
}

TEST(NestedCommandLine, X86) {
  EXPECT_EQ(qemu_arguments(machine(arch::Arch::X86_64), 5, 6),
            (std::vector<std::string>{
                "-M",
                "microvm,acpi=off,rtc=on",
                "-cpu",
                "EPYC-v4,+svm",
                "-accel",
                "tcg",
                "-smp",
                "1",
                "-m",
                "512M",
                "-no-reboot",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-chardev",
                "socket,id=console,fd=5",
                "-serial",
                "chardev:console",
                "-device",
                "virtio-serial-device",
                "-chardev",
                "socket,id=port,fd=6",
                "-device",
                "virtserialport,chardev=port,nr=1,name=sealvisor.out",
                "-kernel",
                "/k",
                "-initrd",
                "/i",
                "-append",
                "panic=-1 printk.devkmsg=on quiet console=ttyS0 reboot=t tsc_early_khz=2500000 "
                "tsc=reliable"}));
}

TEST(NestedCommandLine, Arm64WithWishes) {
  MachinePlan plan = machine(arch::Arch::Arm64);
  plan.cpu_model = "cortex-a57";
  plan.kernel_arguments = "loglevel=7";
  const auto arguments = qemu_arguments(plan, 3, 4);
  EXPECT_EQ(arguments[1], "virt,gic-version=3,virtualization=on");
  plan.gic_version = 2;
  EXPECT_EQ(qemu_arguments(plan, 3, 4)[1], "virt,gic-version=2,virtualization=on");
  EXPECT_EQ(arguments[3], "cortex-a57");
  EXPECT_EQ(kernel_arguments(plan), "panic=-1 printk.devkmsg=on quiet console=ttyAMA0 loglevel=7");
  EXPECT_EQ(arguments.back(), kernel_arguments(plan));
}

TEST(NestedCommandLine, MeasuresARateThatACpuCanHave) {
  const std::uint64_t khz = emulated_tsc_khz();
  EXPECT_GT(khz, 500'000U);
  EXPECT_LT(khz, 10'000'000U);
}

/// A plan whose files are all there, whatever they are.
HostPlan plan() {
  HostPlan plan;
  plan.kernel = "/proc/self/exe";
  plan.init = "/proc/self/exe";
  plan.program = "/proc/self/exe";
  plan.out = "/tmp";
  return plan;
}

std::string refusal(HostPlan plan, ExitCode code) {
  const auto host = NestedHost::create(std::move(plan));
  if (host) return "";
  EXPECT_EQ(host.error().code, code);
  return host.error().message;
}

TEST(NestedHost, RefusesBadPlansByName) {
  HostPlan bad = plan();
  bad.memory_bytes = 64ULL << 20;
  EXPECT_EQ(refusal(bad, ExitCode::Usage),
            "an emulated host of 67108864 bytes, expected whole MiB from 128 to 2048");
  bad = plan();
  bad.memory_bytes += 1;
  EXPECT_EQ(refusal(bad, ExitCode::Usage),
            "an emulated host of 536870913 bytes, expected whole MiB from 128 to 2048");
  bad = plan();
  bad.deadline = std::chrono::milliseconds(0);
  EXPECT_EQ(refusal(bad, ExitCode::Usage), "a deadline of 0 ms, expected 1 to 3600000");
  bad = plan();
  bad.gic_version = 4;
  EXPECT_EQ(refusal(bad, ExitCode::Usage), "a GICv4, expected version 2 or 3");
  bad = plan();
  bad.out.clear();
  EXPECT_EQ(refusal(bad, ExitCode::Usage), "no folder for the files of the host");
}

TEST(NestedHost, NamesWhatIsNotBuilt) {
  HostPlan bad = plan();
  bad.kernel = "/nowhere/vmlinux";
  EXPECT_EQ(refusal(bad, ExitCode::HostLacks),
            "the emulated host's kernel '/nowhere/vmlinux': No such file or directory; "
            "`sealvisor kernel build host x86_64` builds it");
  bad = plan();
  bad.arch = arch::Arch::Arm64;
  bad.program = "/nowhere/sealvisor";
  EXPECT_EQ(refusal(bad, ExitCode::HostLacks),
            "the program for the emulated host '/nowhere/sealvisor': No such file or directory; "
            "tests/nested/build-program arm64 builds it");
  const auto kernel = host_kernel("/nowhere", arch::Arch::Arm64);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().message,
            "the emulated host's kernel '/nowhere/Image': No such file or directory; "
            "`sealvisor kernel build host arm64` builds it");
}

TEST(NestedHost, RefusesArgumentsThatAreNotLines) {
  HostPlan bad = plan();
  bad.arguments = {"one\ntwo"};
  auto host = NestedHost::create(std::move(bad));
  ASSERT_TRUE(host) << host.error().message;
  const auto outcome = host.value().run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ExitCode::Usage);
  EXPECT_EQ(outcome.error().message, "argument 'one\ntwo' has a line break or a zero byte in it");
}

}  // namespace
}  // namespace sealvisor::engine::nested
