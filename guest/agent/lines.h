// Reading a file of the kernel line by line.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "guest/agent/console.h"

namespace sealvisor::agent {

/// Calls `take(line)` with each line of the file, without its '\n', until that returns false. A
/// line that is longer than 4096 bytes, or does not end, is left out in part. False: the file can't
/// be read; said on the console.
template <typename Take>
[[nodiscard]] bool each_line(const char* path, const Take& take) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    say("opening %s: %s", path, std::strerror(errno));
    return false;
  }
  std::array<char, 4096> buffer{};
  std::size_t held = 0;  // Bytes at the start of `buffer` that belong to an unfinished line.
  bool more = true;
  while (more) {
    const ssize_t got = ::read(fd, buffer.data() + held, buffer.size() - held);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      say("reading %s: %s", path, std::strerror(errno));
      ::close(fd);
      return false;
    }
    if (got == 0) break;
    held += static_cast<std::size_t>(got);
    std::string_view rest(buffer.data(), held);
    for (std::size_t end = rest.find('\n'); more && end != std::string_view::npos;
         end = rest.find('\n')) {
      more = take(rest.substr(0, end));
      rest = rest.substr(end + 1);
    }
    if (rest.size() == buffer.size()) rest = {};
    std::memmove(buffer.data(), rest.data(), rest.size());
    held = rest.size();
  }
  ::close(fd);
  return true;
}

}  // namespace sealvisor::agent
