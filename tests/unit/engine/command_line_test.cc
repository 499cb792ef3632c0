#include "vmm/engine/tcg/qemu/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace sealvisor::engine::tcg {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

EngineConfig config_for(arch::Arch arch) {
  EngineConfig config;
  config.arch = arch;
  config.kernel = "/k/vmlinux";
  config.initramfs = "/k/initramfs";
  config.plugin = "/lib/sealvisor-tcg.so";
  return config;
}

constexpr InheritedFds kFds{
    .ram = 11, .plugin_ram = 12, .ring = 13, .channel = 14, .console = 15, .qmp = 16};

std::vector<std::string> arguments_for(const EngineConfig& config) {
  const arch::Gpa base{config.arch == arch::Arch::Arm64 ? 0x40000000U : 0};
  return qemu_arguments(config, 256U << 20, base, kFds);
}

/// The argument after `option`, "(none)" if the option is not there exactly once.
std::string value_of(const std::vector<std::string>& arguments, const std::string& option) {
  if (std::count(arguments.begin(), arguments.end(), option) != 1) return "(none)";
  const auto found = std::find(arguments.begin(), arguments.end(), option);
  return found + 1 == arguments.end() ? "(none)" : *(found + 1);
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(CommandLine, ChoosesTheMachineByArchitecture) {
  const auto x86 = arguments_for(config_for(arch::Arch::X86_64));
  EXPECT_EQ(value_of(x86, "-M"), "microvm,acpi=off,rtc=on");
  EXPECT_EQ(value_of(x86, "-cpu"), "max,rdrand=off,rdseed=off,la57=off,erms=off,fsrm=off");
  const auto arm64 = arguments_for(config_for(arch::Arch::Arm64));
  EXPECT_EQ(value_of(arm64, "-M"), "virt,gic-version=3");
  EXPECT_EQ(value_of(arm64, "-cpu"), "cortex-a72");
}

TEST(CommandLine, MakesRunsRepeatable) {
  for (const arch::Arch arch : arch::kAllArchs) {
    const auto arguments = arguments_for(config_for(arch));
    EXPECT_EQ(value_of(arguments, "-accel"), "tcg,thread=single");
    EXPECT_EQ(value_of(arguments, "-icount"), "shift=0,sleep=off");
    EXPECT_EQ(value_of(arguments, "-rtc"), "base=2026-01-01,clock=vm");
    EXPECT_EQ(value_of(arguments, "-seed"), "1");
    EXPECT_EQ(value_of(arguments, "-smp"), "1");
    EXPECT_THAT(arguments, Contains("-nodefaults"));
    EXPECT_THAT(arguments, Contains("-no-user-config"));
    EXPECT_THAT(arguments, Contains("-no-reboot"));
  }
}

TEST(CommandLine, RunsTwoVcpusInTurn) {
  for (const arch::Arch arch : arch::kAllArchs) {
    EngineConfig config = config_for(arch);
    const std::string one = kernel_arguments(config);
    config.vcpus = 2;
    const auto arguments = arguments_for(config);
    EXPECT_EQ(value_of(arguments, "-smp"), "2");
    EXPECT_EQ(value_of(arguments, "-accel"), "tcg,thread=single") << "the plugin relies on it";
    EXPECT_EQ(value_of(arguments, "-icount"), "shift=0,sleep=off");
    const bool x86 = arch == arch::Arch::X86_64;
    EXPECT_THAT(words_of(one), Not(Contains("tsc=reliable")));
    EXPECT_EQ(kernel_arguments(config) != one, x86);
    if (x86) {
      EXPECT_THAT(words_of(kernel_arguments(config)), Contains("tsc=reliable"));
    }
  }
}

TEST(CommandLine, NeverAsksForAnotherAccelerator) {
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const std::string& argument : arguments_for(config_for(arch))) {
      EXPECT_THAT(argument, Not(HasSubstr("kvm")));
    }
  }
}

TEST(CommandLine, SharesTheMemoryFile) {
  const auto arguments = arguments_for(config_for(arch::Arch::X86_64));
  EXPECT_EQ(value_of(arguments, "-object"),
            "memory-backend-file,id=ram,size=268435456,mem-path=/proc/self/fd/11,share=on");
  EXPECT_EQ(value_of(arguments, "-machine"), "memory-backend=ram");
  EXPECT_EQ(value_of(arguments, "-m"), "256M");
}

TEST(CommandLine, ConnectsConsoleAndProtocolToInheritedSockets) {
  const auto arguments = arguments_for(config_for(arch::Arch::X86_64));
  EXPECT_THAT(arguments, Contains("socket,id=console,fd=15"));
  EXPECT_THAT(arguments, Contains("socket,id=qmp,fd=16"));
  EXPECT_EQ(value_of(arguments, "-serial"), "chardev:console");
  EXPECT_EQ(value_of(arguments, "-mon"), "chardev=qmp,mode=control");
  EXPECT_THAT(arguments, Contains("-S")) << "the guest must not run before we listen";
}

