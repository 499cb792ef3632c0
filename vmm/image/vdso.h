// Recognising a vdso by its content. A cross-check only: user space can copy bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sealvisor::image {

/// The DT_SONAME of an ELF file in memory (32- or 64-bit); nullopt if `bytes` is no ELF file, is
/// cut short, or has none. `bytes` comes from the guest: anything goes.
[[nodiscard]] std::optional<std::string> elf_soname(std::span<const std::byte> bytes);

/// A function that an ELF file in memory exports: its dynamic symbol.
struct ExportedFunction {
  std::uint64_t offset = 0;  ///< Of its code. A vdso is linked at 0: its address is its offset.
  std::uint64_t bytes = 0;
  std::string name;
};
/// Those of a 64-bit file, by offset, each place once: of several names (a weak one beside the
/// kernel's own, which begins with two underscores) the first by name. Empty if `bytes` is no ELF
/// file or has none; what makes no sense is left out. `bytes` comes from the guest.
[[nodiscard]] std::vector<ExportedFunction> exported_functions(std::span<const std::byte> bytes);

/// Whether `soname` is one that Linux gives to a vdso: exactly, for user space can name a library
/// nearly so. Source: the -soname of arch/x86/entry/vdso/Makefile (64-bit, x32: linux-vdso.so.1;
/// 32-bit: linux-gate.so.1) and of arch/arm64/kernel/vdso/Makefile and vdso32/Makefile
/// (linux-vdso.so.1).
[[nodiscard]] bool is_vdso_soname(std::string_view soname);

}  // namespace sealvisor::image
