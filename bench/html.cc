#include "bench/html.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "bench/page.h"
#include "bench/text.h"
#include "vmm/report/layout.h"

namespace sealvisor::bench {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Bytes of the UTF-8 sequence at the front of `text`; 0: it is none (Unicode 15, table 3-7).
std::size_t sequence_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xC2 && first < 0xE0 ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool outside = (first == 0xED && byte(1) >= 0xA0) || (first == 0xF4 && byte(1) >= 0x90);
  return overlong || outside ? 0 : length;
}

struct Column {
  const char* title;
  bool number = false;
};

/// A cell: what is shown, and what it is sorted by if that is a number.
struct Cell {
  std::string html;
  std::optional<double> key{};
  const char* style = "";  ///< Class of its text.
};

Cell text_cell(std::string_view text) { return {html_text(text)}; }
Cell number_cell(const std::string& text, double key) { return {html_text(text), key}; }

struct Row {
  std::vector<Cell> cells;
  std::string attributes{};
};

/// A table in a region of its own that scrolls, and can be scrolled with the keyboard. The first
/// `heads` cells of a row say what it is about.
std::string table(const std::string& id, const std::string& label, std::size_t heads,
                  const std::vector<Column>& columns, const std::vector<Row>& rows, bool sortable) {
  std::string html = fmt::format(
      "<div class=\"scroll{}\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n"
      "<table id=\"{}\"{}>\n<thead><tr>",
      sortable ? " tall" : "", html_text(label), id, sortable ? " class=\"sortable\"" : "");
  for (const Column& column : columns) {
    html += fmt::format("<th scope=\"col\"{}>{}</th>", column.number ? " class=\"number\"" : "",
                        html_text(column.title));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const Row& row : rows) {
    assert(row.cells.size() == columns.size());
    html += fmt::format("<tr{}>", row.attributes);
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const Cell& cell = row.cells[i];
      const char* name = i < heads ? "th" : "td";
      html += fmt::format("<{}{}{}{}>{}</{}>", name, i < heads ? " scope=\"row\"" : "",
                          columns[i].number ? " class=\"number\"" : "",
                          cell.key ? fmt::format(" data-key=\"{}\"", *cell.key) : "",
                          *cell.style == '\0'
                              ? cell.html
                              : fmt::format("<span class=\"{}\">{}</span>", cell.style, cell.html),
                          name);
    }
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n";
}

std::string list(const std::vector<std::string>& lines) {
  std::string html = "<ul class=\"plain\">\n";
  for (const std::string& line : lines) html += fmt::format("<li>{}</li>\n", html_text(line));
  return html + "</ul>\n";
}

/// Sections in their order, with what the navigation lists.
class Page {
 public:
  void add(const std::string& id, const std::string& title, const std::string& html) {
    if (html.empty()) return;
    navigation_ += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", id, html_text(title));
    body_ += fmt::format(
        "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n"
        "<h2 id=\"{0}-title\">{1}</h2>\n{2}</section>\n",
        id, html_text(title), html);
  }
  [[nodiscard]] std::string navigation() const {
    return fmt::format("<nav aria-label=\"Sections\"><ul>\n{}</ul></nav>\n", navigation_);
  }
  [[nodiscard]] const std::string& body() const { return body_; }

 private:
  std::string navigation_;
  std::string body_;
};

bool is_part(const Metric& metric) {
  return metric.measure == Measure::User || metric.measure == Measure::Kernel;
}

// --- costs ---

Cell metric_cell(const Metric& metric) {
  return {fmt::format("{} <span class=\"where\">{} {}</span>", html_text(metric.experiment),
                      arch::name_of(metric.arch), name_of(metric.measure))};
}

/// Sorted by how bad it is.
Cell verdict_cell(Verdict verdict) {
  constexpr Verdict kOrder[] = {Verdict::Slower, Verdict::Undecided, Verdict::Faster,
                                Verdict::Equivalent};
  const auto* const place = std::find(std::begin(kOrder), std::end(kOrder), verdict);
  return {name_of(verdict), static_cast<double>(place - std::begin(kOrder)), name_of(verdict)};
}

