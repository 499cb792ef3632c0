// Taking a sample: marks for the host that counts, or the guest's own counter.
//
// Between the two marks there is nothing but the operations and the counting of good ones. What
// differs between marks and clock, and between a sample and one of the warm-up, is decided outside.
// Nothing here touches the vdso or needs a C library.
#pragma once

#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <ctime>

#include "bench/guest/shared.h"
#include "guest/agent/raw.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::bench {

/// Where the marks of one sample go.
struct Place {
  std::byte* page = nullptr;  ///< The doorbell's page, or one that nobody listens to.
  /// By clock: where the sample goes; nullptr: by marks.
  std::uint64_t* ticks = nullptr;
};

/// The mark: one store. Written out as the ring of the doorbell is (guest/agent/doorbell.cc).
[[gnu::always_inline]] inline void mark(std::byte* page, protocol::Mark what) {
  std::byte* const at = page + protocol::kMarkRegister;
  const auto value = static_cast<std::uint32_t>(what);
#if defined(__x86_64__) || defined(__i386__)
  asm volatile("movl %1, (%0)" : : "r"(at), "r"(value) : "memory");
#elif defined(__aarch64__)
  asm volatile("str %w1, [%0]" : : "r"(at), "r"(value) : "memory");
#elif defined(__arm__)
  asm volatile("str %1, [%0]" : : "r"(at), "r"(value) : "memory");
#else
#error "no marks for this architecture"
#endif
}

/// The counter that user mode may read, with nothing moved across by the CPU. x86: the time-stamp
/// counter (SDM, RDTSC: LFENCE before and after). arm64: the virtual counter (Arm ARM, CNTVCT_EL0).
[[gnu::always_inline]] inline std::uint64_t read_counter() {
#if defined(__x86_64__) || defined(__i386__)
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("lfence\n rdtsc\n lfence" : "=a"(low), "=d"(high) : : "memory");
  return std::uint64_t{high} << 32 | low;
#elif defined(__aarch64__)
  std::uint64_t ticks = 0;
  asm volatile("isb\n mrs %0, cntvct_el0\n isb" : "=r"(ticks) : : "memory");
  return ticks;
#elif defined(__arm__)
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("isb\n mrrc p15, 1, %0, %1, c14\n isb" : "=r"(low), "=r"(high) : : "memory");
  return std::uint64_t{high} << 32 | low;
#else
#error "no counter for this architecture"
#endif
}

/// A time as the kernel takes it from every process, 32-bit ones too (struct __kernel_timespec).
struct Time {
  std::int64_t seconds;
  std::int64_t nanoseconds;
};

#if defined(SYS_clock_gettime64)
inline constexpr long kClockGettime = SYS_clock_gettime64;
inline constexpr long kClockNanosleep = SYS_clock_nanosleep_time64;
#else
inline constexpr long kClockGettime = SYS_clock_gettime;
inline constexpr long kClockNanosleep = SYS_clock_nanosleep;
#endif

/// mmap, and what its offset counts: bytes, or pages of 4096 of them in a 32-bit process
/// (mmap2(2)).
#if defined(SYS_mmap2)
inline constexpr long kMmap = SYS_mmap2;
inline constexpr std::uint64_t kMmapUnit = 4096;
#else
inline constexpr long kMmap = SYS_mmap;
inline constexpr std::uint64_t kMmapUnit = 1;
#endif

[[nodiscard, gnu::always_inline]] inline long address_of(const void* pointer) {
  return static_cast<long>(reinterpret_cast<std::uintptr_t>(pointer));
}

/// Waits until just after the next tick of the kernel's timer. What earlier work has left to be
/// done (RCU, work queues, frees) is done then, and a sample of less than 10 ms has no tick in it,
/// wherever the boot happened to end. For counted samples only: where time is measured, an idle CPU
/// would be the greater disturbance.
inline void settle() {
  // The kernels' tick: CONFIG_HZ_100, at multiples of it in CLOCK_MONOTONIC.
  constexpr std::int64_t kTick = 10'000'000;
  // Enough for the work that hangs on a tick.
  constexpr std::int64_t kAfterTick = 100'000;
  constexpr std::int64_t kSecond = 1'000'000'000;
  Time time{-1, -1};  // Zeros would be stored by memset, and here may be no library.
  if (agent::raw_call(kClockGettime, CLOCK_MONOTONIC, address_of(&time)) != 0) return;
  // The next tick, without a division, which would need a library in a 32-bit program.
  std::int64_t next = kTick;
  while (next <= time.nanoseconds) next += kTick;
  next += kAfterTick;
  if (next >= kSecond) {
    ++time.seconds;
    next -= kSecond;
  }
  time.nanoseconds = next;
  // It ends early if a signal comes; the only one here is the alarm that ends the process.
  (void)agent::raw_call(kClockNanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, address_of(&time), 0);
}

/// One sample: `batch` times `operation(i)`, between the marks. The number of those that said that
/// their outcome was right.
template <typename Operation>
std::uint32_t timed(const Place& place, std::uint32_t batch, const Operation& operation) {
  std::uint32_t good = 0;
  if (place.ticks != nullptr) {
    const std::uint64_t begin = read_counter();
    for (std::uint32_t i = 0; i < batch; ++i) good += operation(i) ? 1U : 0U;
    *place.ticks = read_counter() - begin;
    return good;
  }
  settle();
  std::byte* const page = place.page;
  mark(page, protocol::Mark::Begin);
  for (std::uint32_t i = 0; i < batch; ++i) good += operation(i) ? 1U : 0U;
  mark(page, protocol::Mark::End);
  return good;
}

/// The beginning of a sample that a program ends which this process execs now.
[[gnu::always_inline]] inline void begin_only(const Place& place, Shared& shared) {
  shared.begin = 0;  // Its page is there now.
  if (place.ticks != nullptr) {
    shared.begin = read_counter();
    return;
  }
  settle();
  mark(place.page, protocol::Mark::Begin);
}

/// Where the marks of the sample go that `shared` stands at. `spare`: the page behind it.
[[nodiscard]] inline Place place_now(Shared& shared, std::byte* doorbell, std::byte* spare) {
  const bool counts = shared.sample >= shared.warm_up;
  const std::uint32_t slot = counts ? shared.sample - shared.warm_up : kMaxSamplesOf;
  return {counts && shared.clock == 0 ? doorbell : spare,
          shared.clock != 0 ? &shared.ticks[slot] : nullptr};
}

}  // namespace sealvisor::bench
