// Reading /proc/kallsyms. Pure: fed line by line, opens nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "guest/agent/hex.h"

namespace sealvisor::agent {

/// The address of the kernel's own symbol `name` if `line` is about it: "<address> <type> <name>",
/// what belongs to a module has a tab and more behind it (kernel/kallsyms.c, s_show). 0 is what
/// the kernel shows to those who must not know.
[[nodiscard]] constexpr std::optional<std::uint64_t> kallsyms_address(std::string_view line,
                                                                      std::string_view name) {
  std::uint64_t address = 0;
  if (!cut_hex(line, ' ', address) || line.size() < 2 || line[1] != ' ') return std::nullopt;
  if (line.substr(2) != name) return std::nullopt;
  return address;
}

}  // namespace sealvisor::agent
