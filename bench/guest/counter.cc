#include "bench/guest/counter.h"

#include <ctime>

#include "bench/guest/mark.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sealvisor::bench {

#if defined(__x86_64__)

namespace {

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

std::int64_t raw_nanoseconds() {
  Time time{};
  (void)agent::raw_call(kClockGettime, CLOCK_MONOTONIC_RAW, address_of(&time));
  return time.seconds * 1'000'000'000 + time.nanoseconds;
}

std::uint64_t hertz_by_clock() {
  constexpr std::int64_t kLong = 20'000'000;
  const std::int64_t start = raw_nanoseconds();
  const std::uint64_t first = read_counter();
  std::int64_t end = start;
  while (end - start < kLong) end = raw_nanoseconds();
  const std::uint64_t ticks = read_counter() - first;
  return ticks * 1'000'000'000 / static_cast<std::uint64_t>(end - start);
}

}  // namespace

Frequency counter_frequency() {
  const std::uint64_t hertz = hertz_by_cpuid();
  if (hertz != 0) return {hertz, "CPUID 0x15"};
  return {hertz_by_clock(), "CLOCK_MONOTONIC_RAW"};
}

#elif defined(__aarch64__)

Frequency counter_frequency() {
  std::uint64_t hertz = 0;
  asm("mrs %0, cntfrq_el0" : "=r"(hertz));
  return {hertz, "CNTFRQ_EL0"};
}

#endif

}  // namespace sealvisor::bench
