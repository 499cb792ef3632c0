// What the VMM tells the plugin on QEMU's command line: `-plugin FILE,key=value,...`.
#pragma once

#include <cstdint>
#include <string>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::engine::tcg {

/// All are required except where noted. File descriptors are inherited; the plugin owns them.
struct PluginOptions {
  arch::Arch arch = arch::Arch::X86_64;  ///< arch=x86_64|arm64; must be the target's.
  int ring_fd = -1;                      ///< ring-fd=N: the ring's memory file.
  int channel_fd = -1;                   ///< channel-fd=N: wake-ups and waits.
  int ram_fd = -1;                       ///< ram-fd=N: guest RAM.
  std::uint64_t ram_base = 0;            ///< ram-base=0x..: gpa of its first byte.
  std::uint64_t ram_size = 0;            ///< ram-size=0x..: bytes.
  std::uint64_t doorbell = 0;            ///< doorbell=0x..: gpa of the doorbell page.
  unsigned vcpus = 1;                    ///< No word: what QEMU has.
  bool watch = true;                     ///< watch=off: count only (the benchmark's middle step).
  bool witness = false;                  ///< witness=on: audit mode, second witness of each store.
  bool stacks = false;                   ///< stacks=on: a StackCopy before each store that counts.
  /// drop=N: the first store from instruction N of the run on (event::Event::icount) that changes a
  /// watched frame is taken as one that had no callback: not reported, not followed, not told to
  /// the witness. 0: none. A negative control: it must be found out.
  std::uint64_t drop = 0;
  int count_fd = -1;              ///< count-fd=N: of the counting plugin, its table of places.
  std::uint64_t count_bytes = 0;  ///< count-bytes=0x..: bytes of that.
};

/// Reads `key=value` words. Errors name the word (exit code Usage).
[[nodiscard]] Result<PluginOptions> parse_plugin_options(int argc, char** argv);

}  // namespace sealvisor::engine::tcg
