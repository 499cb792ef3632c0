// /helpers/bench-compat: a 32-bit program. With the word "run" it measures the experiment that the
// shared memory names, otherwise it ends at once.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "bench/experiment_list.h"
#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/run.h"
#include "bench/guest/shared.h"
#include "guest/agent/console.h"

namespace sealvisor::bench {
namespace {

constexpr Entry kEntries[] = {
    {"compat/clock_gettime64-realtime", clock_gettime_vdso, CLOCK_REALTIME},
    {"compat/clock_gettime64-realtime-syscall", clock_gettime_call, CLOCK_REALTIME},
    {"compat/clock_gettime64-monotonic", clock_gettime_vdso, CLOCK_MONOTONIC},
    {"compat/clock_gettime64-monotonic-syscall", clock_gettime_call, CLOCK_MONOTONIC},
    {"compat/clock_gettime64-boottime", clock_gettime_vdso, CLOCK_BOOTTIME},
    {"compat/clock_gettime64-boottime-syscall", clock_gettime_call, CLOCK_BOOTTIME},
    {"compat/clock_gettime64-tai", clock_gettime_vdso, CLOCK_TAI},
    {"compat/clock_gettime64-tai-syscall", clock_gettime_call, CLOCK_TAI},
    {"compat/clock_gettime64-realtime-coarse", clock_gettime_vdso, CLOCK_REALTIME_COARSE},
    {"compat/clock_gettime64-realtime-coarse-syscall", clock_gettime_call, CLOCK_REALTIME_COARSE},
    {"compat/clock_gettime64-monotonic-coarse", clock_gettime_vdso, CLOCK_MONOTONIC_COARSE},
    {"compat/clock_gettime64-monotonic-coarse-syscall", clock_gettime_call, CLOCK_MONOTONIC_COARSE},
    {"compat/clock_gettime64-monotonic-raw", clock_gettime_vdso, CLOCK_MONOTONIC_RAW},
    {"compat/clock_gettime64-monotonic-raw-syscall", clock_gettime_call, CLOCK_MONOTONIC_RAW},
    {"compat/gettimeofday", gettimeofday_vdso},
    {"compat/gettimeofday-syscall", gettimeofday_call},
    {"compat/time", time_vdso},
    {"compat/time-syscall", time_call},
    {"compat/getcpu", getcpu_vdso},
    {"compat/getcpu-syscall", getcpu_call},
    {"compat/clock_getres-monotonic", clock_getres_vdso, CLOCK_MONOTONIC},
    {"compat/clock_getres-monotonic-syscall", clock_getres_call, CLOCK_MONOTONIC},
    {"compat/first-call-fork", first_call_fork},
    {"compat/first-call-exec", first_call_exec},

    {"compat/fork-exit", fork_exit},
    {"compat/execve", execve_alone},
    {"compat/map-unmap-anon-4k", map_anonymous, kPage},
    {"compat/map-unmap-anon-4k-touched", map_anonymous_touched, kPage},
    {"compat/mprotect-vmas-1", mprotect_vmas, 1},
    {"compat/mprotect-vmas-16", mprotect_vmas, 16},
    {"compat/munmap-refused", munmap_refused},
    {"compat/mprotect-refused", mprotect_refused},
    {"compat/mseal", seal_each},
};

constexpr Entry find_here(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry;
  }
  return {};
}

constexpr bool all_have_functions() {
  for (const Experiment& experiment : kExperiments) {
    const bool ours = experiment.name.starts_with("compat/");
    if (ours && find_here(experiment.name).function == nullptr) return false;
  }
  return true;
}
static_assert(all_have_functions(), "an experiment of bench/experiment_list.h has no function");

std::byte* map(int fd, std::uint64_t offset, std::size_t bytes) {
  void* at = ::mmap64(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                      static_cast<off64_t>(offset));
  if (at != MAP_FAILED) return static_cast<std::byte*>(at);
  agent::say("mapping descriptor %d: %s", fd, std::strerror(errno));
  return nullptr;
}

int measure() {
  std::byte* const memory = map(kSharedFd, 0, kSharedBytes);
  if (memory == nullptr) return EIO;
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  std::byte* const doorbell = map(kDoorbellFd, shared.doorbell, kPage);
  if (doorbell == nullptr) return EIO;
  const Entry entry = find_here(shared.name);
  Run run(shared, doorbell, memory + kPage);
  shared.status = entry.function == nullptr ? ENOSYS : entry.function(run, entry.argument);
  shared.finished = 1;
  return 0;
}

}  // namespace
}  // namespace sealvisor::bench

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "run") return sealvisor::bench::measure();
  return sealvisor::bench::kTargetExit;
}
