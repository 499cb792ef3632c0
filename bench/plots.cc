#include "bench/plots.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "bench/text.h"

namespace sealvisor::bench {

namespace {

// Readable on white and on black. The page colours what is black or grey (bench/html.cc).
constexpr const char* kColourA = "#3b82c4";
constexpr const char* kColourB = "#d9772b";
constexpr const char* kGrey = "#888888";
constexpr unsigned kWidth = 900;
constexpr unsigned kRow = 22;
/// Shifts are drawn in parts of their bound, up to this many.
constexpr double kMostBounds = 4;
constexpr std::size_t kMostBars = 12;

const char* plot_colour(Verdict verdict) {
  switch (verdict) {
    case Verdict::Equivalent:
      return "#2f9e5f";
    case Verdict::Slower:
      return "#d64545";
    case Verdict::Faster:
      return "#8a63d2";
    case Verdict::Undecided:
      return "#c48a12";
  }
  return kGrey;
}

bool is_whole(const Metric& metric) {
  return metric.measure != Measure::User && metric.measure != Measure::Kernel;
}

std::string group_of(const std::string& experiment) {
  return experiment.substr(0, experiment.find('/'));
}

/// Metrics of whole experiments that have a shift, those of one architecture and group together.
struct Panel {
  arch::Arch arch;
  std::string group;
  std::vector<const Metric*> metrics;
};

std::vector<Panel> panels_of(const Report& report) {
  std::vector<Panel> panels;
  for (const Metric& metric : report.metrics) {
    if (!is_whole(metric) || !metric.cost.shift) continue;
    const std::string group = group_of(metric.experiment);
    auto place = std::find_if(panels.begin(), panels.end(), [&](const Panel& panel) {
      return panel.arch == metric.arch && panel.group == group;
    });
    if (place == panels.end()) place = panels.insert(place, {metric.arch, group, {}});
    place->metrics.push_back(&metric);
  }
  return panels;
}

double clipped(double value) { return std::clamp(value, -kMostBounds, kMostBounds); }

/// A here-document of gnuplot: `$name << EOD`. Lines begin with a number, so that none ends it.
std::string data_block(const std::string& name, const std::vector<std::string>& lines) {
  return fmt::format("${} << EOD\n{}\nEOD\n", name, fmt::join(lines, "\n"));
}

/// A horizontal axis in parts of the bound, rows from the top, the band that does not matter.
std::string bound_axes(std::size_t rows) {
  return fmt::format(
      "set xrange [{0}:{1}]\nset yrange [{2}:-0.7]\n"
      "set object 1 rect from -1, graph 0 to 1, graph 1 fc rgb '{3}' fs transparent solid 0.15 "
      "noborder behind\n"
      "set arrow 1 from 0, graph 0 to 0, graph 1 nohead front dt 2 lw 1.5 lc rgb '{3}'\n"
      "set xlabel 'in parts of the bound; what is beyond {4:g} is drawn there' noenhanced\n"
      "set border 1\nset tics nomirror scale 0.5\nset xtics 1\n"
      "set lmargin at screen 0.3\nset rmargin at screen 0.74\n",
      -kMostBounds * 1.06, kMostBounds * 1.06, static_cast<double>(rows) - 0.3, kGrey, kMostBounds);
}

std::string experiment_tics(const std::vector<const Metric*>& metrics) {
  std::vector<std::string> tics;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    tics.push_back(fmt::format("'{}' {}", gnuplot_text(metrics[i]->experiment), i));
  }
  return fmt::format("set ytics ({}) noenhanced scale 0\n", fmt::join(tics, ", "));
}

std::string shift_text(const Metric& metric) {
  return fmt::format("{} {}", signed_text(metric.cost.shift->estimate),
                     interval_text(metric.cost.shift->ninety_five));
}

unsigned height_of(std::size_t rows) { return 96 + kRow * static_cast<unsigned>(rows); }

std::string unit_in(const Report& report) {
  return report.context.lane == Lane::Instructions ? "instructions" : "ns";
}

// --- shifts ---

Plot shift_plot(const Report& report, const Panel& panel) {
  std::string script = bound_axes(panel.metrics.size()) + experiment_tics(panel.metrics);
  std::vector<std::string> tics;
  std::map<Verdict, std::vector<std::string>> rows;
  for (std::size_t i = 0; i < panel.metrics.size(); ++i) {
    const Comparison& cost = panel.metrics[i]->cost;
    const Interval interval =
        cost.shift->ninety_five.value_or(Interval{cost.shift->estimate, cost.shift->estimate});
    const auto scaled = [&](double value) { return clipped(value / cost.bound); };
    rows[cost.verdict].push_back(fmt::format("{} {} {} {}", scaled(cost.shift->estimate), i,
                                             scaled(interval.lower), scaled(interval.upper)));
    tics.push_back(fmt::format("'{}' {}", gnuplot_text(shift_text(*panel.metrics[i])), i));
  }
  script += fmt::format(
      "set y2range [{}:-0.7]\nset y2tics ({}) noenhanced scale 0\nset key outside top center "
      "horizontal\n",
      static_cast<double>(panel.metrics.size()) - 0.3, fmt::join(tics, ", "));
  std::vector<std::string> parts;
  std::string words;
  for (const auto& [verdict, lines] : rows) {
    const std::string name = name_of(verdict);
    script += data_block(name, lines);
    parts.push_back(
        fmt::format("${} using 1:2:3:4 with xerrorbars pt 7 ps 0.7 lw 2 lc rgb '{}' title '{}'",
                    name, plot_colour(verdict), name));
    words += fmt::format("{}{} {}", words.empty() ? "" : ", ", lines.size(), name);
  }
  script += fmt::format("plot {}\n", fmt::join(parts, ", "));
  const std::string title = fmt::format("{} {}: b - a, {}", arch::name_of(panel.arch),
                                        gnuplot_text(panel.group), unit_in(report));
  return {PlotKind::Shifts,
          title,
          fmt::format("Shift and 95 % interval of {} experiments, in parts of their bounds: {}.",
                      panel.metrics.size(), words),
          kWidth,
          height_of(panel.metrics.size()),
          std::move(script)};
}

// --- spread ---

std::vector<std::string> spread_lines(const Metric& metric, const std::vector<LayoutValue>& values,
                                      double row) {
  std::vector<std::string> lines;
  for (const LayoutValue& value : values) {
    const double away = (value.value - metric.cost.a.median) / metric.cost.bound;
    lines.push_back(fmt::format("{} {}", clipped(away), row));
  }
  return lines;
}

Plot spread_plot(const Report& report, const Panel& panel) {
  std::string script = bound_axes(panel.metrics.size()) + experiment_tics(panel.metrics) +
                       "set key outside top center horizontal\n";
  std::vector<std::string> a;
  std::vector<std::string> b;
  for (std::size_t i = 0; i < panel.metrics.size(); ++i) {
    const auto row = static_cast<double>(i);
    for (auto& line : spread_lines(*panel.metrics[i], panel.metrics[i]->a, row - 0.16)) {
      a.push_back(std::move(line));
    }
    for (auto& line : spread_lines(*panel.metrics[i], panel.metrics[i]->b, row + 0.16)) {
      b.push_back(std::move(line));
    }
  }
  script += data_block("a", a) + data_block("b", b);
  script += fmt::format(
      "plot $a using 1:2 with points pt 6 ps 0.6 lc rgb '{}' title 'a {}' noenhanced, "
      "$b using 1:2 with points pt 2 ps 0.6 lc rgb '{}' title 'b {}' noenhanced\n",
      kColourA, gnuplot_text(report.context.a), kColourB, gnuplot_text(report.context.b));
  return {PlotKind::Spread,
          fmt::format("{} {}: each layout, around a's median", arch::name_of(panel.arch),
                      gnuplot_text(panel.group)),
          fmt::format("The value of each layout of {} experiments, a above b, as its distance from "
                      "a's median in parts of the bound.",
                      panel.metrics.size()),
          kWidth,
          height_of(panel.metrics.size()),
          std::move(script)};
}

// --- as mappings grow ---

struct Step {
  std::uint64_t vmas;
  const Metric* metric;
};

/// "mmap/munmap-vmas-16" -> "mmap/munmap", 16.
bool split_name(const std::string& experiment, std::string& family, std::uint64_t& vmas) {
  constexpr std::string_view kMark = "-vmas-";
  const std::size_t mark = experiment.rfind(kMark);
  if (mark == std::string::npos) return false;
  const char* begin = experiment.data() + mark + kMark.size();
  const char* end = experiment.data() + experiment.size();
  const auto [rest, error] = std::from_chars(begin, end, vmas);
  family = experiment.substr(0, mark);
  return error == std::errc{} && rest == end && vmas > 0;
}

using Families = std::map<std::string, std::vector<Step>>;

/// Families of one architecture with at least two sizes, sorted by size.
Families families_of(const Report& report, arch::Arch arch) {
  Families families;
  for (const Metric& metric : report.metrics) {
    if (metric.arch != arch || !is_whole(metric) || !metric.cost.shift) continue;
    std::string family;
    std::uint64_t vmas = 0;
    if (split_name(metric.experiment, family, vmas)) families[family].push_back({vmas, &metric});
  }
  for (auto it = families.begin(); it != families.end();) {
    std::sort(it->second.begin(), it->second.end(),
              [](const Step& one, const Step& other) { return one.vmas < other.vmas; });
    it = it->second.size() < 2 ? families.erase(it) : std::next(it);
  }
  return families;
}

constexpr std::array<const char*, 6> kFamilyColours = {"#3b82c4", "#d9772b", "#2f9e5f",
                                                       "#8a63d2", "#c48a12", "#d64580"};

std::string vma_axes(const std::string& label) {
  return fmt::format(
      "set logscale x 2\nset xlabel 'mappings in the process'\nset ylabel '{}'\n"
      "set border 3\nset tics nomirror scale 0.5\nset grid ytics lc rgb '{}' dt 3\n"
      "set key outside right top\nset format y '%.0f'\nset xrange [*:*] extend\nset offsets graph "
      "0.03, graph 0.03, 0, 0\n",
      label, kGrey);
}

/// gnuplot has nothing to draw on a logarithmic axis otherwise, and fails.
bool all_above_zero(const Families& families) {
  return std::all_of(families.begin(), families.end(), [](const auto& family) {
    return std::all_of(family.second.begin(), family.second.end(), [](const Step& step) {
      return step.metric->cost.a.median > 0 && step.metric->cost.b.median > 0;
    });
  });
}

Plot growth_plot(const Report& report, arch::Arch arch, const Families& families) {
  std::string script = vma_axes(unit_in(report));
  if (all_above_zero(families)) script += "set logscale y\n";
  std::vector<std::string> parts;
  std::size_t number = 0;
  for (const auto& [family, steps] : families) {
    const char* colour = kFamilyColours[number % kFamilyColours.size()];
    for (const bool of_b : {false, true}) {
      std::vector<std::string> lines;
      for (const Step& step : steps) {
        const Comparison& cost = step.metric->cost;
        lines.push_back(fmt::format("{} {}", step.vmas, of_b ? cost.b.median : cost.a.median));
      }
      const std::string name = fmt::format("{}{}", of_b ? "b" : "a", number);
      script += data_block(name, lines);
      parts.push_back(fmt::format(
          "${} using 1:2 with linespoints pt {} ps 0.8 lw 2{} lc rgb '{}' "
          "title '{} {}' noenhanced",
          name, of_b ? 2 : 6, of_b ? " dt 2" : "", colour, of_b ? "b" : "a", gnuplot_text(family)));
    }
    ++number;
  }
  script += fmt::format("plot {}\n", fmt::join(parts, ", "));
  return {PlotKind::Vmas,
          fmt::format("{}: cost as mappings grow", arch::name_of(arch)),
          fmt::format("{} of one operation in {} families of experiments, for a and b, over the "
                      "number of mappings.",
                      unit_in(report), families.size()),
          kWidth,
          420,
          std::move(script)};
}

Plot growth_shift_plot(const Report& report, arch::Arch arch, const Families& families) {
  std::string script =
      vma_axes("b - a, " + unit_in(report)) + fmt::format(
                                                  "set arrow 1 from graph 0, first 0 to graph 1, "
                                                  "first 0 nohead front dt 2 lw 1.5 lc rgb '{}'\n",
                                                  kGrey);
  std::vector<std::string> parts;
  std::size_t number = 0;
  for (const auto& [family, steps] : families) {
    std::vector<std::string> lines;
    for (const Step& step : steps) {
      const Shift& shift = *step.metric->cost.shift;
      const Interval interval =
          shift.ninety_five.value_or(Interval{shift.estimate, shift.estimate});
      lines.push_back(
          fmt::format("{} {} {} {}", step.vmas, shift.estimate, interval.lower, interval.upper));
    }
    const std::string name = fmt::format("d{}", number);
    script += data_block(name, lines);
    parts.push_back(fmt::format(
        "${0} using 1:2:3:4 with yerrorlines pt 7 ps 0.7 lw 2 lc rgb '{1}' title '{2}' noenhanced",
        name, kFamilyColours[number % kFamilyColours.size()], gnuplot_text(family)));
    ++number;
  }
  script += fmt::format("plot {}\n", fmt::join(parts, ", "));
  return {PlotKind::Vmas,
          fmt::format("{}: b - a as mappings grow", arch::name_of(arch)),
          fmt::format("Shift and 95 % interval in {} families of experiments, over the number of "
                      "mappings.",
                      families.size()),
          kWidth,
          420,
          std::move(script)};
}

// --- profiles ---

Plot profile_plot(const ProfileDifference& profile) {
  std::vector<std::string> lines;
  std::vector<std::string> names;
  std::vector<std::string> values;
  for (const SymbolDifference& symbol : profile.symbols) {
    if (symbol.difference() == 0 || lines.size() >= kMostBars) break;
    const double each =
        static_cast<double>(symbol.difference()) / static_cast<double>(profile.operations);
    names.push_back(fmt::format("'{} {}' {}", name_of(symbol.space), gnuplot_text(symbol.symbol),
                                lines.size()));
    values.push_back(fmt::format("'{}' {}", signed_text(each), lines.size()));
    lines.push_back(fmt::format("{} {} {}", each, lines.size(), each < 0 ? 1 : 0));
  }
  std::string script = fmt::format(
      "set yrange [{0}:-0.7]\nset y2range [{0}:-0.7]\nset border 1\n"
      "set tics nomirror scale 0.5\nset ytics ({1}) noenhanced scale 0\n"
      "set y2tics ({2}) noenhanced scale 0\nset lmargin at screen 0.36\n"
      "set rmargin at screen 0.88\nset xlabel 'b - a, instructions of one operation'\nunset key\n"
      "set style fill solid 0.85 noborder\nset format x '%.6g'\n"
      "set arrow 1 from 0, graph 0 to 0, graph 1 nohead front lw 1.5 lc rgb '{3}'\n",
      static_cast<double>(lines.size()) - 0.3, fmt::join(names, ", "), fmt::join(values, ", "),
      kGrey);
  script += data_block("bars", lines);
  script +=
      "plot $bars using ($1/2):2:(abs($1)/2):(0.36):($3 > 0 ? 0x2f9e5f : 0xd64545) with boxxyerror "
      "lc rgb variable notitle\n";
  return {PlotKind::Profiles,
          fmt::format("{} {}: where b and a differ", arch::name_of(profile.arch),
                      gnuplot_text(profile.experiment)),
          fmt::format("The {} largest differences of instructions by symbol; the largest is {}.",
                      lines.size(), gnuplot_text(profile.symbols.front().symbol)),
          kWidth,
          height_of(lines.size()),
          std::move(script)};
}

void add_profiles(std::vector<Plot>& plots, const Report& report) {
  std::vector<const ProfileDifference*> order = largest_first(report.profiles, Side::B);
  order.resize(std::min(order.size(), kMostProfilePlots));
  for (const ProfileDifference* profile : order) plots.push_back(profile_plot(*profile));
}

}  // namespace

std::string gnuplot_text(std::string_view text) {
  constexpr std::string_view kOthers = " _./:+-@,%()[]";
  std::string result(text);
  for (char& c : result) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && kOthers.find(c) == std::string_view::npos) c = '?';
  }
  return result;
}

std::vector<Plot> plots_of(const Report& report) {
  std::vector<Plot> plots;
  const std::vector<Panel> panels = panels_of(report);
  plots.reserve(2 * panels.size());
  for (const Panel& panel : panels) plots.push_back(shift_plot(report, panel));
  for (const Panel& panel : panels) plots.push_back(spread_plot(report, panel));
  for (const arch::Arch arch : arch::kAllArchs) {
    const Families families = families_of(report, arch);
    if (families.empty()) continue;
    plots.push_back(growth_plot(report, arch, families));
    plots.push_back(growth_shift_plot(report, arch, families));
  }
  add_profiles(plots, report);
  return plots;
}

}  // namespace sealvisor::bench