Row cost_row(const Metric& metric, Lane lane) {
  const Comparison& cost = metric.cost;
  const std::optional<Interval> interval =
      cost.shift ? cost.shift->ninety_five : std::optional<Interval>();
  const double shift = cost.shift ? cost.shift->estimate : 0;
  std::vector<Cell> cells = {
      metric_cell(metric),
      verdict_cell(cost.verdict),
      number_cell(cost.shift ? signed_text(shift) : "-", shift),
      number_cell(interval_text(interval), interval ? interval->lower : 0),
      number_cell(number_text(cost.bound), cost.bound),
      number_cell(cost.smallest_effect ? number_text(*cost.smallest_effect) : "-",
                  cost.smallest_effect.value_or(INFINITY)),
      number_cell(number_text(cost.a.median), cost.a.median),
      number_cell(number_text(cost.a.interquartile_range()), cost.a.interquartile_range()),
      number_cell(number_text(cost.b.median), cost.b.median),
      number_cell(fmt::format("{:.2g}", cost.equivalence_p), cost.equivalence_p)};
  if (lane == Lane::Time) {
    const double ticks = ticks_of(metric, cost.a.median).value_or(0);
    cells.push_back(number_cell(number_text(ticks), ticks));
  }
  return {std::move(cells), fmt::format(" data-verdict=\"{}\"{}", name_of(cost.verdict),
                                        is_part(metric) ? " data-part=\"\"" : "")};
}

constexpr const char* kCostControls = R"(<form id="cost-controls" class="controls" hidden>
<label>Find <input type="search" id="find" autocomplete="off"></label>
<label>Verdict <select id="verdict"><option value="">all</option>
<option value="other">not equivalent</option><option>slower</option><option>undecided</option>
<option>faster</option><option>equivalent</option></select></label>
<label><input type="checkbox" id="parts"> equivalent user and kernel parts too</label>
<span id="shown" class="note" role="status"></span>
</form>
)";

std::string costs(const Report& report) {
  if (report.metrics.empty()) return "<p>Nothing was measured.</p>\n";
  std::vector<Row> rows;
  for (const Metric* metric : worst_first(report.metrics)) {
    rows.push_back(cost_row(*metric, report.context.lane));
  }
  const Counts& counts = report.counts;
  const char* unit =
      report.context.lane == Lane::Instructions ? "Instructions" : "Nanoseconds (or ticks)";
  std::vector<Column> columns = {{"experiment"},          {"verdict"},      {"b - a", true},
                                 {"95 % interval", true}, {"bound", true},  {"could see", true},
                                 {"a: median", true},     {"a: IQR", true}, {"b: median", true},
                                 {"p (TOST)", true}};
  if (report.context.lane == Lane::Time) columns.push_back({"a: ticks", true});
  return fmt::format(
             "<p>{} of one operation: {} equivalent, {} slower, {} faster, {} undecided of {} "
             "metrics. Bound: {}. A shift of more than <em>could see</em> would have put zero out "
             "of the interval.</p>\n",
             unit, counts.equivalent, counts.slower, counts.faster, counts.undecided, counts.all(),
             html_text(text_of(report.bounds, report.context.lane))) +
         kCostControls + table("cost-table", "Costs, worst first", 1, columns, rows, true);
}

std::string undecided(const Report& report) {
  std::vector<std::string> lines;
  for (const Metric* metric : worst_first(report.metrics)) {
    if (metric->cost.verdict != Verdict::Undecided) continue;
    lines.push_back(fmt::format("{}: it takes {}", name_of(*metric), needed_text(metric->cost)));
  }
  return lines.empty() ? "" : list(lines);
}

std::string incomplete(const Report& report) {
  std::vector<std::string> lines = report.failures;
  for (const Missing& missing : report.missing) {
    lines.push_back(fmt::format("{} {}: {}{}", arch::name_of(missing.arch), missing.experiment,
                                missing.failed ? "failed: " : "", missing.reason));
  }
  for (const Completeness& one : report.complete) {
    if (one.boots >= one.wanted && !report.interrupted) continue;
    lines.push_back(fmt::format("{} {}: {} of {} layouts are complete", arch::name_of(one.arch),
                                name_of(one.side), one.boots, one.wanted));
  }
  return lines.empty() ? "" : list(lines);
}

// --- controls ---

std::string again_text(const Report& report) {
  if (report.metrics.empty()) return "";
  if (!report.void_because.empty()) {
    return fmt::format(
        "<p>A against A, in another layout, is not equivalent: <strong>the run is "
        "void</strong>, and no verdict counts.</p>\n{}",
        list(report.void_because));
  }
  return fmt::format("<p>A against A, in another layout, is equivalent in all {} metrics.</p>\n",
                     report.metrics.size());
}

