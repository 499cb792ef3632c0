// CPU time that was spent here.
#pragma once

namespace sealvisor {

/// User and system time of the calling thread in seconds, a KVM guest's included (getrusage(2),
/// RUSAGE_THREAD): several runs share one process. 0 if it can't be told.
[[nodiscard]] double thread_cpu_seconds();
/// The same of all threads of the process since it started, children's not included
/// (clock_gettime(2), CLOCK_PROCESS_CPUTIME_ID).
[[nodiscard]] double process_cpu_seconds();

}  // namespace sealvisor
