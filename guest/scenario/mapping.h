// The system mappings that cells are made for. One that a guest does not have is skipped by the
// agent (CellEnd says so). Those that a guest has and that are not in this list are reported by the
// monitor, which finds them by itself (vmm/run/announcements.h).
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "arch/arch.h"

namespace sealvisor::scenario {

/// Behind the name in smaps, in reports and messages: of a 32-bit process.
inline constexpr std::string_view kCompatSuffix = " (32-bit)";

struct Mapping {
  std::string_view name;        ///< As in reports: "[vdso] (32-bit)".
  std::string_view smaps_name;  ///< As smaps has it: "[vdso]".
  bool compat = false;          ///< Of a 32-bit process.
  bool by_default = false;      ///< Has cells when nothing is asked for.
  std::optional<arch::Arch> only{};
};

inline constexpr auto kMappings = std::to_array<Mapping>({
    {"[vdso]", "[vdso]", false, true},
    {"[vvar]", "[vvar]", false, true},
    {"[vvar_vclock]", "[vvar_vclock]", false, true},
    {"[uprobes]", "[uprobes]"},
    {"[vdso] (32-bit)", "[vdso]", true},
    {"[vvar] (32-bit)", "[vvar]", true},
    {"[vvar_vclock] (32-bit)", "[vvar_vclock]", true, false, arch::Arch::X86_64},
    {"[vectors] (32-bit)", "[vectors]", true, false, arch::Arch::Arm64},
    {"[sigpage] (32-bit)", "[sigpage]", true, false, arch::Arch::Arm64},
});

/// The mapping whose name in smaps is `name`, of a 32-bit process or not; nullptr if none is.
[[nodiscard]] constexpr const Mapping* find_mapping(std::string_view smaps_name, bool compat) {
  for (const Mapping& mapping : kMappings) {
    if (mapping.smaps_name == smaps_name && mapping.compat == compat) return &mapping;
  }
  return nullptr;
}
/// The same by its name in reports.
[[nodiscard]] constexpr const Mapping* mapping_named(std::string_view name) {
  for (const Mapping& mapping : kMappings) {
    if (mapping.name == name) return &mapping;
  }
  return nullptr;
}

}  // namespace sealvisor::scenario
