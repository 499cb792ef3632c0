// The experiments themselves. bench/experiment_list.h says what each of them is; here stands what
// `argument` is. Each returns 0 or the errno that stopped it (bench/guest/run.h, Function).
// bench/guest/main_compat.cc has those of them that a 32-bit process takes, in a table of its own.
#pragma once

#include <cstdint>
#include <string_view>

#include "bench/guest/run.h"

namespace sealvisor::bench {

/// A program that is exec'd.
enum class Target : std::uint64_t { Static, Dynamic, Compat };

/// The function of the experiment `name` and its argument; {nullptr, 0}: this program has none.
struct Entry {
  std::string_view name;
  Function function = nullptr;
  std::uint64_t argument = 0;
};
[[nodiscard]] Entry find_function(std::string_view name);

/// A tool that nobody here wrote, and what it is to do.
enum class Foreign : std::uint64_t {
  Exec,
  Mmap,
  Mremap,
  Vdso,
  PerfExecve,
  PerfFork,
};

// exec.cc
[[nodiscard]] int fork_exec(Run& run, std::uint64_t target);  ///< One of Target.
[[nodiscard]] int fork_exec_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int vfork_exec(Run& run, std::uint64_t unused);
[[nodiscard]] int spawn(Run& run, std::uint64_t unused);
[[nodiscard]] int teardown(Run& run, std::uint64_t mappings);

// execve.cc
[[nodiscard]] int fork_exit(Run& run, std::uint64_t unused);
[[nodiscard]] int execve_alone(Run& run, std::uint64_t unused);
[[nodiscard]] int execve_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int execve_by_thread(Run& run, std::uint64_t threads);  ///< In all.
[[nodiscard]] int execve_end_mark(Run& run, std::uint64_t unused);

// map.cc
[[nodiscard]] int map_anonymous(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_anonymous_touched(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_file(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_file_touched(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_anonymous_huge(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_anonymous_huge_touched(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_file_huge(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_file_huge_touched(Run& run, std::uint64_t bytes);
[[nodiscard]] int map_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int map_vmas_touched(Run& run, std::uint64_t mappings);
[[nodiscard]] int map_file_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int map_fixed(Run& run, std::uint64_t unused);

// change.cc
[[nodiscard]] int mprotect_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int mremap_move_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int mremap_grow_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int madvise_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int brk_vmas(Run& run, std::uint64_t mappings);
[[nodiscard]] int munmap_span(Run& run, std::uint64_t mappings);
[[nodiscard]] int mprotect_span(Run& run, std::uint64_t mappings);
[[nodiscard]] int madvise_span(Run& run, std::uint64_t mappings);

// seal.cc
[[nodiscard]] int munmap_refused(Run& run, std::uint64_t mappings);  ///< More of them; or 0.
[[nodiscard]] int mprotect_refused(Run& run, std::uint64_t mappings);
[[nodiscard]] int mremap_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int mremap_grow_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int brk_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int munmap_vdso_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int mprotect_vdso_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int mremap_vdso_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int madvise_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int map_fixed_refused(Run& run, std::uint64_t unused);
[[nodiscard]] int seal_each(Run& run, std::uint64_t unused);
[[nodiscard]] int seal_span(Run& run, std::uint64_t mappings);

// time.cc
[[nodiscard]] int clock_gettime_vdso(Run& run, std::uint64_t clock);  ///< A clockid_t.
[[nodiscard]] int clock_gettime_call(Run& run, std::uint64_t clock);
[[nodiscard]] int gettimeofday_vdso(Run& run, std::uint64_t unused);
[[nodiscard]] int gettimeofday_call(Run& run, std::uint64_t unused);
[[nodiscard]] int time_vdso(Run& run, std::uint64_t unused);
[[nodiscard]] int time_call(Run& run, std::uint64_t unused);
[[nodiscard]] int clock_getres_vdso(Run& run, std::uint64_t clock);
[[nodiscard]] int clock_getres_call(Run& run, std::uint64_t clock);

// vdso_only.cc
[[nodiscard]] int getcpu_vdso(Run& run, std::uint64_t unused);
[[nodiscard]] int getcpu_call(Run& run, std::uint64_t unused);
[[nodiscard]] int getrandom_vdso(Run& run, std::uint64_t unused);
[[nodiscard]] int getrandom_call(Run& run, std::uint64_t unused);
[[nodiscard]] int first_call_fork(Run& run, std::uint64_t unused);
[[nodiscard]] int first_call_exec(Run& run, std::uint64_t unused);

// foreign.cc
[[nodiscard]] int run_tool(Run& run, std::uint64_t which);  ///< One of Foreign.

// functions.cc
/// Gives the experiment to the 32-bit program.
[[nodiscard]] int run_compat(Run& run, std::uint64_t unused);

}  // namespace sealvisor::bench