/// As a clock sees known costs.
std::string time_sensitivity(const Sensitivity& sensitivity) {
  std::vector<Row> rows;
  for (const SensitivityLine& line : sensitivity.lines) {
    const double shift = line.shift.value_or(0);
    rows.push_back(
        {{text_cell(arch::name_of(line.known.arch)),
          text_cell(line.known.experiment),
          text_cell(line.known.function),
          number_cell(fmt::format("{}", line.known.added), static_cast<double>(line.known.added)),
          number_cell(signed_text(line.expected_shift), line.expected_shift),
          number_cell(line.shift ? signed_text(shift) : "-", shift),
          number_cell(number_text(line.shift_bound), line.shift_bound),
          line.verdict ? verdict_cell(*line.verdict) : text_cell("not measured"),
          {!line.good   ? "not seen"
           : line.asked ? "seen"
                        : "too small to be asked for",
           std::nullopt, line.good ? "equivalent" : "slower"}}});
  }
  std::string html = table("sensitivity-table", "Known costs and what was seen", 3,
                           {{"architecture"},
                            {"experiment"},
                            {"function"},
                            {"nops added", true},
                            {"take at least", true},
                            {"found shift", true},
                            {"bound", true},
                            {"verdict"},
                            {"outcome"}},
                           rows, false);
  if (is_shown(sensitivity)) return html;
  return html + "<p>No known cost is large enough here: what this run can see is not shown.</p>\n";
}

std::string sensitivity_table(const Sensitivity& sensitivity) {
  std::vector<Row> rows;
  for (const SensitivityLine& line : sensitivity.lines) {
    const auto found = [](const std::optional<double>& value) {
      return value ? number_cell(signed_text(*value), *value) : number_cell("-", 0);
    };
    rows.push_back(
        {{text_cell(arch::name_of(line.known.arch)),
          text_cell(line.known.experiment),
          text_cell(line.known.function),
          number_cell(fmt::format("{}", line.known.added), static_cast<double>(line.known.added)),
          found(line.in_function),
          number_cell(signed_text(line.expected_shift), line.expected_shift),
          found(line.shift),
          text_cell(line.function.empty() ? "no profile" : line.function),
          {line.good ? "found" : "not found", std::nullopt, line.good ? "equivalent" : "slower"}}});
  }
  std::string html = table("sensitivity-table", "Known costs and what was found", 3,
                           {{"architecture"},
                            {"experiment"},
                            {"function"},
                            {"added", true},
                            {"found in it", true},
                            {"expected shift", true},
                            {"found shift", true},
                            {"named"},
                            {"outcome"}},
                           rows, false);
  if (sensitivity.others.empty()) return html + "<p>Everything else is equivalent.</p>\n";
  return html + "<p>Not equivalent, although nothing was added:</p>\n" + list(sensitivity.others);
}

std::string repeats_text(const Repeats& repeats) {
  std::string html = fmt::format(
      "<p>{} boots with a seed that was used before: {} samples the same to the digit, {} "
      "experiments not.</p>\n",
      repeats.boots, report::grouped(repeats.samples), repeats.differing.size());
  return repeats.differing.empty() ? html : html + list(repeats.differing);
}

std::string controls(const Report& report) {
  std::string html = again_text(report);
  if (report.sensitivity) {
    html += report.context.lane == Lane::Time ? time_sensitivity(*report.sensitivity)
                                              : sensitivity_table(*report.sensitivity);
  }
  const std::string slowed = slowed_left_out(report);
  if (!slowed.empty()) html += fmt::format("<p>Left out: {}.</p>\n", html_text(slowed));
  if (report.repeats) html += repeats_text(*report.repeats);
  return html;
}

Cell ratio_cell(const std::optional<CrossMeasured>& measured) {
  if (!measured) return number_cell("not measured", 0);
  const Ratio& ratio = measured->ratio;
  std::string text = fmt::format("{:.5f}", ratio.estimate);
  if (ratio.ninety_five) {
    text += fmt::format(" [{:.5f}, {:.5f}]", ratio.ninety_five->lower, ratio.ninety_five->upper);
  }
  return number_cell(text, ratio.estimate);
}

