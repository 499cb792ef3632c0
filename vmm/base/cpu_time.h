// CPU time that was spent here.
#pragma once

namespace sealvisor {

/// User and system time of the calling thread in seconds, a KVM guest's included (getrusage(2),
/// RUSAGE_THREAD): several runs share one process. 0 if it can't be told.
[[nodiscard]] double thread_cpu_seconds();

}  // namespace sealvisor
