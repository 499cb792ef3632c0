// The first call of the vdso in a process: the page faults of [vdso] and [vvar] are what it is
// about. Needs no C library, and touches the vdso by that call alone.
#pragma once

#include <cstdint>
#include <ctime>

#include "bench/guest/mark.h"
#include "bench/guest/run.h"
#include "bench/guest/vdso.h"

namespace sealvisor::bench {

/// One sample of `gettime(CLOCK_MONOTONIC)`. True if it was answered.
[[gnu::noinline]] inline bool take_first_call(const Place& place, ClockGettime gettime) {
  Time time{-1, -1};
  const std::uint32_t good =
      timed(place, 1, [&](std::uint32_t) { return gettime(CLOCK_MONOTONIC, &time) == 0; });
  return good == 1 && time.seconds >= 0 && time.nanoseconds >= 0 &&
         time.nanoseconds < 1'000'000'000;
}

/// In the new process: the sample, once all that it needs but the vdso was used: the same is done
/// with a function of our own and marks that nobody hears. How many calls were good.
[[nodiscard]] inline std::uint32_t first_call(Run& run, ClockGettime gettime) {
  const bool rehearsed = take_first_call(run.nowhere(), [](clockid_t, Time* time) {
    *time = {0, 0};
    return 0;
  });
  return rehearsed && take_first_call(run.place(), gettime) ? 1 : 0;
}

}  // namespace sealvisor::bench
