#include "vmm/engine/tcg/qemu/command_line.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::tcg {

namespace {

/// QEMU reads a comma in an option's value as the end of it, unless it is doubled.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    out += c;
    if (c == ',') out += c;
  }
  return out;
}

const char* on_off(bool value) { return value ? "on" : "off"; }

}  // namespace

const char* program_of(arch::Arch arch) {
  return arch == arch::Arch::Arm64 ? "qemu-system-aarch64" : "qemu-system-x86_64";
}

std::string cpu_model(const EngineConfig& config) {
  if (!config.cpu_model.empty()) return config.cpu_model;
  // rdrand, rdseed: random to the guest; by the seed, as it happens, and then x86-64 has nothing
  // else to draw a layout from. la57: 4 levels unless asked for. erms, fsrm: with them Linux clears
  // and copies pages byte by byte (`rep stosb`), each byte a store to report.
  if (config.arch == arch::Arch::Arm64) return "cortex-a72";
  return fmt::format("max,rdrand={},rdseed=off,la57=off,erms=off,fsrm=off",
                     on_off(config.random_layout));
}

std::string kernel_arguments(const EngineConfig& config) {
  // nokaslr, norandmaps: the same addresses in each run, unless they are to be random. panic=-1 and
  // reboot=t end the guest at once, which -no-reboot turns into the end of QEMU. x86-64: under
  // icount the TSC runs at exactly 1 GHz, and the microvm machine has nothing to calibrate it with.
  // Without the words on timers a run takes five times as long and more. svm_init claims an AMD
  // feature that no guest here uses; leaving it out shortens the boot.
  const char* layout = config.random_layout ? "" : " nokaslr norandmaps";
  std::string words =
      config.arch == arch::Arch::Arm64
          ? fmt::format("console=ttyAMA0{} panic=-1 printk.devkmsg=on quiet", layout)
          : fmt::format(
                "console=ttyS0{} tsc_early_khz=1000000 nolapic_timer clocksource=tsc "
                "initcall_blacklist=svm_init panic=-1 printk.devkmsg=on quiet reboot=t",
                layout);
  // Two vCPUs have one clock, the count of instructions: no need to measure how far their TSCs are
  // apart (Documentation/admin-guide/kernel-parameters.txt, tsc=).
  if (config.arch == arch::Arch::X86_64 && config.vcpus > 1) words += " tsc=reliable";
  words += fmt::format(" sealvisor.doorbell={:#x}", doorbell_of(config.arch).value);
  if (!config.kernel_arguments.empty()) words += " " + config.kernel_arguments;
  return words;
}

std::vector<std::string> qemu_arguments(const EngineConfig& config, std::uint64_t memory_bytes,
                                        arch::Gpa ram_base, const InheritedFds& fds) {
  const bool arm64 = config.arch == arch::Arch::Arm64;
  std::vector<std::string> arguments;
  const auto add = [&arguments](const char* option, std::string value) {
    arguments.emplace_back(option);
    arguments.push_back(std::move(value));
  };
  add("-M", arm64 ? "virt,gic-version=3" : "microvm,acpi=off,rtc=on");
  add("-cpu", cpu_model(config));
  // One thread and a clock that counts instructions: two runs are the same to the instruction. The
  // monitor relies on the one thread: several vCPUs run in turn, and while it waits none does.
  add("-accel", "tcg,thread=single");
  add("-icount", "shift=0,sleep=off");
  add("-rtc", "base=2026-01-01,clock=vm");
  add("-seed", std::to_string(config.seed));
  add("-smp", std::to_string(config.vcpus));
  add("-m", fmt::format("{}M", memory_bytes >> 20));
  add("-object",
      fmt::format("memory-backend-file,id=ram,size={},mem-path=/proc/self/fd/{},share=on",
                  memory_bytes, fds.ram));
  add("-machine", "memory-backend=ram");
  // Waits for QMP `cont`, so nothing runs before we listen.
  for (const char* word : {"-S", "-no-reboot", "-nodefaults", "-no-user-config"}) {
    arguments.emplace_back(word);
  }
  add("-display", "none");
  add("-chardev", fmt::format("socket,id=console,fd={}", fds.console));
  add("-serial", "chardev:console");
  add("-chardev", fmt::format("socket,id=qmp,fd={}", fds.qmp));
  add("-mon", "chardev=qmp,mode=control");
  // What a plugin says goes to the log; without this word it would be dropped.
  add("-d", "plugin");
  add("-kernel", config.kernel.string());
  add("-initrd", config.initramfs.string());
  add("-append", kernel_arguments(config));
  if (config.plugin_loaded) {
    std::string plugin = fmt::format(
        "{},arch={},ring-fd={},channel-fd={},ram-fd={},ram-base={:#x},ram-size={:#x},"
        "doorbell={:#x},watch={},witness={}",
        escaped(config.plugin.string()), arch::name_of(config.arch), fds.ring, fds.channel,
        fds.plugin_ram, ram_base.value, memory_bytes, doorbell_of(config.arch).value,
        on_off(config.watch), on_off(config.witness));
    if (fds.count >= 0) {
      plugin += fmt::format(",count-fd={},count-bytes={:#x}", fds.count, config.count_bytes);
    }
    if (config.stacks) plugin += ",stacks=on";
    if (config.drop_store != 0) plugin += fmt::format(",drop={}", config.drop_store);
    add("-plugin", std::move(plugin));
  }
  return arguments;
}

}  // namespace sealvisor::engine::tcg
