// Drawing plots: gnuplot as a child with a deadline, and its SVG made fit to stand in a page.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/plots.h"
#include "vmm/base/result.h"

namespace sealvisor::bench {

struct ProgramEnd {
  int status = 0;      ///< Exit status; 128 + the signal's number if one killed it.
  std::string output;  ///< Standard output and error, perhaps cut.
};

/// Runs a program to its end, at most `limit`, like app::capture(): an error if it can't be started
/// or has not ended in time. Given by the caller, so that this library starts nothing by itself.
using RunProgram = std::function<Result<ProgramEnd>(const std::filesystem::path& program,
                                                    const std::vector<std::string>& arguments,
                                                    std::chrono::milliseconds limit)>;

/// How long gnuplot may take for all plots of a page.
inline constexpr std::chrono::seconds kDrawingLimit{60};

struct Drawing {
  Plot plot;
  std::string svg;  ///< An <svg> element.
};

/// Draws all of `plots` with one gnuplot, in a folder of its own that is gone afterwards. Errors
/// (HostLacks): gnuplot is missing (named, with its package), complains or takes too long.
[[nodiscard]] Result<std::vector<Drawing>> draw(const std::vector<Plot>& plots,
                                                const RunProgram& run);

/// `svg` as gnuplot wrote it, to stand among others in one page: the element alone, each id with
/// `prefix`, titled, and without the titles that gnuplot makes up for parts. Error (HostLacks): it
/// is no SVG.
[[nodiscard]] Result<std::string> inline_svg(std::string_view svg, const std::string& prefix,
                                             const Plot& plot);

}  // namespace sealvisor::bench
