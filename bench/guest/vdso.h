// The vdso of this process, looked into by ourselves: a static program's C library may or may not
// use it, and does so when it likes.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string_view>

#include "bench/guest/mark.h"

namespace sealvisor::bench {

// As vdso(7) and the kernel's sources have them; `Time` is what they take in every process whose
// time has 64 bits.
using ClockGettime = int (*)(clockid_t clock, Time* time);
/// What clock_getres takes: in a 32-bit process that of 32 bits, for its vdso has no other
/// (arch/arm64/kernel/vdso32/vdso.lds.S, arch/x86/entry/vdso/vdso32/vdso32.lds.S).
struct Resolution {
  long seconds;
  long nanoseconds;
};
using ClockGetres = int (*)(clockid_t clock, Resolution* resolution);
struct TimeOfDay {
  long seconds;
  long microseconds;
};
using GetTimeOfDay = int (*)(TimeOfDay* time, void* zone);
using GetTime = long (*)(long* time);
using GetCpu = int (*)(unsigned* cpu, unsigned* node, void* unused);
/// include/vdso/getrandom.h; `state_size` of all ones asks for what a state is (VdsoRandomState).
using GetRandom = ssize_t (*)(void* buffer, std::size_t size, unsigned flags, void* state,
                              std::size_t state_size);

/// The function of type ClockGettime.
#if defined(SYS_clock_gettime64)
inline constexpr std::string_view kClockGettimeName = "clock_gettime64";
#else
inline constexpr std::string_view kClockGettimeName = "clock_gettime";
#endif

class Vdso {
 public:
  Vdso() = default;
  /// That of this process. Empty if it has none, or /proc/self/maps does not know it.
  [[nodiscard]] static Vdso own();

  [[nodiscard]] std::uintptr_t start() const { return start_; }
  /// Bytes, whole pages.
  [[nodiscard]] std::size_t size() const { return size_; }

  /// The function that is called "__vdso_<name>" or, on arm64, "__kernel_<name>", which lies inside
  /// the vdso; nullptr: there is none.
  template <typename Function>
  [[nodiscard]] Function find(std::string_view name) const {
    return reinterpret_cast<Function>(address_of_function(name));
  }
  /// As find(); 0: there is none.
  [[nodiscard]] std::uintptr_t address_of_function(std::string_view name) const;

  /// Calls each function that is known here and there once. False: one of them failed, or there is
  /// no clock_gettime.
  [[nodiscard]] bool use() const;

 private:
  std::uintptr_t start_ = 0;
  std::size_t size_ = 0;
};

/// The clocks that a vdso may serve (lib/vdso/gettimeofday.c).
inline constexpr clockid_t kVdsoClocks[] = {
    CLOCK_REALTIME,        CLOCK_MONOTONIC,        CLOCK_BOOTTIME,     CLOCK_TAI,
    CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW};

}  // namespace sealvisor::bench
