// `sealvisor boot`: one guest with its console on this terminal, without a monitor.
#pragma once

#include "vmm/app/options.h"

namespace sealvisor::app {

/// Boots and returns the exit code: 0 if the guest ended by itself or the user quit, GuestFailed if
/// it did not end well, else that of what was missing or wrong.
[[nodiscard]] int boot(const BootOptions& options);

}  // namespace sealvisor::app
