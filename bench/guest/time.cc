// Experiments vdso/ and compat/ that ask for the time: the vdso's function, and the system call. In
// 64-bit processes and in 32-bit ones.
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/traced.h"
#include "bench/guest/vdso.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMicrosecond = 1000;

std::int64_t nanoseconds_of(const Time& time) { return time.seconds * kSecond + time.nanoseconds; }

/// Of the kernel itself; -1: it has no such clock.
std::int64_t now(clockid_t clock) {
  Time time{};
  const long result = agent::raw_call(kClockGettime, clock, address_of(&time));
  return result == 0 ? nanoseconds_of(time) : -1;
}

/// Samples of `ask()`, which says whether it was answered. `answer()`: the last one, in units of
/// `unit` ns. It must lie between what the kernel says before and after; `forget()` makes one that
/// can't.
template <typename Forget, typename Ask, typename Answer>
int time_samples(Run& run, clockid_t clock, std::int64_t unit, const Forget& forget, const Ask& ask,
                 const Answer& answer) {
  std::int64_t before = 0;
  return run.each(
      [&] {
        forget();
        before = now(clock) / unit;
        return before < 0 ? ENOTSUP : 0;
      },
      [&](std::uint32_t) { return ask(); },
      [&] {
        const std::int64_t last = answer();
        return before <= last && last <= now(clock) / unit;
      });
}

/// `ask(clock, time)`: as clock_gettime.
template <typename Ask>
int gettime_samples(Run& run, clockid_t clock, const Ask& ask) {
  Time time{};
  return time_samples(
      run, clock, 1,
      [&] {
        time = {-1, -1};
      },
      [&] { return ask(clock, &time) == 0; }, [&] { return nanoseconds_of(time); });
}

template <typename Ask>
int gettimeofday_samples(Run& run, const Ask& ask) {
  TimeOfDay time{};
  return time_samples(
      run, CLOCK_REALTIME, kMicrosecond,
      [&] {
        time = {-1, -1};
      },
      [&] { return ask(&time) == 0; },
      [&] { return (time.seconds * kSecond + time.microseconds * kMicrosecond) / kMicrosecond; });
}

template <typename Ask>
int seconds_samples(Run& run, const Ask& ask) {
  long time = -1;
  // time() is of the coarse clock: lib/vdso/gettimeofday.c, __cvdso_time; kernel/time/time.c.
  return time_samples(
      run, CLOCK_REALTIME_COARSE, kSecond, [&] { time = -1; },
      [&] {
        time = ask();
        return time > 0;
      },
      [&] { return std::int64_t{time}; });
}

template <typename Ask>
int getres_samples(Run& run, clockid_t clock, const Ask& ask) {
  Resolution expected{};
  if (agent::raw_call(SYS_clock_getres, clock, address_of(&expected)) != 0) return ENOTSUP;
  Resolution found{};
  return run.each(
      [&] {
        found = {-1, -1};
        return 0;
      },
      [&](std::uint32_t) { return ask(clock, &found) == 0; },
      [&] {
        return found.seconds == expected.seconds && found.nanoseconds == expected.nanoseconds;
      });
}

}  // namespace

int clock_gettime_vdso(Run& run, std::uint64_t clock) {
  const auto ask = Vdso::own().find<ClockGettime>(kClockGettimeName);
  const auto id = static_cast<clockid_t>(clock);
  Time time{};
  if (ask == nullptr || !stays_in_user_mode([&] { return ask(id, &time); })) return ENOTSUP;
  return gettime_samples(run, id, ask);
}

int clock_gettime_call(Run& run, std::uint64_t clock) {
  return gettime_samples(run, static_cast<clockid_t>(clock), [](clockid_t id, Time* time) {
    return agent::raw_call(kClockGettime, id, address_of(time));
  });
}

int gettimeofday_vdso(Run& run, std::uint64_t /*unused*/) {
  const auto get = Vdso::own().find<GetTimeOfDay>("gettimeofday");
  TimeOfDay time{};
  if (get == nullptr || !stays_in_user_mode([&] { return get(&time, nullptr); })) return ENOTSUP;
  return gettimeofday_samples(run, [get](TimeOfDay* day) { return get(day, nullptr); });
}

int gettimeofday_call(Run& run, std::uint64_t /*unused*/) {
  return gettimeofday_samples(
      run, [](TimeOfDay* day) { return agent::raw_call(SYS_gettimeofday, address_of(day), 0); });
}

int time_vdso(Run& run, std::uint64_t /*unused*/) {
  const auto get = Vdso::own().find<GetTime>("time");
  if (get == nullptr || !stays_in_user_mode([&] { return get(nullptr); })) return ENOTSUP;
  return seconds_samples(run, [get] { return get(nullptr); });
}

int time_call([[maybe_unused]] Run& run, std::uint64_t /*unused*/) {
#if defined(SYS_time)
  return seconds_samples(run, [] { return agent::raw_call(SYS_time, 0); });
#else
  return ENOTSUP;
#endif
}

int clock_getres_vdso(Run& run, std::uint64_t clock) {
  const auto ask = Vdso::own().find<ClockGetres>("clock_getres");
  const auto id = static_cast<clockid_t>(clock);
  Resolution found{};
  if (ask == nullptr || !stays_in_user_mode([&] { return ask(id, &found); })) return ENOTSUP;
  return getres_samples(run, id, ask);
}

int clock_getres_call(Run& run, std::uint64_t clock) {
  return getres_samples(run, static_cast<clockid_t>(clock), [](clockid_t id, Resolution* found) {
    return agent::raw_call(SYS_clock_getres, id, address_of(found));
  });
}

}  // namespace sealvisor::bench
