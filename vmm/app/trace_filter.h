// Which events of a bundle are asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sealvisor::app {

/// What an event must be, to be listed. A list that is empty asks for nothing; of one that is not,
/// one entry must fit. Patterns are those of fnmatch(3).
struct TraceFilter {
  std::vector<std::string> runs{};         ///< Patterns for "x86_64 lts-sealed".
  std::vector<std::uint64_t> processes{};  ///< Address spaces, by number.
  std::vector<std::string> mappings{};     ///< Names, whole: "[vdso]".
  std::vector<std::uint64_t> frames{};     ///< Addresses in them.
  std::vector<std::string> functions{};    ///< Patterns for the kernel's functions.
  std::vector<std::string> kinds{};        ///< Patterns for event::name_of().
  std::uint64_t from = 0;                  ///< Instruction counts.
  std::uint64_t to = UINT64_MAX;
};

}  // namespace sealvisor::app
