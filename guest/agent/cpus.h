// The CPUs that a process runs on.
#pragma once

#include <cstdint>

namespace sealvisor::agent {

/// How many CPUs this process may run on; 0: the kernel does not say. Those that are not online do
/// not count (6.12: kernel/sched/syscalls.c, sched_getaffinity).
[[nodiscard]] std::uint32_t usable_cpus();

/// From here on the calling thread runs on the CPU of that number only, modulo how many there are.
/// Raw system calls, whose failure leaves the thread where it may run: the monitor sees where it
/// does.
void keep_to_cpu(std::uint32_t number);

/// Runs for a moment on each CPU, where there are several, so that the monitor sees each of them
/// run user mode.
void visit_cpus();

}  // namespace sealvisor::agent
