#include "vmm/engine/kvm/kick.h"

namespace sealvisor::engine::kvm {

Status Kick::install_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  if (::sigaction(number(), &action, nullptr) != 0) {
    return errno_error(ExitCode::HostLacks, "handling the signal that stops the vCPU");
  }
  return {};
}

}  // namespace sealvisor::engine::kvm
