// What both plugins do when QEMU installs them, and with each store that may ring the doorbell.
#pragma once

#include <cstdint>
#include <string>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/engine/tcg/plugin/channel.h"
#include "vmm/engine/tcg/plugin/options.h"
#include "vmm/engine/tcg/plugin/qemu_api.h"

namespace sealvisor::engine::tcg {

/// Says why the plugin can't be installed. What QEMU is to be answered then.
[[nodiscard]] int refuse(const std::string& message);

/// The options, which must fit this QEMU: its target, and `most_vcpus`. Errors say what does not.
/// That several vCPUs run in turn, on one thread, QEMU does not tell: who starts it sees to that
/// (`-accel tcg,thread=single`).
[[nodiscard]] Result<PluginOptions> options_for(const qemu_info_t& info, int argc, char** argv,
                                                unsigned most_vcpus);

/// The ring and the socket of `options`, which are the channel's from then on. Errors: not to be
/// mapped, of another version of sealvisor.
[[nodiscard]] Result<Channel> open_channel(const PluginOptions& options);

/// Whether `vaddr` is in the half of addresses that user mode has: bit 63 on x86-64 (canonical
/// addresses), bit 55 on arm64 (which root translates it).
[[nodiscard]] inline bool is_user_address(arch::Arch arch, std::uint64_t vaddr) {
  return arch == arch::Arch::X86_64 ? (vaddr >> 63) == 0 : ((vaddr >> 55) & 1) == 0;
}

/// What a store of 4 or 8 bytes stored; 0 for any other.
[[nodiscard]] std::uint64_t stored_word(qemu_plugin_meminfo_t info);

}  // namespace sealvisor::engine::tcg
