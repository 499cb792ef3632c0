// Process 1 of the guest: sets up, announces, runs /plan, resets the machine.
#pragma once

namespace sealvisor::agent {

/// Never returns, whatever fails: a kernel that loses process 1 panics, and would hide why.
[[noreturn]] void init_main();

}  // namespace sealvisor::agent
