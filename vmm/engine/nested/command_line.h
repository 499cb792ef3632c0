// QEMU's command line for an emulated host, as a pure function of what to run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "arch/arch.h"

namespace sealvisor::engine::nested {

/// A machine that can run KVM guests without the real host having hardware virtualisation.
struct MachinePlan {
  arch::Arch arch = arch::Arch::X86_64;
  std::string cpu_model;           ///< Empty: default_cpu_model().
  unsigned gic_version = 3;        ///< Of the interrupt controller, 2 or 3; arm64 only.
  std::uint64_t memory_bytes = 0;  ///< A whole number of MiB.
  std::filesystem::path kernel;    ///< x86-64: vmlinux (PVH) or bzImage. arm64: Image.
  std::filesystem::path initramfs;
  std::uint64_t tsc_khz = 0;     ///< What an emulated TSC counts; x86-64 only.
  std::string kernel_arguments;  ///< After those that the machine needs.
};

/// x86-64: "EPYC-v4,+svm", for QEMU emulates AMD's virtualisation only. arm64: "cortex-a76", on
/// which KVM runs as VHE; "cortex-a57" gives nVHE, and a CPU without LSE atomics.
[[nodiscard]] std::string default_cpu_model(arch::Arch arch);

/// The rate of the TSC that QEMU shows on this machine without icount, in kHz: that of the real one
/// (include/qemu/timer.h, cpu_get_host_ticks; measured, takes 10 ms), 1 GHz where there is none.
[[nodiscard]] std::uint64_t emulated_tsc_khz();

/// The kernel's arguments.
[[nodiscard]] std::string kernel_arguments(const MachinePlan& plan);

/// All arguments after the program's name. `console_fd` and `port_fd` are sockets that QEMU
/// inherits.
[[nodiscard]] std::vector<std::string> qemu_arguments(const MachinePlan& plan, int console_fd,
                                                      int port_fd);

}  // namespace sealvisor::engine::nested
