// Guests of a few instructions, each of which goes wrong in one way, and what is to come of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vmm/engine/engine.h"

namespace sealvisor::test {

/// What `Guest::image` makes of the machine once it has written '!' to its console.
struct Guest {
  const char* name = "";
  std::span<const std::byte> code{};
  /// How it ends by itself; nothing: only a request ends it.
  std::optional<engine::End> end{};
  const char* words = "";    ///< Of the outcome's text; of a guest that is stopped: none.
  int boot_code = 4;         ///< Exit code of `sealvisor boot`.
  const char* finding = "";  ///< Words in the JSON report of `verify` beside how it ended.
  /// False: not in `boot`, which neither watches nor counts what the guest writes.
  bool ends_in_boot = true;
  bool in_verify = true;  ///< False: takes too long there (a limit that a library call can set).
};

/// All of them for this host's architecture.
[[nodiscard]] std::span<const Guest> guests();
/// The one of this name.
[[nodiscard]] const Guest& guest_named(const char* name);
/// The kernel image that has `code` at its entry: x86-64 an ELF file with a PVH note, arm64 an
/// Image. It asks for `memory_bytes`, or as many as it has.
[[nodiscard]] std::string image_of(std::span<const std::byte> code, std::uint64_t memory_bytes = 0);

enum class TooLarge : unsigned char { Kernel, Initramfs };
/// Writes both files, one of them too large for 64 MiB of memory.
void write_too_large(const char* kernel, const char* initramfs, TooLarge which);
/// What is said of them.
extern const char* const kKernelTooLarge;
extern const char* const kInitramfsTooLarge;

}  // namespace sealvisor::test
