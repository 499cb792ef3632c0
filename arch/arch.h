// The architectures that sealvisor verifies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sealvisor::arch {

enum class Arch : std::uint8_t { X86_64, Arm64 };

inline constexpr std::array<Arch, 2> kAllArchs = {Arch::X86_64, Arch::Arm64};

/// "x86_64" or "arm64": the one spelling in commands, reports and paths.
[[nodiscard]] constexpr const char* name_of(Arch arch) {
  return arch == Arch::X86_64 ? "x86_64" : "arm64";
}

/// The architecture called `name`; nullopt if there is none.
[[nodiscard]] constexpr std::optional<Arch> parse_arch(std::string_view name) {
  for (const Arch arch : kAllArchs) {
    if (name == name_of(arch)) return arch;
  }
  return std::nullopt;
}

}  // namespace sealvisor::arch
