#include "guest/agent/start.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {

bool mount_at(const char* what, const char* where) {
  ::mkdir(where, 0755);  // The initramfs may have it; mount says if it has not.
  // EBUSY: CONFIG_DEVTMPFS_MOUNT and the like were there first.
  if (::mount(what, where, what, 0, nullptr) == 0 || errno == EBUSY) return true;
  say("mounting %s at %s: %s", what, where, std::strerror(errno));
  return false;
}

void take_console() {
  const int fd = ::open("/dev/console", O_RDWR);
  if (fd < 0) return;
  for (int stream = 0; stream <= 2; ++stream) ::dup2(fd, stream);
  if (fd > 2) ::close(fd);
}

ssize_t read_whole(const char* path, std::span<char> room) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    say("opening %s: %s", path, std::strerror(errno));
    return -1;
  }
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < room.size()) {
    got = ::read(fd, room.data() + size, room.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  const int error = errno;
  ::close(fd);
  if (got < 0) {
    say("reading %s: %s", path, std::strerror(error));
    return -1;
  }
  return static_cast<ssize_t>(size);
}

}  // namespace sealvisor::agent
