#include "vmm/base/pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sealvisor {

Result<SocketPair> socket_pair(const std::string& what) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return errno_error(ExitCode::HostLacks, "socketpair for " + what);
  }
  SocketPair sockets{Fd(pair[0]), Fd(pair[1])};
  if (::fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
    return errno_error(ExitCode::HostLacks, "socket for " + what);
  }
  return sockets;
}

Result<Pipe> make_pipe(const std::string& what) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(ExitCode::HostLacks, "pipe for " + what);
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
    return errno_error(ExitCode::HostLacks, "pipe for " + what);
  }
  return pipe;
}

bool wait_readable(int fd, std::chrono::steady_clock::time_point until) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const auto wait = std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000);
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(wait));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (ready == 0 && left.count() <= wait) return false;
  }
}

}  // namespace sealvisor
