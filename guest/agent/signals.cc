#include "guest/agent/signals.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "guest/agent/console.h"

namespace sealvisor::agent {
namespace {

/// Counts deliveries; a handler has no argument that could carry an object.
volatile std::sig_atomic_t delivered = 0;

void on_signal(int) { delivered = delivered + 1; }
void on_signal_with_info(int, siginfo_t*, void*) { delivered = delivered + 1; }

#if defined(__x86_64__)

/// x86-64 kernels accept no handler without a restorer (arch/x86/kernel/signal_64.c,
/// x64_setup_rt_frame); the C library brings its own.
int install(int signal, bool with_info) {
  struct sigaction action {};
  if (with_info) {
    action.sa_sigaction = on_signal_with_info;
    action.sa_flags = SA_SIGINFO;
  } else {
    action.sa_handler = on_signal;
  }
  return ::sigaction(signal, &action, nullptr);
}

#else

/// What rt_sigaction takes (include/linux/signal_types.h, struct sigaction). The C library's
/// wrapper would add a restorer of its own on the 32-bit architectures.
struct KernelAction {
  std::uintptr_t handler;
  unsigned long flags;
  std::uintptr_t restorer;
  std::uint64_t mask;
};

int install(int signal, bool with_info) {
  KernelAction action{};
  action.handler = with_info ? reinterpret_cast<std::uintptr_t>(on_signal_with_info)
                             : reinterpret_cast<std::uintptr_t>(on_signal);
  action.flags = with_info ? SA_SIGINFO : 0;
  return static_cast<int>(
      ::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask));
}

#endif

}  // namespace

int deliver_signals(std::uint32_t count) {
  const int before = delivered;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (install(SIGUSR1, i % 2 != 0) != 0) {
      const int error = errno;
      say("installing a signal handler: %s", std::strerror(error));
      return error;
    }
    ::raise(SIGUSR1);
  }
  if (delivered - before != static_cast<int>(count)) {
    say("signals: %d of %u were delivered", delivered - before, count);
    return EPROTO;
  }
  return 0;
}

}  // namespace sealvisor::agent