TEST(CommandLine, TellsThePluginEverythingItRequires) {
  const auto arguments = arguments_for(config_for(arch::Arch::Arm64));
  EXPECT_EQ(value_of(arguments, "-plugin"),
            "/lib/sealvisor-tcg.so,arch=arm64,ring-fd=13,channel-fd=14,ram-fd=12,"
            "ram-base=0x40000000,ram-size=0x10000000,doorbell=0xa000000,watch=on,witness=off");
}

TEST(CommandLine, PassesWatchAndWitnessOn) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  config.watch = false;
  config.witness = true;
  EXPECT_THAT(value_of(arguments_for(config), "-plugin"), HasSubstr("watch=off,witness=on"));
}

TEST(CommandLine, DropsAStoreOnlyWhenAskedTo) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  EXPECT_THAT(value_of(arguments_for(config), "-plugin"), Not(HasSubstr("drop=")));
  config.drop_store = 2000;
  EXPECT_THAT(value_of(arguments_for(config), "-plugin"), HasSubstr(",drop=2000"));
}

TEST(CommandLine, DoublesCommasInThePluginsPath) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  config.plugin = "/a,b/c.so";
  EXPECT_THAT(value_of(arguments_for(config), "-plugin"), HasSubstr("/a,,b/c.so,arch=x86_64"));
}

TEST(CommandLine, LetsTheGuestPlaceItselfBySeed) {
  for (const arch::Arch arch : arch::kAllArchs) {
    EngineConfig config = config_for(arch);
    config.random_layout = true;
    config.seed = 17;
    const auto arguments = arguments_for(config);
    EXPECT_EQ(value_of(arguments, "-seed"), "17");
    EXPECT_THAT(words_of(kernel_arguments(config)), Not(Contains("nokaslr")));
    EXPECT_THAT(words_of(kernel_arguments(config)), Not(Contains("norandmaps")));
  }
  EngineConfig config = config_for(arch::Arch::X86_64);
  config.random_layout = true;
  EXPECT_THAT(cpu_model(config), HasSubstr("rdrand=on"));
}

TEST(CommandLine, GivesTheCountingPluginItsTable) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  EXPECT_THAT(value_of(arguments_for(config), "-plugin"), Not(HasSubstr("count-fd")));
  config.count_bytes = 0x2000;
  InheritedFds fds = kFds;
  fds.count = 15;
  const auto arguments = qemu_arguments(config, 256U << 20, arch::Gpa{0}, fds);
  EXPECT_THAT(value_of(arguments, "-plugin"), HasSubstr(",count-fd=15,count-bytes=0x2000"));
}

TEST(CommandLine, LeavesThePluginOutWhenAskedTo) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  config.plugin_loaded = false;
  EXPECT_THAT(arguments_for(config), Not(Contains("-plugin")));
}

TEST(CommandLine, TakesAnotherCpuModel) {
  EngineConfig config = config_for(arch::Arch::Arm64);
  config.cpu_model = "neoverse-n1";
  EXPECT_EQ(value_of(arguments_for(config), "-cpu"), "neoverse-n1");
  EXPECT_EQ(cpu_model(config), "neoverse-n1");
}

TEST(KernelArguments, HoldWhatTheEngineNeeds) {
  const auto x86 = words_of(kernel_arguments(config_for(arch::Arch::X86_64)));
  for (const char* word :
       {"console=ttyS0", "nokaslr", "norandmaps", "tsc_early_khz=1000000", "nolapic_timer",
        "clocksource=tsc", "panic=-1", "reboot=t", "sealvisor.doorbell=0xfeb00000"}) {
    EXPECT_THAT(x86, Contains(word));
  }
  const auto arm64 = words_of(kernel_arguments(config_for(arch::Arch::Arm64)));
  for (const char* word :
       {"console=ttyAMA0", "nokaslr", "norandmaps", "panic=-1", "sealvisor.doorbell=0xa000000"}) {
    EXPECT_THAT(arm64, Contains(word));
  }
  EXPECT_THAT(arm64, Not(Contains("tsc_early_khz=1000000")));
}

TEST(KernelArguments, EndWithTheCallers) {
  EngineConfig config = config_for(arch::Arch::X86_64);
  config.kernel_arguments = "vdso32=1 loglevel=7";
  const std::string text = kernel_arguments(config);
  EXPECT_TRUE(text.ends_with(" vdso32=1 loglevel=7")) << text;
  const auto arguments = arguments_for(config);
  EXPECT_EQ(value_of(arguments, "-append"), text);
  EXPECT_EQ(value_of(arguments, "-kernel"), "/k/vmlinux");
  EXPECT_EQ(value_of(arguments, "-initrd"), "/k/initramfs");
}

TEST(Doorbell, IsAPageOutsideOfRam) {
  for (const arch::Arch arch : arch::kAllArchs) {
    EXPECT_EQ(doorbell_of(arch).value % arch::kPageSize, 0U);
  }
  EXPECT_GE(doorbell_of(arch::Arch::X86_64).value, std::uint64_t{2048} << 20);
  EXPECT_LT(doorbell_of(arch::Arch::Arm64).value, std::uint64_t{1} << 30);
}

}  // namespace
}  // namespace sealvisor::engine::tcg
