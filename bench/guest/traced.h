// Whether a call stays in user mode.
#pragma once

namespace sealvisor::bench {

/// Calls `call(argument)` twice in a child. True if the second time, when ptrace(2) watches, it
/// makes no system call. A function of the vdso makes one when it can't serve what it is asked for,
/// and then it is the system call that would be measured.
[[nodiscard]] bool makes_no_system_call(void (*call)(void* argument), void* argument);

/// The same of `call()`.
template <typename Call>
[[nodiscard]] bool stays_in_user_mode(const Call& call) {
  return makes_no_system_call([](void* argument) { (void)(*static_cast<const Call*>(argument))(); },
                              const_cast<Call*>(&call));
}

}  // namespace sealvisor::bench
