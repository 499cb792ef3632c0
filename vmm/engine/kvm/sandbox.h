// What the engine's threads may still do once a guest runs.
#pragma once

#include "vmm/base/result.h"

namespace sealvisor::engine::kvm {

/// Which thread is to be confined.
enum class Confined : unsigned char {
  Vcpu,  ///< Runs the guest and what judges it.
  Io,    ///< Waits for signals, time and what is typed.
};

/// Confines the calling thread for the rest of its life: no new privileges (prctl(2),
/// PR_SET_NO_NEW_PRIVS), no capabilities (capabilities(7)), and a seccomp filter (seccomp(2)) that
/// lets through what its loop needs: no new files, sockets, processes or executable memory, no
/// signals to other processes, and of ioctl(2) only requests that its loop makes.
///
/// This limits what a bug in these threads can do by system calls of theirs. It is no boundary
/// between address spaces: the process's main thread, and those of other runs, keep what they have
/// and share all memory, so who can write to that memory can make them act.
///
/// A call that is not let through ends the process at once, exit code 3, with a line on standard
/// error that names the call: it is a bug, or a guest that found one. A terminal in raw mode is
/// restored first.
/// Error: HostLacks, what could not be set up.
[[nodiscard]] Status confine(Confined which);

}  // namespace sealvisor::engine::kvm
