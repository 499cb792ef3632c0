// Storms: what makes the kernel touch system mappings by itself. For `sealvisor lifetime`.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"

namespace sealvisor::agent {

// Each does its thing `count` times, in processes of their own, and counts in `done` what came out
// right. 0, or the errno that stopped it.

/// Processes that enter a time namespace: by setns, by fork, and by exec.
[[nodiscard]] int run_time_namespaces(Agent& agent, std::uint32_t count, std::uint32_t& done);
/// Others read a process's mappings: /proc/PID/mem, ptrace, process_vm_readv; its page map, its
/// smaps; its accessed bits are cleared (/proc/PID/clear_refs).
[[nodiscard]] int run_inspections(Agent& agent, std::uint32_t count, std::uint32_t& done);
/// A process whose memory is short: caches dropped, memory compacted, pages locked, and as much
/// taken as there is.
[[nodiscard]] int run_shortage(Agent& agent, std::uint32_t count, std::uint32_t& done);
/// Processes that unmap, move, protect and drop a system mapping of their own, where the kernel
/// lets them: `count` each. A control.
[[nodiscard]] int run_own_calls(Agent& agent, std::uint32_t count, std::uint32_t& done);

}  // namespace sealvisor::agent
