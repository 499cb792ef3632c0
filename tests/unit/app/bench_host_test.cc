#include "vmm/app/bench_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"
#include "vmm/base/cpus.h"

namespace sealvisor::app {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kX86 =
    "processor\t: 0\nvendor_id\t: X\nmodel\t\t: 7\nmodel name\t: Big CPU @ 3.00GHz\n\n"
    "processor\t: 1\nmodel name\t: Other CPU\n\n";
constexpr const char* kArm =
    "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x1\nCPU part\t: 0xd05\nCPU revision\t: 0\n\n"
    "processor\t: 1\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
    "CPU part\t: 0xd0b\nCPU revision\t: 1\n\n";

TEST(CpuModel, IsOfTheCpuThatRunsTheGuests) {
  EXPECT_EQ(cpu_model_of(kX86, std::nullopt, "board"), "Big CPU @ 3.00GHz");
  EXPECT_EQ(cpu_model_of(kX86, 1, "board"), "Other CPU");
  // Big and little ones of one machine are two models.
  EXPECT_EQ(cpu_model_of(kArm, 0, "A Board"),
            "A Board, implementer 0x41, part 0xd05, variant 0x1, revision 0");
  EXPECT_EQ(cpu_model_of(kArm, 1, ""), "implementer 0x41, part 0xd0b, variant 0x4, revision 1");
  EXPECT_EQ(cpu_model_of(kArm, 7, ""), cpu_model_of(kArm, 0, "")) << "no such block";
  EXPECT_EQ(cpu_model_of("", 0, "board"), "unknown");
}

TEST(VirtualHost, IsFoundByWhatItShows) {
  EXPECT_EQ(virtual_host_of({}), "");
  struct Case {
    VirtualSigns signs;
    const char* says;
  };
  const std::vector<Case> cases = {
      {{.cpu_flag = true, .signature = "TCGTCGTCGTCG"}, "QEMU's TCG, an emulated CPU"},
      {{.cpu_flag = true, .signature = "KVMKVMKVM"}, "KVM"},
      {{.cpu_flag = true, .signature = "Microsoft Hv"}, "Hyper-V"},
      {{.cpu_flag = true, .signature = "Own Monitor"}, "calls itself 'Own Monitor'"},
      {{.cpu_flag = true}, "by its CPU flag"},
      {{.hypervisor_type = "xen"}, "of type xen"},
      {{.dmi = {"QEMU", "Standard PC"}}, "by its maker (QEMU)"},
      {{.dmi = {"Dell Inc.", "VMware7,1"}}, "VMware7,1"},
      {{.dmi = {"Amazon EC2", "m6g.large"}}, "Amazon EC2"},
      {{.tree = {"linux,dummy-virt"}}, "virtual board"},
      {{.tree = {"acme,board", "linux,kvm"}}, "device tree (linux,kvm)"},
      {{.fw_cfg = true}, "QEMU, by its device tree"}};
  for (const Case& one : cases) {
    EXPECT_THAT(virtual_host_of(one.signs), HasSubstr(one.says)) << one.says;
  }
  EXPECT_EQ(virtual_host_of({.dmi = {"Dell Inc.", "PowerEdge"}, .tree = {"raspberrypi,4"}}), "");
  EXPECT_EQ(virtual_host_of({.dmi = {"Amazon EC2", "c6g.metal"}}), "") << "the machine itself";
  EXPECT_EQ(virtual_host_of({.signature = "TCGTCGTCGTCG"}), "") << "without the flag it is noise";
}

TEST(VirtualHost, SignsAreReadFromTheHostsFiles) {
  const Temporary root;
  root.file("proc/cpuinfo", "processor : 0\nflags : fpu\n");
  EXPECT_EQ(virtual_host_of(gather_virtual_signs(root.path())), "");
  root.file("proc/device-tree/compatible", std::string("acme,board\0linux,dummy-virt\0", 28));
  root.file("proc/device-tree/fw-cfg@9020000/reg", "");
  root.file("sys/class/dmi/id/sys_vendor", "QEMU\n");
  const VirtualSigns signs = gather_virtual_signs(root.path());
  EXPECT_THAT(signs.tree, testing::ElementsAre("acme,board", "linux,dummy-virt"));
  EXPECT_TRUE(signs.fw_cfg);
  EXPECT_THAT(signs.dmi, testing::ElementsAre("QEMU"));
  EXPECT_FALSE(signs.cpu_flag);
  root.file("proc/cpuinfo", "processor : 0\nflags : fpu hypervisor\n");
  EXPECT_TRUE(gather_virtual_signs(root.path()).cpu_flag);
}

TEST(ChosenCpu, IsTheOneAskedForOrAnIsolatedOneOrTheLast) {
  const std::vector<unsigned> allowed = {0, 1, 5};
  const std::vector<unsigned> isolated = {2, 3};
  EXPECT_EQ(choose_cpu(1, isolated, allowed), 1U);
  EXPECT_EQ(choose_cpu(std::nullopt, isolated, allowed), 3U);
  EXPECT_EQ(choose_cpu(std::nullopt, {}, allowed), 5U);
}

TEST(ChosenCpu, IsDescribed) {
  const Temporary sys;
  EXPECT_EQ(describe_cpu(4, sys.path()).cpu, 4U);
  EXPECT_FALSE(describe_cpu(4, sys.path()).isolated);
  EXPECT_EQ(describe_cpu(4, sys.path()).governor, "");
  sys.file("devices/system/cpu/isolated", "2-4\n");
  sys.file("devices/system/cpu/cpu4/cpufreq/scaling_governor", "schedutil\n");
  sys.file("devices/system/cpu/cpu4/topology/thread_siblings_list", "4,12\n");
  const bench::PinnedCpu pinned = describe_cpu(4, sys.path());
  EXPECT_TRUE(pinned.isolated);
  EXPECT_EQ(pinned.governor, "schedutil");
  EXPECT_EQ(pinned.siblings, "12");
  EXPECT_FALSE(describe_cpu(5, sys.path()).isolated);
}

TEST(ChosenCpu, ThatCanNotBeHadIsNamedWithThoseThatCan) {
  const auto pinned = pin_on_this_host(kMostCpus - 1);
  ASSERT_FALSE(pinned.ok());
  EXPECT_EQ(pinned.error().code, ExitCode::HostLacks);
  EXPECT_THAT(pinned.error().message, HasSubstr("CPU 8191"));
  EXPECT_THAT(pinned.error().message,
              HasSubstr("--pin names another one, of " + cpu_list_text(allowed_cpus().value())));
  EXPECT_TRUE(pin_on_this_host(std::nullopt).ok());
}

}  // namespace
}  // namespace sealvisor::app
