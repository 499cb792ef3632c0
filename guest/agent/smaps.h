// Reading /proc/PID/smaps for system mappings. Pure: fed line by line, opens nothing.
// Format: Documentation/filesystems/proc.rst ("/proc/PID/smaps", "VmFlags").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/agent/hex.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {

/// A mapping that the kernel installed by itself, as smaps shows it.
struct SystemMapping {
  std::uint64_t start = 0;
  std::uint64_t end = 0;  ///< One past the last byte.
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool sealed = false;                           ///< `sl` in VmFlags.
  std::array<char, protocol::kNameSize> name{};  ///< NUL-terminated, with its brackets.

  [[nodiscard]] constexpr std::string_view name_view() const { return {name.data()}; }
};

/// The system mappings of one process, in the order of smaps (rising addresses).
struct MappingTable {
  std::array<SystemMapping, protocol::kMaxMappings> mappings{};
  std::size_t count = 0;
  /// More than kMaxMappings, or a line that looks like a mapping but can't be read.
  bool broken = false;

  [[nodiscard]] constexpr const SystemMapping* begin() const { return mappings.data(); }
  [[nodiscard]] constexpr const SystemMapping* end() const { return mappings.data() + count; }
  /// The first mapping called `name`; nullptr if there is none.
  [[nodiscard]] constexpr const SystemMapping* find(std::string_view name) const {
    for (const SystemMapping& mapping : *this) {
      if (mapping.name_view() == name) return &mapping;
    }
    return nullptr;
  }
};

/// True for the name of a mapping that the kernel installs by itself: in brackets, but not memory
/// of the process (heap, stacks, named anonymous memory).
[[nodiscard]] constexpr bool is_system_name(std::string_view name) {
  if (name.size() < 3 || name.front() != '[' || name.back() != ']') return false;
  return name != "[heap]" && !name.starts_with("[stack") && !name.starts_with("[anon");
}

/// Collects the system mappings from the lines of a smaps file.
class SmapsReader {
 public:
  /// Takes one line without its '\n'.
  constexpr void line(std::string_view text) {
    constexpr std::string_view kFlags = "VmFlags:";
    if (text.starts_with(kFlags)) {
      if (current_ != nullptr) current_->sealed = has_word(text.substr(kFlags.size()), "sl");
      return;
    }
    // "Size:   4 kB" and the like: their first word ends in a colon.
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos || space == 0 || text[space - 1] == ':') return;
    header(text);
  }

  [[nodiscard]] constexpr const MappingTable& table() const { return table_; }

 private:
  [[nodiscard]] static constexpr bool has_word(std::string_view text, std::string_view word) {
    while (!text.empty()) {
      const std::size_t space = text.find(' ');
      if (text.substr(0, space) == word) return true;
      if (space == std::string_view::npos) return false;
      text = text.substr(space + 1);
    }
    return false;
  }

  /// "start-end perms offset dev inode   name".
  constexpr void header(std::string_view text) {
    current_ = nullptr;
    SystemMapping mapping;
    if (!cut_hex(text, '-', mapping.start) || !cut_hex(text, ' ', mapping.end) ||
        mapping.start >= mapping.end || text.size() < 5 || text[4] != ' ') {
      table_.broken = true;
      return;
    }
    mapping.readable = text[0] == 'r';
    mapping.writable = text[1] == 'w';
    mapping.executable = text[2] == 'x';
    for (int field = 0; field < 4; ++field) {  // perms, offset, device, inode
      const std::size_t space = text.find(' ');
      if (space == std::string_view::npos) return;  // No name: not a system mapping.
      text = text.substr(space + 1);
    }
    const std::size_t name_at = text.find_first_not_of(' ');
    if (name_at == std::string_view::npos) return;
    const std::string_view name = text.substr(name_at);
    if (!is_system_name(name)) return;
    if (table_.count == table_.mappings.size() || name.size() >= mapping.name.size()) {
      table_.broken = true;
      return;
    }
    name.copy(mapping.name.data(), name.size());
    current_ = &table_.mappings[table_.count++];
    *current_ = mapping;
  }

  MappingTable table_{};
  SystemMapping* current_ = nullptr;
};

}  // namespace sealvisor::agent
