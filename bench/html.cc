#include "bench/html.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "bench/text.h"
#include "vmm/report/html/markup.h"
#include "vmm/report/html/page.h"
#include "vmm/report/layout.h"

namespace sealvisor::bench {

using report::html::escape;
using report::html::fact;
using report::html::list;
using report::html::number_cell;
using report::html::table;
using report::html::TableCell;
using report::html::TableColumn;
using report::html::TableRow;
using report::html::text_cell;

namespace {

// --- costs ---

TableCell metric_cell(const Metric& metric) {
  return {fmt::format("{} <span class=\"where\">{} {}</span>", escape(metric.experiment),
                      arch::name_of(metric.arch), name_of(metric.measure))};
}

const char* style_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Equivalent:
      return "good";
    case Verdict::Slower:
      return "bad";
    case Verdict::Faster:
      return "other";
    case Verdict::Undecided:
      break;
  }
  return "open";
}

/// Sorted by how bad it is.
TableCell verdict_cell(Verdict verdict) {
  constexpr Verdict kOrder[] = {Verdict::Slower, Verdict::Undecided, Verdict::Faster,
                                Verdict::Equivalent};
  const auto* const place = std::find(std::begin(kOrder), std::end(kOrder), verdict);
  return {name_of(verdict), static_cast<double>(place - std::begin(kOrder)), style_of(verdict)};
}

TableRow cost_row(const Metric& metric, Lane lane) {
  const Comparison& cost = metric.cost;
  const std::optional<Interval> interval =
      cost.shift ? cost.shift->ninety_five : std::optional<Interval>();
  const double shift = cost.shift ? cost.shift->estimate : 0;
  std::vector<TableCell> cells = {
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
  return {std::move(cells),
          fmt::format(" data-verdict=\"{}\"{}", name_of(cost.verdict),
                      is_part(metric) && cost.verdict == Verdict::Equivalent ? " data-minor" : "")};
}

constexpr const char* kCostControls =
    R"(<form class="controls" data-for="cost-table" data-noun="metrics" hidden>
<label>Find <input type="search" id="find" data-filter="text" autocomplete="off"></label>
<label>Verdict <select id="verdict" data-filter="verdict"><option value="">all</option>
<option value="!equivalent">not equivalent</option><option>slower</option><option>undecided</option>
<option>faster</option><option>equivalent</option></select></label>
<label><input type="checkbox" id="parts" data-filter="minor"> equivalent user and kernel parts too</label>
<span id="shown" class="note" role="status"></span>
</form>
)";

std::string costs(const Report& report) {
  if (report.metrics.empty()) return "<p>Nothing was measured.</p>\n";
  std::vector<TableRow> rows;
  for (const Metric* metric : worst_first(report.metrics)) {
    rows.push_back(cost_row(*metric, report.context.lane));
  }
  const Counts& counts = report.counts;
  const char* unit =
      report.context.lane == Lane::Instructions ? "Instructions" : "Nanoseconds (or ticks)";
  std::vector<TableColumn> columns = {
      {"experiment"},      {"verdict"},         {"b - a", true},     {"95 % interval", true},
      {"bound", true},     {"could see", true}, {"a: median", true}, {"a: IQR", true},
      {"b: median", true}, {"p (TOST)", true}};
  if (report.context.lane == Lane::Time) columns.push_back({"a: ticks", true});
  return fmt::format(
             "<p>{} of one operation: {} equivalent, {} slower, {} faster, {} undecided of {} "
             "metrics. Bound: {}. A shift of more than <em>could see</em> would have put zero out "
             "of the interval.</p>\n",
             unit, counts.equivalent, counts.slower, counts.faster, counts.undecided, counts.all(),
             escape(text_of(report.bounds, report.context.lane))) +
         kCostControls +
         table({.id = "cost-table", .label = "Costs, worst first", .heads = 1, .sortable = true},
               columns, rows);
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
  std::vector<TableRow> rows;
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
           std::nullopt, line.good ? "good" : "bad"}}});
  }
  std::string html =
      table({.id = "sensitivity-table", .label = "Known costs and what was seen", .heads = 3},
            {{"architecture"},
             {"experiment"},
             {"function"},
             {"nops added", true},
             {"take at least", true},
             {"found shift", true},
             {"bound", true},
             {"verdict"},
             {"outcome"}},
            rows);
  if (is_shown(sensitivity)) return html;
  return html + "<p>No known cost is large enough here: what this run can see is not shown.</p>\n";
}

