// CPUs of the host: which there are for a thread, and binding one to some of them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"

namespace sealvisor {

/// CPUs have numbers below this: the most that a kernel is built for (lib/Kconfig, NR_CPUS).
inline constexpr unsigned kMostCpus = 8192;

/// CPUs of a list as the kernel writes it, "0-3,8" (cpuset(7), "List format"), in order, each once.
/// White space around it is passed over; an empty list has none. nullopt: it is no such list.
[[nodiscard]] std::optional<std::vector<unsigned>> parse_cpu_list(std::string_view text);

/// "0-3,8": what parse_cpu_list() reads. Precondition: in order, each once.
[[nodiscard]] std::string cpu_list_text(std::span<const unsigned> cpus);

/// CPUs that the calling thread may run on, in order (sched_getaffinity(2)). Error: HostLacks.
[[nodiscard]] Result<std::vector<unsigned>> allowed_cpus();

/// Lets the calling thread run on `cpus` only (sched_setaffinity(2)), and checks that the kernel
/// took all of them. Threads that it starts inherit that. Error: HostLacks names them and why not.
[[nodiscard]] Status bind_to(std::span<const unsigned> cpus);

/// How often the calling thread had to give its CPU to another one while it could have gone on
/// (getrusage(2), ru_nivcsw). 0 if it can't be told.
[[nodiscard]] std::uint64_t thread_preemptions();

}  // namespace sealvisor