Cell slowed_cell(const std::optional<CrossMeasured>& measured) {
  if (!measured || !measured->slowed) return number_cell("-", 0);
  const Shift& shift = *measured->slowed;
  std::string text =
      fmt::format("{} {}", signed_text(shift.estimate), interval_text(shift.ninety_five));
  if (measured->in_function) {
    text += fmt::format("; in the function {}", signed_text(*measured->in_function));
  }
  return number_cell(text, shift.estimate);
}

Cell outcome_cell(bool good, const char* yes, const char* no) {
  return {good ? yes : no, std::nullopt, good ? "equivalent" : "slower"};
}

std::string cross_checks(const Report& report) {
  if (report.cross_checks.empty()) return "";
  std::vector<Row> rows;
  for (const CrossCheck& check : report.cross_checks) {
    rows.push_back({{text_cell(arch::name_of(check.arch)), text_cell(check.plan.tool),
                     ratio_cell(check.foreign), text_cell(check.plan.ours), ratio_cell(check.ours),
                     outcome_cell(check.agrees, "agree", "do not agree"),
                     number_cell(check.seen ? fmt::format("{}", check.plan.slowed) : "-",
                                 static_cast<double>(check.plan.slowed)),
                     slowed_cell(check.foreign), slowed_cell(check.ours),
                     check.seen ? outcome_cell(*check.seen, "seen", "not seen") : text_cell("-")}});
  }
  return table("cross-check-table",
               "Ratios b / a of tools of others, and ours; and what both see of a kernel that has "
               "instructions added to each call",
               2,
               {{"architecture"},
                {"tool"},
                {"its b / a", true},
                {"our experiment"},
                {"our b / a", true},
                {"outcome"},
                {"added", true},
                {"its slowed - a", true},
                {"our slowed - a", true},
                {"outcome"}},
               rows, false);
}

// --- with interception ---

std::string watched(const Report& report) {
  if (!report.watched) return "";
  std::vector<Row> rows;
  for (const WatchedLine& line : report.watched->lines) {
    const bool good = line.problem.empty();
    const auto value = [&](double one) { return number_cell(good ? number_text(one) : "-", one); };
    const double ratio = line.off > 0 ? line.on / line.off : 0;
    rows.push_back(
        {{text_cell(arch::name_of(line.arch)), text_cell(line.experiment),
          text_cell(name_of(line.side)), value(line.off), value(line.on),
          good ? number_cell(fmt::format("{:.3g}", ratio), ratio) : text_cell(line.problem)}});
  }
  return "<p>One boot of each, of the unit above; no part of any verdict.</p>\n" +
         list(report.watched->how) +
         table("watched-table", "Without and with interception", 2,
               {{"architecture"},
                {"experiment"},
                {"kernel"},
                {"off", true},
                {"on", true},
                {"on / off", true}},
               rows, true);
}

// --- the baseline ---

Row baseline_row(const Metric& metric, const char* side, const Comparison& compared) {
  const double shift = compared.shift ? compared.shift->estimate : 0;
  return {{metric_cell(metric), text_cell(side), verdict_cell(compared.verdict),
           number_cell(compared.shift ? signed_text(shift) : "-", shift),
           number_cell(number_text(compared.bound), compared.bound),
           number_cell(number_text(compared.a.median), compared.a.median),
           number_cell(number_text(compared.b.median), compared.b.median)}};
}

/// What is not as it was comes first.
std::vector<Row> baseline_rows(const Report& report) {
  std::vector<Row> rows;
  for (const bool equivalent : {false, true}) {
    for (const Metric& metric : report.metrics) {
      for (const auto& [side, compared] :
           {std::pair{"a", &metric.baseline_a}, std::pair{"b", &metric.baseline_b}}) {
        if (!*compared || ((*compared)->verdict == Verdict::Equivalent) != equivalent) continue;
        rows.push_back(baseline_row(metric, side, **compared));
      }
    }
  }
  return rows;
}

std::string baseline(const Report& report) {
  if (!report.baseline) return "";
  const BaselineUse& use = *report.baseline;
  std::string html =
      fmt::format("<p>Compared with {} of {}.</p>\n", html_text(use.file), html_text(use.date));
  std::vector<std::string> lines;
  for (const std::string& one : use.waived) lines.push_back("although " + one);
  for (const std::string& one : use.only_there) lines.push_back("not in this run: " + one);
  for (const std::string& one : use.only_here) lines.push_back("not in the baseline: " + one);
  if (!lines.empty()) html += list(lines);
  return html + table("baseline-table", "This run against the baseline", 1,
                      {{"experiment"},
                       {"side"},
                       {"verdict"},
                       {"shift", true},
                       {"bound", true},
                       {"then", true},
                       {"now", true}},
                      baseline_rows(report), true);
}