std::string sensitivity_table(const Sensitivity& sensitivity) {
  std::vector<TableRow> rows;
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
          {line.good ? "found" : "not found", std::nullopt, line.good ? "good" : "bad"}}});
  }
  std::string html =
      table({.id = "sensitivity-table", .label = "Known costs and what was found", .heads = 3},
            {{"architecture"},
             {"experiment"},
             {"function"},
             {"added", true},
             {"found in it", true},
             {"expected shift", true},
             {"found shift", true},
             {"named"},
             {"outcome"}},
            rows);
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
  if (!slowed.empty()) html += fmt::format("<p>Left out: {}.</p>\n", escape(slowed));
  if (report.repeats) html += repeats_text(*report.repeats);
  return html;
}

TableCell ratio_cell(const std::optional<CrossMeasured>& measured) {
  if (!measured) return number_cell("not measured", 0);
  const Ratio& ratio = measured->ratio;
  std::string text = fmt::format("{:.5f}", ratio.estimate);
  if (ratio.ninety_five) {
    text += fmt::format(" [{:.5f}, {:.5f}]", ratio.ninety_five->lower, ratio.ninety_five->upper);
  }
  return number_cell(text, ratio.estimate);
}

TableCell slowed_cell(const std::optional<CrossMeasured>& measured) {
  if (!measured || !measured->slowed) return number_cell("-", 0);
  const Shift& shift = *measured->slowed;
  std::string text =
      fmt::format("{} {}", signed_text(shift.estimate), interval_text(shift.ninety_five));
  if (measured->in_function) {
    text += fmt::format("; in the function {}", signed_text(*measured->in_function));
  }
  return number_cell(text, shift.estimate);
}

TableCell outcome_cell(bool good, const char* yes, const char* no) {
  return {good ? yes : no, std::nullopt, good ? "good" : "bad"};
}

std::string cross_checks(const Report& report) {
  if (report.cross_checks.empty()) return "";
  std::vector<TableRow> rows;
  for (const CrossCheck& check : report.cross_checks) {
    rows.push_back({{text_cell(arch::name_of(check.arch)), text_cell(check.plan.tool),
                     ratio_cell(check.foreign), text_cell(check.plan.ours), ratio_cell(check.ours),
                     outcome_cell(check.agrees, "agree", "do not agree"),
                     number_cell(check.seen ? fmt::format("{}", check.plan.slowed) : "-",
                                 static_cast<double>(check.plan.slowed)),
                     slowed_cell(check.foreign), slowed_cell(check.ours),
                     check.seen ? outcome_cell(*check.seen, "seen", "not seen") : text_cell("-")}});
  }
  return table({.id = "cross-check-table",
                .label = "Ratios b / a of tools of others, and ours; and what both see of a kernel "
                         "that has instructions added to each call",
                .heads = 2},
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
               rows);
}

// --- with interception ---

std::string watched(const Report& report) {
  if (!report.watched) return "";
  std::vector<TableRow> rows;
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
         table({.id = "watched-table",
                .label = "Without and with interception",
                .heads = 2,
                .sortable = true},
               {{"architecture"},
                {"experiment"},
                {"kernel"},
                {"off", true},
                {"on", true},
                {"on / off", true}},
               rows);
}

// --- the baseline ---

TableRow baseline_row(const Metric& metric, const char* side, const Comparison& compared) {
  const double shift = compared.shift ? compared.shift->estimate : 0;
  return {{metric_cell(metric), text_cell(side), verdict_cell(compared.verdict),
           number_cell(compared.shift ? signed_text(shift) : "-", shift),
           number_cell(number_text(compared.bound), compared.bound),
           number_cell(number_text(compared.a.median), compared.a.median),
           number_cell(number_text(compared.b.median), compared.b.median)}};
}

/// What is not as it was comes first.
std::vector<TableRow> baseline_rows(const Report& report) {
  std::vector<TableRow> rows;
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
      fmt::format("<p>Compared with {} of {}.</p>\n", escape(use.file), escape(use.date));
  std::vector<std::string> lines;
  for (const std::string& one : use.waived) lines.push_back("although " + one);
  for (const std::string& one : use.only_there) lines.push_back("not in this run: " + one);
  for (const std::string& one : use.only_here) lines.push_back("not in the baseline: " + one);
  if (!lines.empty()) html += list(lines);
  return html + table({.id = "baseline-table",
                       .label = "This run against the baseline",
                       .heads = 1,
                       .sortable = true},
                      {{"experiment"},
                       {"side"},
                       {"verdict"},
                       {"shift", true},
                       {"bound", true},
                       {"then", true},
                       {"now", true}},
                      baseline_rows(report));
}

