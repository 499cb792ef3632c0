#include "vmm/engine/nested/command_line.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::nested {

std::string default_cpu_model(arch::Arch arch) {
  return arch == arch::Arch::Arm64 ? "cortex-a76" : "EPYC-v4,+svm";
}

std::uint64_t emulated_tsc_khz() {
#if defined(__x86_64__)
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const std::uint64_t first = __rdtsc();
  auto spent = Clock::duration::zero();
  while (spent < std::chrono::milliseconds(10)) spent = Clock::now() - start;
  const std::uint64_t ticks = __rdtsc() - first;
  const auto microseconds = std::chrono::duration<double, std::micro>(spent).count();
  return static_cast<std::uint64_t>(static_cast<double>(ticks) * 1000.0 / microseconds);
#else
  return 1'000'000;
#endif
}

std::string kernel_arguments(const MachinePlan& plan) {
  // panic=-1 and reboot=t end the machine at once, which -no-reboot turns into the end of QEMU.
  std::string words = "panic=-1 printk.devkmsg=on quiet";
  if (plan.arch == arch::Arch::Arm64) {
    words += " console=ttyAMA0";
  } else {
    // Without a rate that it can rely on Linux often finds none, and KVM then never enters a guest.
    words += fmt::format(" console=ttyS0 reboot=t tsc_early_khz={} tsc=reliable", plan.tsc_khz);
  }
  if (!plan.kernel_arguments.empty()) words += " " + plan.kernel_arguments;
  return words;
}

std::vector<std::string> qemu_arguments(const MachinePlan& plan, int console_fd, int port_fd) {
  std::vector<std::string> arguments;
  const auto add = [&arguments](const char* option, std::string value) {
    arguments.emplace_back(option);
    arguments.push_back(std::move(value));
  };
  add("-M", plan.arch == arch::Arch::Arm64
                ? fmt::format("virt,gic-version={},virtualization=on", plan.gic_version)
                : "microvm,acpi=off,rtc=on");
  add("-cpu", plan.cpu_model.empty() ? default_cpu_model(plan.arch) : plan.cpu_model);
  add("-accel", "tcg");
  add("-smp", "1");
  add("-m", fmt::format("{}M", plan.memory_bytes >> 20));
  for (const char* word : {"-no-reboot", "-nodefaults", "-no-user-config"}) {
    arguments.emplace_back(word);
  }
  add("-display", "none");
  add("-chardev", fmt::format("socket,id=console,fd={}", console_fd));
  add("-serial", "chardev:console");
  add("-device", "virtio-serial-device");
  add("-chardev", fmt::format("socket,id=port,fd={}", port_fd));
  add("-device", "virtserialport,chardev=port,nr=1,name=sealvisor.out");
  add("-kernel", plan.kernel.string());
  add("-initrd", plan.initramfs.string());
  add("-append", kernel_arguments(plan));
  return arguments;
}

}  // namespace sealvisor::engine::nested
