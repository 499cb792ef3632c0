#include "bench/guest/counter.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <numeric>
#include <string_view>

#include "bench/guest/mark.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sealvisor::bench {

namespace {

struct Frequency {
  std::uint64_t hertz;
  std::string_view source;
};

#if defined(__x86_64__)

/// SDM 2A, CPUID, leaf 0x15: the counter's ratio to a crystal, and the crystal's frequency. 0: it
/// does not say.
std::uint64_t hertz_by_cpuid() {
  constexpr unsigned kLeaf = 0x15;
  unsigned denominator = 0;
  unsigned numerator = 0;
  unsigned crystal = 0;
  unsigned unused = 0;
  if (__get_cpuid(kLeaf, &denominator, &numerator, &crystal, &unused) == 0) return 0;
  return denominator == 0 ? 0 : std::uint64_t{crystal} * numerator / denominator;
}

/// Counter and clock at one moment.
struct Point {
  std::uint64_t ticks;
  std::int64_t nanoseconds;
};

std::int64_t raw_nanoseconds() {
  Time time{};
  (void)agent::raw_call(kClockGettime, CLOCK_MONOTONIC_RAW, address_of(&time));
  return time.seconds * 1'000'000'000 + time.nanoseconds;
}

/// The closest of several: what comes between two readings makes them lie far apart.
Point point_now() {
  constexpr int kTries = 32;
  Point best{};
  std::uint64_t closest = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t before = read_counter();
    const std::int64_t clock = raw_nanoseconds();
    const std::uint64_t apart = read_counter() - before;
    if (apart >= closest) continue;
    closest = apart;
    best = {before + apart / 2, clock};
  }
  return best;
}

std::uint64_t hertz_by_clock() {
  constexpr std::int64_t kLong = 20'000'000;
  const Point first = point_now();
  while (raw_nanoseconds() - first.nanoseconds < kLong) {
  }
  const Point last = point_now();
  // Of a guest that did not run for minutes it would not fit into 64 bits.
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{last.ticks - first.ticks} * 1'000'000'000U /
                                    static_cast<Wide>(last.nanoseconds - first.nanoseconds));
}

Frequency frequency() {
  const std::uint64_t hertz = hertz_by_cpuid();
  if (hertz != 0) return {hertz, "CPUID 0x15"};
  return {hertz_by_clock(), "CLOCK_MONOTONIC_RAW"};
}

#elif defined(__aarch64__)

Frequency frequency() {
  std::uint64_t hertz = 0;
  asm("mrs %0, cntfrq_el0" : "=r"(hertz));
  return {hertz, "CNTFRQ_EL0"};
}

#endif

constexpr std::uint64_t kReads = 1024;
/// A counter that stands still for so many readings does not count.
constexpr std::uint64_t kMostReads = kReads * 1024;

/// step, reads and ticks_of_reads.
void read_often(protocol::Counter& counter) {
  const std::uint64_t first = read_counter();
  std::uint64_t last = first;
  for (counter.reads = 0;
       counter.reads < kReads || (counter.step == 0 && counter.reads < kMostReads);
       ++counter.reads) {
    const std::uint64_t now = read_counter();
    counter.step = std::gcd(counter.step, now - last);
    last = now;
  }
  counter.ticks_of_reads = last - first;
}

constexpr std::uint64_t kNops = 4096;
constexpr int kNopTries = 16;

std::uint64_t time_nops() {
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < kNopTries; ++i) {
    const std::uint64_t begin = read_counter();
    asm volatile(".rept 4096\n\tnop\n\t.endr");
    least = std::min(least, read_counter() - begin);
  }
  return least;
}

}  // namespace

protocol::Counter describe_counter() {
  protocol::Counter counter{};
  const Frequency known = frequency();
  counter.frequency = known.hertz;
  known.source.copy(counter.source, sizeof counter.source - 1);
  read_often(counter);
  counter.nops = kNops;
  counter.ticks_of_nops = time_nops();
  return counter;
}

}  // namespace sealvisor::bench
