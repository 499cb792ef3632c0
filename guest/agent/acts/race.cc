// Eight threads of the victim that make calls at the same time, in turn on each CPU that there is.
// They are made before; from then on they use nothing of the C library, and end with the victim.
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "guest/agent/acts/act.h"
#include "guest/agent/cpus.h"
#include "guest/agent/raw.h"

namespace sealvisor::agent {

using protocol::Skip;
using scenario::Call;
using scenario::Racing;

namespace {

constexpr std::uint32_t kThreads = 8;
constexpr std::uint32_t kRounds = 8;

// Without COMPAT_32BIT_TIME a kernel answers ENOSYS to the SYS_futex of 32-bit processes, and who
// waits would spin.
#if defined(SYS_futex_time64)
constexpr long kFutex = SYS_futex_time64;
#else
constexpr long kFutex = SYS_futex;
#endif
#if defined(SYS_mmap2)
constexpr long kMmap = SYS_mmap2;
#else
constexpr long kMmap = SYS_mmap;
#endif
constexpr long kWait = 0, kWake = 1;  // FUTEX_WAIT, FUTEX_WAKE

void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  while (word.load() == value) (void)raw_call(kFutex, arg(&word), kWait, arg(value), 0);
}
void wake_all(std::atomic<std::uint32_t>& word) {
  (void)raw_call(kFutex, arg(&word), kWake, 0x7fffffff);
}

/// What the threads share. A victim has one race.
struct Course {
  Target target{};
  std::uint32_t what = 0;
  std::array<std::uintptr_t, kThreads> places{};  ///< Where each thread moves it to.
  std::atomic<std::uint32_t> go{0};
  std::atomic<std::uint32_t> left{kThreads};
  std::array<long, kThreads> best{};  ///< 0 once a call of the thread was done, else an error.
};
Course course;

long once(std::uint32_t thread) {
  const Target& t = course.target;
  auto what = static_cast<Racing>(course.what);
  if (what == Racing::Mixed) what = static_cast<Racing>(thread % 4);
  switch (what) {
    case Racing::Munmap:
    case Racing::Mixed:
      break;
    case Racing::Mprotect:
      return raw_call(SYS_mprotect, arg(t.start), arg(t.size()), PROT_NONE);
    case Racing::Mremap:
      return raw_call(SYS_mremap, arg(t.start), arg(t.size()), arg(t.size()),
                      MREMAP_MAYMOVE | MREMAP_FIXED, arg(course.places[thread]));
    case Racing::MmapFixed:
      return raw_call(kMmap, arg(t.start), arg(t.size()), PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  return raw_call(SYS_munmap, arg(t.start), arg(t.size()));
}

[[noreturn]] void* run(void* number) {
  const auto thread = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(number));
  keep_to_cpu(thread);
  wait_while(course.go, 0);
  long best = -EPROTO;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const long result = once(thread);
    if (best != 0) best = is_error(result) ? result : 0;
    (void)raw_call(SYS_sched_yield);
  }
  course.best[thread] = best;
  if (course.left.fetch_sub(1) == 1) wake_all(course.left);
  for (;;) wait_while(course.go, 1);
}

Skip line_up(Target& t, std::uint32_t what) {
  course.target = t;
  course.what = what;
  for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
    course.places[thread] = new_memory(t.size(), PROT_NONE);
    pthread_t made{};
    if (course.places[thread] == 0 ||
        ::pthread_create(&made, nullptr, run, reinterpret_cast<void*>(std::uintptr_t{thread})) !=
            0) {
      return Skip::NoRoom;
    }
  }
  return Skip::No;
}

/// 0 if any thread's call was done, else the first one's error.
long race(Target&, std::uint32_t) {
  course.go.store(1);
  wake_all(course.go);
  for (std::uint32_t left = course.left.load(); left != 0; left = course.left.load()) {
    wait_while(course.left, left);
  }
  for (const long best : course.best) {
    if (best == 0) return 0;
  }
  return course.best[0];
}

}  // namespace

void add_race_ways(Ways& ways) { way_of(ways, Call::Race) = {race, line_up}; }

}  // namespace sealvisor::agent