// --- plots and profiles ---

std::string figures(const std::vector<Drawing>& drawings, PlotKind kind) {
  std::string html;
  for (const Drawing& drawing : drawings) {
    if (drawing.plot.kind != kind) continue;
    html += fmt::format(
        "<figure>\n<figcaption>{0}</figcaption>\n<div class=\"scroll plot\" role=\"region\" "
        "aria-label=\"Plot: {0}\" tabindex=\"0\">\n{1}\n</div>\n</figure>\n",
        html_text(drawing.plot.title), drawing.svg);
  }
  return html;
}

std::string with_words(const char* words, const std::string& html) {
  return html.empty() ? "" : fmt::format("<p>{}</p>\n{}", words, html);
}

Row symbol_row(const std::string& space, const std::string& symbol, std::uint64_t a,
               std::uint64_t b, std::uint64_t operations, bool total) {
  const auto difference = static_cast<double>(static_cast<std::int64_t>(b - a));
  const double each = difference / static_cast<double>(operations);
  const auto whole = [](std::uint64_t count) {
    return number_cell(report::grouped(count), static_cast<double>(count));
  };
  return {{text_cell(space), text_cell(symbol), whole(a), whole(b),
           number_cell(signed_text(difference), difference), number_cell(signed_text(each), each)},
          total ? " class=\"total\"" : ""};
}

std::string profile_table(const ProfileDifference& profile, std::size_t number) {
  std::vector<Row> rows;
  std::uint64_t same = 0;
  std::size_t unchanged = 0;
  for (const SymbolDifference& symbol : profile.symbols) {
    if (symbol.difference() == 0) {
      same += symbol.a;
      ++unchanged;
      continue;
    }
    rows.push_back(symbol_row(name_of(symbol.space), symbol.symbol, symbol.a, symbol.b,
                              profile.operations, false));
  }
  rows.push_back(symbol_row("", fmt::format("{} symbols without a difference", unchanged), same,
                            same, profile.operations, false));
  rows.push_back(
      symbol_row("", "total", profile.total_a, profile.total_b, profile.operations, true));
  const std::string name = fmt::format("{} {}", arch::name_of(profile.arch), profile.experiment);
  return fmt::format(
      "<details><summary>{}: {} of one operation ({} operations in {} layouts)"
      "</summary>\n{}</details>\n",
      html_text(name), signed_text(mean_difference(profile)), report::grouped(profile.operations),
      profile.layouts,
      table(fmt::format("profile-{}", number), "Symbols of " + name, 2,
            {{"space"}, {"symbol"}, {"a", true}, {"b", true}, {"b - a", true}, {"each", true}},
            rows, false));
}

std::string profiles(const Report& report, const std::vector<Drawing>& drawings) {
  const auto all = std::count_if(report.profiles.begin(), report.profiles.end(),
                                 [](const auto& profile) { return profile.with == Side::B; });
  std::string tables;
  std::size_t number = 0;
  for (const ProfileDifference* profile : largest_first(report.profiles, Side::B)) {
    tables += profile_table(*profile, number++);
  }
  if (all == 0) return "";
  if (tables.empty()) {
    return fmt::format("<p>The same instructions in each symbol, in all {} profiles.</p>\n", all);
  }
  return with_words(
      "Instructions that b executes and a does not, by symbol of the kernel and of the vdso. The "
      "symbols of an experiment sum up to its total, exactly. Experiments that are not here have "
      "no "
      "difference in any symbol; the largest ones have a plot.",
      figures(drawings, PlotKind::Profiles) + tables);
}

// --- the run ---

std::string fact(const char* name, const std::string& value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, html_text(value));
}

std::string facts(const Report& report) {
  const Context& context = report.context;
  std::string time;
  for (const RunCounter& counter : report.counters) time += fact("counter", counter_text(counter));
  if (context.lane == Lane::Time) time += fact("vCPU", pinned_text(report));
  return "<dl>\n" + fact("measured", text_of_lane(context)) + fact("date", context.date) +
         fact("engine", fmt::format("{}, {}{}", context.engine, context.engine_version,
                                    context.watched ? ", watched" : "")) +
         fact("run", fmt::format("{}, {} layouts of each kernel", name_of(context.mode),
                                 context.seeds.size())) +
         time + fact("command", context.command) + "</dl>\n";
}

