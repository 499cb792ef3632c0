// The report of a run of benchmarks as one page that needs nothing else: no network, no fonts, no
// other files. Pure.
#pragma once

#include <string>
#include <vector>

#include "bench/gnuplot.h"
#include "bench/result.h"

namespace sealvisor::bench {

/// The whole page. `drawings` are those of plots_of(report), drawn.
[[nodiscard]] std::string render_html(const Report& report, const std::vector<Drawing>& drawings);

}  // namespace sealvisor::bench
