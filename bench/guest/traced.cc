#include "bench/guest/traced.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

/// Lets `child` go on to its next system call, or to its end. False if there is neither.
bool go_on(pid_t child, int& status) {
  return ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0 &&
         ::waitpid(child, &status, 0) == child;
}

}  // namespace

bool makes_no_system_call(void (*call)(void* argument), void* argument) {
  const pid_t child = ::fork();
  if (child == 0) {
    // What only a first call does is no matter: some memory is empty in a child.
    call(argument);
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::kill(::getpid(), SIGSTOP);
    call(argument);
    for (;;) (void)agent::raw_call(SYS_exit_group, 0);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return false;
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  constexpr int kSystemCall = SIGTRAP | 0x80;  // ptrace(2), PTRACE_O_TRACESYSGOOD
  // The first system call is the last one: the child's end.
  const bool stopped =
      go_on(child, status) && WIFSTOPPED(status) && WSTOPSIG(status) == kSystemCall;
  const bool ended = stopped && go_on(child, status) && WIFEXITED(status);
  if (ended) return true;
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return false;
}

}  // namespace sealvisor::bench