std::string run_section(const Report& report) {
  const Context& context = report.context;
  std::vector<Row> rows;
  for (const Kernel& kernel : context.kernels) {
    rows.push_back({{text_cell(arch::name_of(kernel.arch)), text_cell(name_of(kernel.side)),
                     text_cell(kernel.recipe), text_cell(kernel.release),
                     text_cell(kernel.image_hash), text_cell(kernel.config_hash)}});
  }
  std::string html =
      "<dl>\n" + fact("sealvisor", context.version) +
      fact("host",
           fmt::format("{}, {}, {} CPUs", context.host_cpu, context.host_arch, context.host_cpus)) +
      fact("guest's CPU", context.cpu_model) + fact("programs", context.programs_hash);
  for (const Tool& tool : context.tools) {
    html += fact(html_text(tool.name).c_str(), tool.version);
  }
  return html + "</dl>\n" +
         table("kernel-table", "Kernels", 2,
               {{"architecture"}, {"side"}, {"recipe"}, {"release"}, {"image"}, {"configuration"}},
               rows, false);
}

constexpr const char* kHowToRead = R"(<p>Each kernel is booted several times, each time in another
layout (place of the kernel, of stacks and of mappings). A layout has one value for each experiment:
the median of its samples. <em>b - a</em> is the shift of Hodges and Lehmann between the values of
both kernels, with its 95 % interval. The bound was fixed before
the run.</p>
<ul>
<li><span class="equivalent">equivalent</span>: the 90 % interval lies within the bound (two
one-sided tests at 5 %). A difference may be sure, and too small to matter.</li>
<li><span class="slower">slower</span>: the whole 95 % interval lies at the bound or above it: b
takes more.</li>
<li><span class="faster">faster</span>: the whole 95 % interval lies at minus the bound or
below.</li>
<li><span class="undecided">undecided</span>: neither, with these layouts.</li>
</ul>
<p>The run is void if a against itself, in another layout, is not equivalent.</p>
)";

constexpr const char* kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'";

}  // namespace

std::string html_text(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = sequence_at(text);
    const char c = text.front();
    const bool control = length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F);
    if (length == 0 || control) {
      result += c == '\n' || c == '\t' ? " " : kReplacement;
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else if (c == '\'') {
      result += "&#39;";
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

std::string render_html(const Report& report, const std::vector<Drawing>& drawings) {
  Page page;
  page.add("costs", "Costs, worst first", costs(report));
  page.add("undecided", "Undecided, and what would decide it", undecided(report));
  page.add("incomplete", "Not measured, or not in full", incomplete(report));
  page.add("baseline", "Against the baseline", baseline(report));
  page.add("shifts", "Shifts with their intervals, in parts of the bound",
           with_words("A row is an experiment; the band is what does not matter. Colours are "
                      "verdicts; the figures on the right are the shift and its 95 % interval.",
                      figures(drawings, PlotKind::Shifts)));
  page.add("spread", "Every layout",
           with_words("How far each layout of a and of b lies from a's median, in parts of the "
                      "bound.",
                      figures(drawings, PlotKind::Spread)));
  page.add("vmas", "Cost as mappings grow",
           with_words("The same operation in processes with more and more mappings.",
                      figures(drawings, PlotKind::Vmas)));
  page.add("profiles", "Where the kernels differ", profiles(report, drawings));
  page.add("controls", "Controls", controls(report));
  page.add("watched", "With interception", watched(report));
  page.add("cross-checks", "Checked with tools of others", cross_checks(report));
  page.add("reading", "How to read this", kHowToRead);
  page.add("run", "Kernels and machine", run_section(report));

  const std::string title =
      html_text(fmt::format("{} against {}: sealvisor bench", report.context.b, report.context.a));
  const bool good = report.exit_code == ExitCode::AsExpected;
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#costs\">Skip to the "
      "costs</a>\n<header>\n<h1>{}</h1>\n<p class=\"conclusion{}\">{}</p>\n{}{}</header>\n<main>\n"
      "{}</main>\n<script>{}</script>\n</body>\n</html>\n",
      kPolicy, title, kPageStyle, title, good ? "" : " bad", html_text(report.conclusion),
      facts(report), page.navigation(), page.body(), kPageScript);
}

}  // namespace sealvisor::bench
