#include "vmm/engine/kvm/kick.h"

#include <cerrno>

namespace sealvisor::engine::kvm {

Status Kick::install_handler() {
  sigset_t kick;
  ::sigemptyset(&kick);
  ::sigaddset(&kick, number());
  // Who started the program may have blocked it.
  if (const int error = ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr); error != 0) {
    errno = error;
    return errno_error(ExitCode::HostLacks, "unblocking the signal that stops the vCPU");
  }
  struct sigaction action {};
  action.sa_handler = [](int) {};
  if (::sigaction(number(), &action, nullptr) != 0) {
    return errno_error(ExitCode::HostLacks, "handling the signal that stops the vCPU");
  }
  return {};
}

}  // namespace sealvisor::engine::kvm
