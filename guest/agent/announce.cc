#include "guest/agent/announce.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/lines.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {

bool read_mappings(MappingTable& table) {
  SmapsReader reader;
  // A line that is too long is a file's path, never a system mapping.
  const bool read = each_line("/proc/self/smaps", [&](std::string_view line) {
    reader.line(line);
    return true;
  });
  if (!read) return false;
  table = reader.table();
  if (table.broken) say("/proc/self/smaps: a line that can't be read, or too many mappings");
  return !table.broken;
}

void touch_mappings(const MappingTable& table) {
  std::array<protocol::Touch, protocol::kMaxPages> outcomes{};
  for (const SystemMapping& mapping : table) {
    // [vsyscall] lies in the kernel's half: no memory of the process, and the kernel logs a try.
    if (mapping.start >> 63 != 0) continue;
    const std::uint64_t pages =
        std::min<std::uint64_t>((mapping.end - mapping.start) / 4096, outcomes.size());
    touch_pages(static_cast<std::uintptr_t>(mapping.start),
                std::span(outcomes).first(static_cast<std::size_t>(pages)));
  }
}

bool announce_mappings(Doorbell& doorbell, std::uint64_t token, MappingTable& table) {
  if (!read_mappings(table)) return false;
  announce_table(doorbell, token, table);
  return true;
}

void announce_table(Doorbell& doorbell, std::uint64_t token, const MappingTable& table) {
  touch_mappings(table);
  std::uint32_t index = 0;
  for (const SystemMapping& mapping : table) doorbell.mapping(token, index++, mapping);
  doorbell.mappings_end(token, index);
}

}  // namespace sealvisor::agent
