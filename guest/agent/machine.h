// Ending the guest.
#pragma once

namespace sealvisor::agent {

/// Resets the machine; QEMU runs with -no-reboot and ends. Only for init.
[[noreturn]] void reset_machine();

}  // namespace sealvisor::agent
