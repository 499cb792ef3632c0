#include "guest/agent/acts/helper.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "guest/agent/console.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {
namespace {

constexpr unsigned kHelperSeconds = 60;

/// The end of the other side is the end of this one.
[[noreturn]] void help(const Target& target, std::uint32_t argument, Job job, int go, int done,
                       pid_t victim) {
  ::alarm(kHelperSeconds);
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(go, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (got == 1) {
    const long result = job(target, argument, victim);
    [[maybe_unused]] const ssize_t written = ::write(done, &result, sizeof result);
  }
  ::_exit(0);
}

}  // namespace

protocol::Skip start_helper(Target& target, std::uint32_t argument, Job job) {
  int go[2] = {-1, -1};
  int done[2] = {-1, -1};
  if (::pipe(go) != 0 || ::pipe(done) != 0) return protocol::Skip::NoRoom;
  const pid_t victim = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return protocol::Skip::NoRoom;
  if (child == 0) {
    ::close(go[1]);
    ::close(done[0]);
    help(target, argument, job, go[0], done[1], victim);
  }
  ::close(go[0]);
  ::close(done[1]);
  target.helper = {go[1], done[0], child};
  return protocol::Skip::No;
}

long run_helper(Target& target) {
  const char byte = 1;
  const Helper& helper = target.helper;
  long result = -EPROTO;
  long got = raw_call(SYS_write, helper.go, arg(&byte), 1);
  if (got == 1) {
    do {
      got = raw_call(SYS_read, helper.done, arg(&result), sizeof result);
    } while (got == -EINTR);
    if (got != sizeof result) result = -EPROTO;
  }
  while (raw_call(SYS_wait4, helper.pid, 0, 0, 0) == -EINTR) {
  }
  return result;
}

}  // namespace sealvisor::agent
