// How fast the counter of bench/guest/mark.h counts.
#pragma once

#include <cstdint>

namespace sealvisor::bench {

struct Frequency {
  std::uint64_t hertz;
  const char* source;  ///< Who says so, for people.
};

/// arm64: CNTFRQ_EL0. x86-64: CPUID leaf 0x15 where it has all three numbers, else measured against
/// CLOCK_MONOTONIC_RAW for 20 ms.
[[nodiscard]] Frequency counter_frequency();

}  // namespace sealvisor::bench
