// The kernel's generator of random numbers.
#pragma once

namespace sealvisor::bench {

/// Makes the generator ready, for good. Before, each use of it collects what entropy there is anew:
/// an exec with randomised addresses takes twice as many instructions, getrandom waits, and the
/// vdso's makes a system call. On a machine that has given it no seed yet it gets one of ours: what
/// it yields is random for nobody here anyway. 0 or an errno.
[[nodiscard]] int make_generator_ready();

}  // namespace sealvisor::bench
