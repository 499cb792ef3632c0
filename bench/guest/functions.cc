#include "bench/guest/functions.h"

#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "bench/experiment_list.h"
#include "bench/guest/processes.h"

namespace sealvisor::bench {
namespace {

constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

constexpr std::uint64_t argument_of(Target target) { return static_cast<std::uint64_t>(target); }
constexpr std::uint64_t argument_of(Foreign which) { return static_cast<std::uint64_t>(which); }

constexpr Entry kEntries[] = {
    {"exec/fork-exit", fork_exit},
    {"exec/fork-exec-static", fork_exec, argument_of(Target::Static)},
    {"exec/fork-exec-dynamic", fork_exec, argument_of(Target::Dynamic)},
    {"exec/fork-exec-compat", fork_exec, argument_of(Target::Compat)},
    {"exec/vfork-exec", vfork_exec},
    {"exec/posix-spawn", spawn},
    {"exec/execve", execve_alone},
    {"exec/execve-thread-group", execve_by_thread, 4},
    {"exec/execve-end-mark", execve_end_mark},
    {"exec/execve-vmas-1", execve_vmas, 1},
    {"exec/execve-vmas-16", execve_vmas, 16},
    {"exec/execve-vmas-256", execve_vmas, 256},
    {"exec/fork-exec-vmas-1", fork_exec_vmas, 1},
    {"exec/fork-exec-vmas-16", fork_exec_vmas, 16},
    {"exec/fork-exec-vmas-256", fork_exec_vmas, 256},
    {"exec/teardown", teardown, 0},
    {"exec/teardown-vmas-256", teardown, 256},

    {"mmap/map-unmap-anon-4k", map_anonymous, kPage},
    {"mmap/map-unmap-anon-4k-touched", map_anonymous_touched, kPage},
    {"mmap/map-unmap-anon-2m", map_anonymous, 2 * kMebibyte},
    {"mmap/map-unmap-anon-2m-touched", map_anonymous_touched, 2 * kMebibyte},
    {"mmap/map-unmap-anon-1g", map_anonymous, 1024 * kMebibyte},
    {"mmap/map-unmap-anon-1g-touched", map_anonymous_touched, 1024 * kMebibyte},
    {"mmap/map-unmap-file-4k", map_file, kPage},
    {"mmap/map-unmap-file-4k-touched", map_file_touched, kPage},
    {"mmap/map-unmap-file-2m", map_file, 2 * kMebibyte},
    {"mmap/map-unmap-file-2m-touched", map_file_touched, 2 * kMebibyte},
    {"mmap/map-unmap-file-1g", map_file, 1024 * kMebibyte},
    {"mmap/map-unmap-file-1g-touched", map_file_touched, 1024 * kMebibyte},
    {"mmap/map-unmap-anon-2m-huge", map_anonymous_huge, 2 * kMebibyte},
    {"mmap/map-unmap-anon-2m-huge-touched", map_anonymous_huge_touched, 2 * kMebibyte},
    {"mmap/map-unmap-anon-1g-huge", map_anonymous_huge, 1024 * kMebibyte},
    {"mmap/map-unmap-anon-1g-huge-touched", map_anonymous_huge_touched, 1024 * kMebibyte},
    {"mmap/map-unmap-file-2m-huge", map_file_huge, 2 * kMebibyte},
    {"mmap/map-unmap-file-2m-huge-touched", map_file_huge_touched, 2 * kMebibyte},
    {"mmap/map-unmap-file-1g-huge", map_file_huge, 1024 * kMebibyte},
    {"mmap/map-unmap-file-1g-huge-touched", map_file_huge_touched, 1024 * kMebibyte},

    {"mmap/map-unmap-vmas-1", map_vmas, 1},
    {"mmap/map-unmap-vmas-16", map_vmas, 16},
    {"mmap/map-unmap-vmas-256", map_vmas, 256},
    {"mmap/map-unmap-vmas-1024", map_vmas, 1024},
    {"mmap/map-unmap-vmas-1-touched", map_vmas_touched, 1},
    {"mmap/map-unmap-vmas-16-touched", map_vmas_touched, 16},
    {"mmap/map-unmap-vmas-256-touched", map_vmas_touched, 256},
    {"mmap/map-unmap-vmas-1024-touched", map_vmas_touched, 1024},
    {"mmap/map-unmap-file-vmas-1", map_file_vmas, 1},
    {"mmap/map-unmap-file-vmas-16", map_file_vmas, 16},
    {"mmap/map-unmap-file-vmas-256", map_file_vmas, 256},
    {"mmap/map-unmap-file-vmas-1024", map_file_vmas, 1024},
    {"mmap/mprotect-vmas-1", mprotect_vmas, 1},
    {"mmap/mprotect-vmas-16", mprotect_vmas, 16},
    {"mmap/mprotect-vmas-256", mprotect_vmas, 256},
    {"mmap/mprotect-vmas-1024", mprotect_vmas, 1024},
    {"mmap/mremap-move-vmas-1", mremap_move_vmas, 1},
    {"mmap/mremap-move-vmas-16", mremap_move_vmas, 16},
    {"mmap/mremap-move-vmas-256", mremap_move_vmas, 256},
    {"mmap/mremap-move-vmas-1024", mremap_move_vmas, 1024},
    {"mmap/mremap-grow-vmas-1", mremap_grow_vmas, 1},
    {"mmap/mremap-grow-vmas-16", mremap_grow_vmas, 16},
    {"mmap/mremap-grow-vmas-256", mremap_grow_vmas, 256},
    {"mmap/mremap-grow-vmas-1024", mremap_grow_vmas, 1024},
    {"mmap/madvise-dontneed-vmas-1", madvise_vmas, 1},
    {"mmap/madvise-dontneed-vmas-16", madvise_vmas, 16},
    {"mmap/madvise-dontneed-vmas-256", madvise_vmas, 256},
    {"mmap/madvise-dontneed-vmas-1024", madvise_vmas, 1024},
    {"mmap/brk-vmas-1", brk_vmas, 1},
    {"mmap/brk-vmas-16", brk_vmas, 16},
    {"mmap/brk-vmas-256", brk_vmas, 256},
    {"mmap/brk-vmas-1024", brk_vmas, 1024},

    {"mmap/munmap-span-16", munmap_span, 16},
    {"mmap/munmap-span-256", munmap_span, 256},
    {"mmap/munmap-span-1024", munmap_span, 1024},
    {"mmap/mprotect-span-16", mprotect_span, 16},
    {"mmap/mprotect-span-256", mprotect_span, 256},
    {"mmap/mprotect-span-1024", mprotect_span, 1024},
    {"mmap/madvise-dontneed-span-16", madvise_span, 16},
    {"mmap/madvise-dontneed-span-256", madvise_span, 256},
    {"mmap/madvise-dontneed-span-1024", madvise_span, 1024},
    {"mmap/map-fixed", map_fixed},

    {"mmap/munmap-refused", munmap_refused},
    {"mmap/mprotect-refused", mprotect_refused},
    {"mmap/mremap-refused", mremap_refused},
    {"mmap/mremap-grow-refused", mremap_grow_refused},
    {"mmap/brk-refused", brk_refused},
    {"mmap/madvise-dontneed-refused", madvise_refused},
    {"mmap/map-fixed-refused", map_fixed_refused},
    {"mmap/munmap-refused-vmas-1024", munmap_refused, 1024},
    {"mmap/mprotect-refused-vmas-1024", mprotect_refused, 1024},
    {"mmap/munmap-vdso-refused", munmap_vdso_refused},
    {"mmap/mprotect-vdso-refused", mprotect_vdso_refused},
    {"mmap/mremap-vdso-refused", mremap_vdso_refused},
    {"mmap/mseal", seal_each},
    {"mmap/mseal-span-16", seal_span, 16},
    {"mmap/mseal-span-256", seal_span, 256},

    {"vdso/clock_gettime-realtime", clock_gettime_vdso, CLOCK_REALTIME},
    {"vdso/clock_gettime-realtime-syscall", clock_gettime_call, CLOCK_REALTIME},
    {"vdso/clock_gettime-monotonic", clock_gettime_vdso, CLOCK_MONOTONIC},
    {"vdso/clock_gettime-monotonic-syscall", clock_gettime_call, CLOCK_MONOTONIC},
    {"vdso/clock_gettime-boottime", clock_gettime_vdso, CLOCK_BOOTTIME},
    {"vdso/clock_gettime-boottime-syscall", clock_gettime_call, CLOCK_BOOTTIME},
    {"vdso/clock_gettime-tai", clock_gettime_vdso, CLOCK_TAI},
    {"vdso/clock_gettime-tai-syscall", clock_gettime_call, CLOCK_TAI},
    {"vdso/clock_gettime-realtime-coarse", clock_gettime_vdso, CLOCK_REALTIME_COARSE},
    {"vdso/clock_gettime-realtime-coarse-syscall", clock_gettime_call, CLOCK_REALTIME_COARSE},
    {"vdso/clock_gettime-monotonic-coarse", clock_gettime_vdso, CLOCK_MONOTONIC_COARSE},
    {"vdso/clock_gettime-monotonic-coarse-syscall", clock_gettime_call, CLOCK_MONOTONIC_COARSE},
    {"vdso/clock_gettime-monotonic-raw", clock_gettime_vdso, CLOCK_MONOTONIC_RAW},
    {"vdso/clock_gettime-monotonic-raw-syscall", clock_gettime_call, CLOCK_MONOTONIC_RAW},
    {"vdso/gettimeofday", gettimeofday_vdso},
    {"vdso/gettimeofday-syscall", gettimeofday_call},
    {"vdso/time", time_vdso},
    {"vdso/time-syscall", time_call},
    {"vdso/getcpu", getcpu_vdso},
    {"vdso/getcpu-syscall", getcpu_call},
    {"vdso/clock_getres-monotonic", clock_getres_vdso, CLOCK_MONOTONIC},
    {"vdso/clock_getres-monotonic-syscall", clock_getres_call, CLOCK_MONOTONIC},
    {"vdso/getrandom", getrandom_vdso},
    {"vdso/getrandom-syscall", getrandom_call},
    {"vdso/first-call-fork", first_call_fork},
    {"vdso/first-call-exec", first_call_exec},

    {"stress-ng/exec", run_tool, argument_of(Foreign::Exec)},
    {"stress-ng/exec-start", run_tool, argument_of(Foreign::Exec)},
    {"stress-ng/mmap", run_tool, argument_of(Foreign::Mmap)},
    {"stress-ng/mmap-start", run_tool, argument_of(Foreign::Mmap)},
    {"stress-ng/mremap", run_tool, argument_of(Foreign::Mremap)},
    {"stress-ng/mremap-start", run_tool, argument_of(Foreign::Mremap)},
    {"stress-ng/vdso", run_tool, argument_of(Foreign::Vdso)},
    {"stress-ng/vdso-start", run_tool, argument_of(Foreign::Vdso)},
    {"perf-bench/execve", run_tool, argument_of(Foreign::PerfExecve)},
    {"perf-bench/execve-start", run_tool, argument_of(Foreign::PerfExecve)},
    {"perf-bench/fork", run_tool, argument_of(Foreign::PerfFork)},
    {"perf-bench/fork-start", run_tool, argument_of(Foreign::PerfFork)},
};

/// Those of 32-bit processes: that program has a table of its own.
constexpr std::string_view kCompat = "compat/";

constexpr Entry find_here(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry;
  }
  if (name.starts_with(kCompat)) return {name, run_compat};
  return {};
}

constexpr bool all_have_functions() {
  for (const Experiment& experiment : kExperiments) {
    if (find_here(experiment.name).function == nullptr) return false;
  }
  return true;
}
static_assert(all_have_functions(), "an experiment of bench/experiment_list.h has no function");

}  // namespace

Entry find_function(std::string_view name) { return find_here(name); }

int run_compat(Run& run, std::uint64_t /*unused*/) {
  static char path[] = "bench-compat";
  static char word[] = "run";
  char* const arguments[] = {path, word, nullptr};
  char* const environment[] = {nullptr};
  // This process goes on as that program, with its deadline and its descriptors.
  ::execve(kCompatTarget, arguments, environment);
  run.shared().exec_error = errno;
  return errno == ENOEXEC ? ENOTSUP : errno;
}

}  // namespace sealvisor::bench
