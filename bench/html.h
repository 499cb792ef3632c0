// The report of a run of benchmarks as one page that needs nothing else: no network, no fonts, no
// other files. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/gnuplot.h"
#include "bench/result.h"

namespace sealvisor::bench {

/// `text` for element content and attribute values: & < > " ' as references, control characters as
/// U+FFFD, and so is what is no UTF-8.
[[nodiscard]] std::string html_text(std::string_view text);

/// The whole page. `drawings` are those of plots_of(report), drawn.
[[nodiscard]] std::string render_html(const Report& report, const std::vector<Drawing>& drawings);

}  // namespace sealvisor::bench
