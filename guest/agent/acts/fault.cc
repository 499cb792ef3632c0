// Faults that are handled in user mode: userfaultfd(2), ioctl_userfaultfd(2).
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "guest/agent/acts/act.h"
#include "guest/agent/raw.h"
#include "guest/scenario/numbers.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;

namespace {

// Newer than the headers of Debian 12: Linux 6.8, include/uapi/linux/userfaultfd.h.
struct MovePages {
  std::uint64_t dst;
  std::uint64_t src;
  std::uint64_t len;
  std::uint64_t mode;
  std::int64_t move;
};
constexpr unsigned long kMove = _IOWR(UFFDIO, 0x05, MovePages);

long control(int fd, unsigned long request, const void* argument) {
  return raw_call(SYS_ioctl, fd, arg(request), arg(argument));
}

int open_agreed() {
  const int fd = static_cast<int>(raw_call(SYS_userfaultfd, O_CLOEXEC));
  if (fd < 0) return fd;
  uffdio_api api{};
  api.api = UFFD_API;
  const long agreed = control(fd, UFFDIO_API, &api);
  if (agreed == 0) return fd;
  ::close(fd);
  return static_cast<int>(agreed);
}

Skip open_faults(Target& t, std::uint32_t) {
  t.fd = open_agreed();
  return t.fd >= 0 ? Skip::No : t.fd == -ENOSYS ? Skip::Unsupported : Skip::NoRoom;
}

long enrol(int fd, std::uintptr_t start, std::uintptr_t size, std::uint64_t mode) {
  uffdio_register range{};
  range.range = {start, size};
  range.mode = mode;
  return control(fd, UFFDIO_REGISTER, &range);
}

/// Memory of the victim's own at `place`, with pages; `enrolled`: its faults are handled.
Skip with_memory(Target& t, bool enrolled) {
  const Skip opened = open_faults(t, 0);
  if (opened != Skip::No) return opened;
  t.place = new_memory(t.size(), PROT_READ | PROT_WRITE);
  if (t.place == 0) return Skip::NoRoom;
  if (enrolled) {
    return enrol(t.fd, t.place, t.size(), UFFDIO_REGISTER_MODE_MISSING) == 0 ? Skip::No
                                                                             : Skip::NoRoom;
  }
  for (std::uintptr_t page = t.place; page < t.place + t.size(); page += kPage) {
    *reinterpret_cast<volatile unsigned char*>(page) = 1;
  }
  return Skip::No;
}

long move(const Target& t, std::uintptr_t to, std::uintptr_t from) {
  MovePages pages{to, from, t.size(), 0, 0};
  return control(t.fd, kMove, &pages);
}

}  // namespace

void add_fault_ways(Ways& ways) {
  way_of(ways, Call::UffdRegister) = {
      [](Target& t, std::uint32_t mode) {
        const long enrolled = enrol(t.fd, t.start, t.size(), mode);
        if (is_error(enrolled) || (mode & UFFDIO_REGISTER_MODE_WP) == 0) return enrolled;
        uffdio_writeprotect protect{};
        protect.range = {t.start, t.size()};
        protect.mode = UFFDIO_WRITEPROTECT_MODE_WP;
        return control(t.fd, UFFDIO_WRITEPROTECT, &protect);
      },
      open_faults};
  way_of(ways, Call::UffdMoveFrom) = {
      [](Target& t, std::uint32_t) { return move(t, t.place, t.start); },
      [](Target& t, std::uint32_t) { return with_memory(t, true); }};
  way_of(ways, Call::UffdMoveOnto) = {
      [](Target& t, std::uint32_t) { return move(t, t.start, t.place); },
      [](Target& t, std::uint32_t) { return with_memory(t, false); }};
  way_of(ways, Call::UffdCopyOnto) = {
      [](Target& t, std::uint32_t) {
        uffdio_copy copy{};
        copy.dst = t.start;
        copy.src = t.place;
        copy.len = t.size();
        return control(t.fd, UFFDIO_COPY, &copy);
      },
      [](Target& t, std::uint32_t) { return with_memory(t, false); }};
}

}  // namespace sealvisor::agent
