// Probes of user code (uprobes): what makes the kernel map [uprobes] into a process. 64-bit only.
#pragma once

#include <cstdint>

namespace sealvisor::agent {

/// Most probes at a time, each of another function.
inline constexpr std::uint32_t kMostProbes = 8;

/// Puts `count` probes on functions of this program, in force until this process ends. 0, or
/// -errno: -ENOENT where the kernel has no such thing.
[[nodiscard]] int set_probes(std::uint32_t count);

/// Calls each of the first `count` functions `times` times: each call hits its probe, if there is
/// one. -EPROTO if one did not do its work. No system call.
[[nodiscard]] long hit_probes(std::uint32_t count, std::uint32_t times);

}  // namespace sealvisor::agent
