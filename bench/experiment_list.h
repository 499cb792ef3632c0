// All experiments, and what is between the marks of each. bench/experiment.h says what the columns
// mean. The functions in bench/guest are named and commented alike; a name here without a function
// there is an error of the compiler.
//
// Everywhere: the process that measures is a child of process 1 that was made for this experiment
// alone. What is said to be "there and back" is two calls, so that the next operation finds what
// this one found. "Touched" means that each page was accessed; untouched pages have no frames.
#pragma once

#include "bench/experiment.h"

namespace sealvisor::bench {

namespace detail {

/// As a rule.
inline constexpr std::uint32_t kSamples = 16;
inline constexpr std::uint32_t kWarmUp = 4;
/// Of what takes a million instructions and more with its set-up, and of what takes several.
inline constexpr std::uint32_t kFew = 8;
inline constexpr std::uint32_t kFewWarmUp = 2;
inline constexpr std::uint32_t kDear = 4;
inline constexpr std::uint32_t kDearWarmUp = 1;
/// Operations in a sample that is timed: a call that stays in user mode, one that does not.
inline constexpr std::uint32_t kManyCalls = 1024;
inline constexpr std::uint32_t kCalls = 256;
inline constexpr std::uint32_t kPairs = 32;
inline constexpr bool kQuick = true;

[[nodiscard]] constexpr Experiment of(Group group, std::string_view name, std::uint32_t batch,
                                      bool quick) {
  return {name, kSamples, kWarmUp, batch, group, On::Both, quick};
}
[[nodiscard]] constexpr Experiment exec(std::string_view name, bool quick = false) {
  return of(Group::Exec, name, 1, quick);
}
[[nodiscard]] constexpr Experiment memory(std::string_view name, std::uint32_t batch,
                                          bool quick = false) {
  return of(Group::Mmap, name, batch, quick);
}
[[nodiscard]] constexpr Experiment call(std::string_view name, bool quick = false) {
  return of(Group::Vdso, name, kManyCalls, quick);
}
/// The same by the system call.
[[nodiscard]] constexpr Experiment control(std::string_view name, bool quick = false) {
  return of(Group::Vdso, name, kCalls, quick);
}
/// The first one of a process.
[[nodiscard]] constexpr Experiment first_call(std::string_view name, bool quick = false) {
  return of(Group::Vdso, name, 1, quick);
}
/// One run of a tool that does so many of its operations.
[[nodiscard]] constexpr Experiment foreign(std::string_view name, std::uint32_t operations) {
  return {name, 1, 0, operations, Group::Foreign};
}
[[nodiscard]] constexpr Experiment few(Experiment experiment) {
  experiment.samples = kFew;
  experiment.warm_up = kFewWarmUp;
  return experiment;
}
[[nodiscard]] constexpr Experiment dear(Experiment experiment) {
  experiment.samples = kDear;
  experiment.warm_up = kDearWarmUp;
  return experiment;
}
[[nodiscard]] constexpr Experiment only(On on, Experiment experiment) {
  experiment.on = on;
  return experiment;
}

}  // namespace detail

inline constexpr Experiment kExperiments[] = {
    // fork; the child does nothing but _exit; wait.
    detail::exec("exec/fork-exit", detail::kQuick),
    // fork; the child execs a program that ends at once; wait. A static one (C library and all), a
    // position-independent one that names an interpreter, a 32-bit one.
    detail::exec("exec/fork-exec-static", detail::kQuick),
    detail::exec("exec/fork-exec-dynamic"),
    detail::exec("exec/fork-exec-compat", detail::kQuick),
    // The same with the static program and vfork, and by the C library's posix_spawn.
    detail::exec("exec/vfork-exec", detail::kQuick),
    detail::exec("exec/posix-spawn"),
    // execve alone: from the last instruction before it to the first ones of the new program, which
    // has no C library. Marks: the end holds what execve-end-mark is. Clock: nothing more.
    detail::exec("exec/execve", detail::kQuick),
    // One thread of four execs, the others sleep; otherwise as execve.
    detail::exec("exec/execve-thread-group", detail::kQuick),
    // Not execve, but what its last mark costs: mmap of one page of /dev/mem, open already.
    detail::exec("exec/execve-end-mark"),
    // execve of a process that has so many more mappings of one touched page each, with what it
    // takes to be rid of them.
    detail::exec("exec/execve-vmas-1"),
    detail::exec("exec/execve-vmas-16"),
    detail::few(detail::exec("exec/execve-vmas-256")),
    // fork-exec-static from a process that has so many more mappings of one touched page each.
    detail::exec("exec/fork-exec-vmas-1"),
    detail::exec("exec/fork-exec-vmas-16", detail::kQuick),
    detail::few(detail::exec("exec/fork-exec-vmas-256")),
    // SIGKILL for a stopped child that has used its vdso and 64 pages of memory; wait. And with 256
    // more mappings of one touched page each.
    detail::exec("exec/teardown", detail::kQuick),
    detail::dear(detail::exec("exec/teardown-vmas-256")),

    // mmap of so many bytes, munmap. Touched: a store to each page in between; of 1 GiB to one page
    // of each 2 MiB. Memory that is not reserved and has no huge pages.
    detail::memory("mmap/map-unmap-anon-4k", detail::kPairs),
    detail::memory("mmap/map-unmap-anon-4k-touched", detail::kPairs, detail::kQuick),
    detail::memory("mmap/map-unmap-anon-2m", detail::kPairs),
    detail::few(detail::memory("mmap/map-unmap-anon-2m-touched", 1)),
    detail::memory("mmap/map-unmap-anon-1g", detail::kPairs),
    detail::dear(detail::memory("mmap/map-unmap-anon-1g-touched", 1)),
    // The same, shared, with a file of a tmpfs. Touched: a load from each page, all of which the
    // file has; of 1 GiB from one page of each 2 MiB, and the file has only those.
    detail::memory("mmap/map-unmap-file-4k", detail::kPairs, detail::kQuick),
    detail::memory("mmap/map-unmap-file-4k-touched", detail::kPairs),
    detail::memory("mmap/map-unmap-file-2m", detail::kPairs),
    detail::memory("mmap/map-unmap-file-2m-touched", 1),
    detail::memory("mmap/map-unmap-file-1g", detail::kPairs),
    detail::dear(detail::memory("mmap/map-unmap-file-1g-touched", 1)),
    // -huge: 2 MiB of memory is one page, in one entry of a table (MADV_HUGEPAGE; a tmpfs of huge
    // pages), which is made sure of by counting page faults. Touched: each 4 KiB of it, so that one
    // page fault is all there is; of 1 GiB one huge page of each 64 MiB. Pages of 1 GiB are not
    // there: they take another configuration of the kernel.
    detail::memory("mmap/map-unmap-anon-2m-huge", detail::kPairs),
    detail::few(detail::memory("mmap/map-unmap-anon-2m-huge-touched", 1)),
    detail::memory("mmap/map-unmap-anon-1g-huge", detail::kPairs),
    detail::dear(detail::memory("mmap/map-unmap-anon-1g-huge-touched", 1)),
    detail::memory("mmap/map-unmap-file-2m-huge", detail::kPairs),
    detail::memory("mmap/map-unmap-file-2m-huge-touched", 1),
    detail::memory("mmap/map-unmap-file-1g-huge", detail::kPairs),
    detail::memory("mmap/map-unmap-file-1g-huge-touched", 1),

    // -vmas-N: the process has N more mappings, untouched, that the call is not about.
    // mmap of one page, munmap; untouched.
    detail::memory("mmap/map-unmap-vmas-1", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-16", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-256", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-1024", detail::kPairs),
    // And touched; and of a file.
    detail::memory("mmap/map-unmap-vmas-1-touched", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-16-touched", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-256-touched", detail::kPairs),
    detail::memory("mmap/map-unmap-vmas-1024-touched", detail::kPairs),
    detail::memory("mmap/map-unmap-file-vmas-1", detail::kPairs),
    detail::memory("mmap/map-unmap-file-vmas-16", detail::kPairs),
    detail::memory("mmap/map-unmap-file-vmas-256", detail::kPairs),
    detail::memory("mmap/map-unmap-file-vmas-1024", detail::kPairs),
    // mprotect of a mapping of one touched page: read-only, and writable again.
    detail::memory("mmap/mprotect-vmas-1", detail::kPairs),
    detail::memory("mmap/mprotect-vmas-16", detail::kPairs, detail::kQuick),
    detail::memory("mmap/mprotect-vmas-256", detail::kPairs),
    detail::memory("mmap/mprotect-vmas-1024", detail::kPairs),
    // mremap of a mapping of one touched page: to another address, and back.
    detail::memory("mmap/mremap-move-vmas-1", detail::kPairs),
    detail::memory("mmap/mremap-move-vmas-16", detail::kPairs, detail::kQuick),
    detail::memory("mmap/mremap-move-vmas-256", detail::kPairs),
    detail::memory("mmap/mremap-move-vmas-1024", detail::kPairs),
    // mremap of a mapping of one page in place: to two pages, and to one again.
    detail::memory("mmap/mremap-grow-vmas-1", detail::kPairs),
    detail::memory("mmap/mremap-grow-vmas-16", detail::kPairs),
    detail::memory("mmap/mremap-grow-vmas-256", detail::kPairs),
    detail::memory("mmap/mremap-grow-vmas-1024", detail::kPairs),
    // madvise(MADV_DONTNEED) of one touched page of a mapping.
    detail::memory("mmap/madvise-dontneed-vmas-1", detail::kPairs),
    detail::memory("mmap/madvise-dontneed-vmas-16", detail::kPairs, detail::kQuick),
    detail::memory("mmap/madvise-dontneed-vmas-256", detail::kPairs),
    detail::memory("mmap/madvise-dontneed-vmas-1024", detail::kPairs),
    // brk: one page up, and down again; untouched.
    detail::memory("mmap/brk-vmas-1", detail::kPairs, detail::kQuick),
    detail::memory("mmap/brk-vmas-16", detail::kPairs),
    detail::memory("mmap/brk-vmas-256", detail::kPairs),
    detail::memory("mmap/brk-vmas-1024", detail::kPairs),

    // -span-N: one call over N adjacent mappings of one touched page each. mprotect: there and
    // back.
    detail::memory("mmap/munmap-span-16", 1, detail::kQuick),
    detail::dear(detail::memory("mmap/munmap-span-256", 1)),
    detail::dear(detail::memory("mmap/munmap-span-1024", 1)),
    detail::memory("mmap/mprotect-span-16", detail::kPairs),
    detail::few(detail::memory("mmap/mprotect-span-256", 1)),
    detail::dear(detail::memory("mmap/mprotect-span-1024", 1)),
    detail::memory("mmap/madvise-dontneed-span-16", 1),
    detail::few(detail::memory("mmap/madvise-dontneed-span-256", 1)),
    detail::dear(detail::memory("mmap/madvise-dontneed-span-1024", 1)),
    // mmap with MAP_FIXED of one page over a mapping that is there; untouched.
    detail::memory("mmap/map-fixed", detail::kPairs),

    // -refused: EPERM, for the mapping (one touched page) was sealed by mseal(2) of ours. mremap:
    // to another address; mremap-grow: in place, to two pages. brk: down by the heap's last page,
    // which is the one that is sealed. madvise: MADV_DONTNEED, and the page is read-only.
    // map-fixed: mmap over it.
    detail::memory("mmap/munmap-refused", detail::kCalls, detail::kQuick),
    detail::memory("mmap/mprotect-refused", detail::kCalls, detail::kQuick),
    detail::memory("mmap/mremap-refused", detail::kCalls),
    detail::memory("mmap/mremap-grow-refused", detail::kCalls),
    detail::memory("mmap/brk-refused", detail::kCalls),
    detail::memory("mmap/madvise-dontneed-refused", detail::kCalls),
    detail::memory("mmap/map-fixed-refused", detail::kCalls),
    detail::memory("mmap/munmap-refused-vmas-1024", detail::kCalls),
    detail::memory("mmap/mprotect-refused-vmas-1024", detail::kCalls),
    // -vdso-refused: the same of [vdso], all of it. We seal it too, so that it is sealed in each
    // kernel.
    detail::memory("mmap/munmap-vdso-refused", detail::kCalls),
    detail::memory("mmap/mprotect-vdso-refused", detail::kCalls),
    detail::memory("mmap/mremap-vdso-refused", detail::kCalls),
    // mseal(2) itself, of a mapping of one page, and one call over so many. A seal is for the life
    // of the process: each sample is taken in a new child.
    detail::memory("mmap/mseal", detail::kPairs, detail::kQuick),
    detail::memory("mmap/mseal-span-16", 1),
    detail::dear(detail::memory("mmap/mseal-span-256", 1)),

    // A call of the vdso's function that makes no system call (checked); -syscall: the same by the
    // system call.
    detail::call("vdso/clock_gettime-realtime"),
    detail::control("vdso/clock_gettime-realtime-syscall"),
    detail::call("vdso/clock_gettime-monotonic", detail::kQuick),
    detail::control("vdso/clock_gettime-monotonic-syscall", detail::kQuick),
    detail::call("vdso/clock_gettime-boottime"),
    detail::control("vdso/clock_gettime-boottime-syscall"),
    detail::call("vdso/clock_gettime-tai"),
    detail::control("vdso/clock_gettime-tai-syscall"),
    detail::call("vdso/clock_gettime-realtime-coarse", detail::kQuick),
    detail::control("vdso/clock_gettime-realtime-coarse-syscall"),
    detail::call("vdso/clock_gettime-monotonic-coarse"),
    detail::control("vdso/clock_gettime-monotonic-coarse-syscall"),
    detail::call("vdso/clock_gettime-monotonic-raw"),
    detail::control("vdso/clock_gettime-monotonic-raw-syscall"),
    detail::call("vdso/gettimeofday", detail::kQuick),
    detail::control("vdso/gettimeofday-syscall"),
    detail::only(On::X86_64, detail::call("vdso/time")),
    detail::only(On::X86_64, detail::control("vdso/time-syscall")),
    detail::only(On::X86_64, detail::call("vdso/getcpu")),
    detail::only(On::X86_64, detail::control("vdso/getcpu-syscall")),
    detail::call("vdso/clock_getres-monotonic"),
    detail::control("vdso/clock_getres-monotonic-syscall"),
    // One operation: three calls for 32 bytes each, one round of the vdso's buffer.
    detail::call("vdso/getrandom", detail::kQuick),
    detail::control("vdso/getrandom-syscall"),
    // clock_gettime(CLOCK_MONOTONIC) as the first use of the vdso in a child of a process that has
    // used it, and in a program without a C library.
    detail::first_call("vdso/first-call-fork", detail::kQuick),
    detail::first_call("vdso/first-call-exec", detail::kQuick),

    // In a 32-bit process, with its own vdso. clock_getres: with times of 32 bits, for that vdso
    // has
    // no other.
    detail::call("compat/clock_gettime64-realtime"),
    detail::control("compat/clock_gettime64-realtime-syscall"),
    detail::call("compat/clock_gettime64-monotonic", detail::kQuick),
    detail::control("compat/clock_gettime64-monotonic-syscall"),
    detail::call("compat/clock_gettime64-boottime"),
    detail::control("compat/clock_gettime64-boottime-syscall"),
    detail::call("compat/clock_gettime64-tai"),
    detail::control("compat/clock_gettime64-tai-syscall"),
    detail::call("compat/clock_gettime64-realtime-coarse"),
    detail::control("compat/clock_gettime64-realtime-coarse-syscall"),
    detail::call("compat/clock_gettime64-monotonic-coarse"),
    detail::control("compat/clock_gettime64-monotonic-coarse-syscall"),
    detail::call("compat/clock_gettime64-monotonic-raw"),
    detail::control("compat/clock_gettime64-monotonic-raw-syscall"),
    detail::call("compat/gettimeofday"),
    detail::control("compat/gettimeofday-syscall"),
    detail::only(On::X86_64, detail::call("compat/time")),
    detail::only(On::X86_64, detail::control("compat/time-syscall")),
    detail::only(On::X86_64, detail::call("compat/getcpu")),
    detail::only(On::X86_64, detail::control("compat/getcpu-syscall")),
    detail::call("compat/clock_getres-monotonic"),
    detail::control("compat/clock_getres-monotonic-syscall"),
    detail::first_call("compat/first-call-fork"),
    detail::first_call("compat/first-call-exec"),
    // As those of exec/ and mmap/ that are called so, by a 32-bit process. execve: of a 32-bit
    // program.
    detail::exec("compat/fork-exit"),
    detail::exec("compat/execve"),
    detail::memory("compat/map-unmap-anon-4k", detail::kPairs),
    detail::memory("compat/map-unmap-anon-4k-touched", detail::kPairs),
    detail::memory("compat/mprotect-vmas-1", detail::kPairs),
    detail::memory("compat/mprotect-vmas-16", detail::kPairs),
    detail::memory("compat/munmap-refused", detail::kCalls),
    detail::memory("compat/mprotect-refused", detail::kCalls),
    detail::memory("compat/mseal", detail::kPairs),

    // Tools that nobody here wrote, for --cross-check alone: a run of the tool from fork to wait,
    // and what it counts as operations. -start: fewer of them, so that the difference of both is of
    // operations alone. bench/guest/foreign.cc has the command lines.
    detail::foreign("stress-ng/exec", 8),
    detail::foreign("stress-ng/exec-start", 2),
    detail::foreign("stress-ng/mmap", 48),
    detail::foreign("stress-ng/mmap-start", 8),
    detail::foreign("stress-ng/mremap", 240),
    detail::foreign("stress-ng/mremap-start", 40),
    detail::foreign("stress-ng/vdso", 300'000),
    detail::foreign("stress-ng/vdso-start", 1'000),
    detail::foreign("perf-bench/execve", 48),
    detail::foreign("perf-bench/execve-start", 8),
    detail::foreign("perf-bench/fork", 64),
    detail::foreign("perf-bench/fork-start", 8),
};

}  // namespace sealvisor::bench
