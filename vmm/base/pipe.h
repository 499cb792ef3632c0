// What two processes talk through, and waiting for it.
#pragma once

#include <chrono>
#include <string>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor {

/// A connected pair of local stream sockets, both close-on-exec, the first one not blocking.
struct SocketPair {
  Fd ours;
  Fd theirs;
};
[[nodiscard]] Result<SocketPair> socket_pair(const std::string& what);

/// A pipe, both ends close-on-exec, the reading end not blocking.
struct Pipe {
  Fd reading;
  Fd writing;
};
[[nodiscard]] Result<Pipe> make_pipe(const std::string& what);

/// Waits until `fd` can be read or is at its end. False when `until` passes first.
[[nodiscard]] bool wait_readable(int fd, std::chrono::steady_clock::time_point until);

}  // namespace sealvisor
