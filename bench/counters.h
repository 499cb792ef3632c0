// The counter that a run's times are read from: one for all guests of an architecture, or the run
// is void. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// What the guests of one architecture say of their counter, taken together: they all run on the
/// same CPU of the same host. One frequency is used for all of them, so that what one of them
/// measured it wrong by is no difference between kernels.
struct RunCounter {
  arch::Arch arch = arch::Arch::X86_64;
  std::string source{};
  std::uint64_t frequency = 0;  ///< Median of the boots; 0: one of them does not know.
  double spread = 0;       ///< Greatest distance of a boot's frequency from it, as a part of it.
  std::uint64_t step = 1;  ///< The greatest.
  double read_ticks = 0;   ///< Median.
  double nop_ticks = 0;    ///< Median.

  /// `ticks` in nanoseconds. Precondition: the frequency is known.
  [[nodiscard]] double nanoseconds(double ticks) const {
    return ticks * 1e9 / static_cast<double>(frequency);
  }
};

/// Of each architecture that has boots with a counter.
[[nodiscard]] std::vector<RunCounter> counters_of(std::span<const Boot> boots);
/// The one of `arch`; nullptr: there is none.
[[nodiscard]] const RunCounter* counter_of(std::span<const RunCounter> counters, arch::Arch arch);

/// Most of RunCounter::spread: a tenth of the least difference in time that matters.
inline constexpr double kMostSpread = 0.001;
/// Why figures by these counters can't be compared with each other, one line each.
[[nodiscard]] std::vector<std::string> problems_of(std::span<const RunCounter> counters);

}  // namespace sealvisor::bench
