#include "guest/agent/announce.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "guest/agent/console.h"
#include "guest/agent/touch.h"

namespace sealvisor::agent {

bool read_mappings(MappingTable& table) {
  const int fd = ::open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    say("opening /proc/self/smaps: %s", std::strerror(errno));
    return false;
  }
  SmapsReader reader;
  std::array<char, 4096> buffer{};
  std::size_t held = 0;  // Bytes at the start of `buffer` that belong to an unfinished line.
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data() + held, buffer.size() - held);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      say("reading /proc/self/smaps: %s", std::strerror(errno));
      ::close(fd);
      return false;
    }
    if (got == 0) break;
    held += static_cast<std::size_t>(got);
    std::string_view rest(buffer.data(), held);
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      reader.line(rest.substr(0, end));
      rest = rest.substr(end + 1);
    }
    // A line longer than the buffer is a file's path, never a system mapping: drop it.
    if (rest.size() == buffer.size()) rest = {};
    std::memmove(buffer.data(), rest.data(), rest.size());
    held = rest.size();
  }
  ::close(fd);
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
