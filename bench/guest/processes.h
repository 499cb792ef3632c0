// Making processes and waiting for them by system calls alone, so that what is measured is the
// kernel's work and a child runs nothing that it need not.
#pragma once

#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include "bench/guest/mark.h"
#include "bench/guest/run.h"
#include "bench/guest/shared.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {

/// fork. The child's pid, 0 in the child, -errno.
[[nodiscard, gnu::always_inline]] inline long fork_raw() {
  return agent::raw_call(SYS_clone, SIGCHLD);
}

[[noreturn, gnu::always_inline]] inline void leave(int code) {
  for (;;) (void)agent::raw_call(SYS_exit_group, code);
}

/// Waits for `child`. True if that was a child and it ended with the exit code `code`.
[[nodiscard, gnu::always_inline]] inline bool ended_with(long child, int code) {
  int status = -1;
  return agent::raw_call(SYS_wait4, child, address_of(&status), 0, 0) == child && child > 0 &&
         status == code << 8;
}

/// Waits for `child`. True if that was a child and `signal` killed it.
[[nodiscard, gnu::always_inline]] inline bool killed_by(long child, int signal) {
  int status = -1;
  return agent::raw_call(SYS_wait4, child, address_of(&status), 0, 0) == child && child > 0 &&
         (status & 0x7f) == signal;
}

/// A program to exec. Its strings live as long as the program.
struct Image {
  const char* path;
  char* const* arguments;
};

/// execve, with no environment. Does not return if that is done. Else it ends this process, a child
/// of the one that measures, and says why in `shared`.
[[noreturn, gnu::always_inline]] inline void exec_or_leave(const Image& image, Shared& shared) {
  static char* const environment[] = {nullptr};
  const long result = agent::raw_call(SYS_execve, address_of(image.path),
                                      address_of(image.arguments), address_of(environment));
  shared.exec_error = static_cast<std::int32_t>(-result);
  leave(kExecFailed);
}

/// Takes a sample in a new child: `work()` runs there and sets shared.good. What that is then;
/// -EPROTO: the child did not end well. Nothing is destroyed in the child but what `work` made.
template <typename Work>
[[nodiscard]] std::int64_t sample_in_child(Run& run, const Work& work) {
  run.shared().good = 0;
  const long child = fork_raw();
  if (child == 0) {
    work();
    leave(kTargetExit);
  }
  if (!ended_with(child, kTargetExit)) return -EPROTO;
  return run.shared().good;
}

}  // namespace sealvisor::bench
