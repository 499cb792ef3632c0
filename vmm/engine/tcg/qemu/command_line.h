// QEMU's command line, as a pure function of what to run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/address.h"
#include "vmm/engine/engine.h"

namespace sealvisor::engine::tcg {

/// "qemu-system-x86_64" or "qemu-system-aarch64".
[[nodiscard]] const char* program_of(arch::Arch arch);

/// The value of -cpu: what `config` asks for, else the default of the architecture. The defaults
/// leave out what the monitor can't see or what differs from run to run: x86-64 without the
/// processor's random numbers, unless the layout is to be random, and with 4-level paging; an arm64
/// model without MOPS, and without hardware updates of the access and dirty bits.
[[nodiscard]] std::string cpu_model(const EngineConfig& config);

/// Arguments for the guest's kernel: those that the engine needs, then config.kernel_arguments.
[[nodiscard]] std::string kernel_arguments(const EngineConfig& config);

/// Descriptors that QEMU inherits, by number. The plugin's are unused without a plugin.
struct InheritedFds {
  int ram = -1;         ///< Opened by QEMU through /proc/self/fd.
  int plugin_ram = -1;  ///< The same memory; the plugin closes it when it has mapped it.
  int ring = -1;
  int channel = -1;
  int count = -1;  ///< The counting plugin's table.
  int console = -1;
  int qmp = -1;
};

/// All arguments after the program's name. `memory_bytes` of RAM begin at `ram_base`.
[[nodiscard]] std::vector<std::string> qemu_arguments(const EngineConfig& config,
                                                      std::uint64_t memory_bytes,
                                                      arch::Gpa ram_base, const InheritedFds& fds);

}  // namespace sealvisor::engine::tcg
