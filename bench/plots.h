// Plots of a run of benchmarks, as scripts for gnuplot. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/result.h"

namespace sealvisor::bench {

/// Part of the page that a plot belongs to.
enum class PlotKind : std::uint8_t {
  Shifts,    ///< Shift, interval and bound of each experiment of a group.
  Spread,    ///< The values of all layouts, a's and b's.
  Vmas,      ///< Cost and shift as the number of mappings grows: names that end in -vmas-N.
  Profiles,  ///< Symbols whose instructions differ, of one experiment.
};

struct Plot {
  PlotKind kind = PlotKind::Shifts;
  std::string title;        ///< One line.
  std::string description;  ///< What a person who can't see it must know.
  unsigned width = 0;       ///< Pixels.
  unsigned height = 0;
  /// Commands between `set output` and the end of the plot. What came from a guest is in it as
  /// gnuplot_text() makes it.
  std::string script;
};

/// Most plots of differences by symbol; the largest differences have one.
inline constexpr std::size_t kMostProfilePlots = 8;

/// All plots that this run has data for, in the order of the page.
[[nodiscard]] std::vector<Plot> plots_of(const Report& report);

/// Letters, digits and " _./:+-@,%()"; all else is '?': nothing that a guest named may leave a
/// string of a script.
[[nodiscard]] std::string gnuplot_text(std::string_view text);

}  // namespace sealvisor::bench