// --- plots and profiles ---

std::string figures(const std::vector<Drawing>& drawings, PlotKind kind) {
  std::string html;
  for (const Drawing& drawing : drawings) {
    if (drawing.plot.kind != kind) continue;
    html += fmt::format(
        "<figure>\n<figcaption>{0}</figcaption>\n<div class=\"scroll plot\" role=\"region\" "
        "aria-label=\"Plot: {0}\" tabindex=\"0\">\n{1}\n</div>\n</figure>\n",
        escape(drawing.plot.title), drawing.svg);
  }
  return html;
}

std::string with_words(const char* words, const std::string& html) {
  return html.empty() ? "" : fmt::format("<p>{}</p>\n{}", words, html);
}

TableRow symbol_row(const std::string& space, const std::string& symbol, std::uint64_t a,
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
  std::vector<TableRow> rows;
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
      escape(name), signed_text(mean_difference(profile)), report::grouped(profile.operations),
      profile.layouts,
      table({.id = fmt::format("profile-{}", number), .label = "Symbols of " + name, .heads = 2},
            {{"space"}, {"symbol"}, {"a", true}, {"b", true}, {"b - a", true}, {"each", true}},
            rows));
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
  std::vector<TableRow> rows;
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
    html += fact(tool.name, tool.version);
  }
  return html + "</dl>\n" +
         table({.id = "kernel-table", .label = "Kernels", .heads = 2},
               {{"architecture"}, {"side"}, {"recipe"}, {"release"}, {"image"}, {"configuration"}},
               rows);
}

constexpr const char* kHowToRead = R"(<p>Each kernel is booted several times, each time in another
layout (place of the kernel, of stacks and of mappings). A layout has one value for each experiment:
the median of its samples. <em>b - a</em> is the shift of Hodges and Lehmann between the values of
both kernels, with its 95 % interval. The bound was fixed before
the run.</p>
<ul>
<li><span class="good">equivalent</span>: the 90 % interval lies within the bound (two
one-sided tests at 5 %). A difference may be sure, and too small to matter.</li>
<li><span class="bad">slower</span>: the whole 95 % interval lies at the bound or above it: b
takes more.</li>
<li><span class="other">faster</span>: the whole 95 % interval lies at minus the bound or
below.</li>
<li><span class="open">undecided</span>: neither, with these layouts.</li>
</ul>
<p>The run is void if a against itself, in another layout, is not equivalent.</p>
)";

}  // namespace

std::string render_html(const Report& report, const std::vector<Drawing>& drawings) {
  report::html::Page page;
  page.title = fmt::format("{} against {}: sealvisor bench", report.context.b, report.context.a);
  page.skip_to = "costs";
  page.skip_title = "costs";
  page.good = report.exit_code == ExitCode::AsExpected;
  page.conclusion = report.conclusion;
  page.facts = facts(report);
  report::html::Sections& sections = page.sections;
  sections.add("costs", "Costs, worst first", costs(report));
  sections.add("undecided", "Undecided, and what would decide it", undecided(report));
  sections.add("incomplete", "Not measured, or not in full", incomplete(report));
  sections.add("baseline", "Against the baseline", baseline(report));
  sections.add("shifts", "Shifts with their intervals, in parts of the bound",
               with_words("A row is an experiment; the band is what does not matter. Colours are "
                          "verdicts; the figures on the right are the shift and its 95 % interval.",
                          figures(drawings, PlotKind::Shifts)));
  sections.add("spread", "Every layout",
               with_words("How far each layout of a and of b lies from a's median, in parts of the "
                          "bound.",
                          figures(drawings, PlotKind::Spread)));
  sections.add("vmas", "Cost as mappings grow",
               with_words("The same operation in processes with more and more mappings.",
                          figures(drawings, PlotKind::Vmas)));
  sections.add("profiles", "Where the kernels differ", profiles(report, drawings));
  sections.add("controls", "Controls", controls(report));
  sections.add("watched", "With interception", watched(report));
  sections.add("cross-checks", "Checked with tools of others", cross_checks(report));
  sections.add("reading", "How to read this", kHowToRead);
  sections.add("run", "Kernels and machine", run_section(report));
  return report::html::render(page);
}

}  // namespace sealvisor::bench
