// Recognising a vdso by its content. A cross-check only: user space can copy bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace sealvisor::image {

/// The DT_SONAME of an ELF file in memory (32- or 64-bit); nullopt if `bytes` is no ELF file, is
/// cut short, or has none. `bytes` comes from the guest: anything goes.
[[nodiscard]] std::optional<std::string> elf_soname(std::span<const std::byte> bytes);

}  // namespace sealvisor::image
