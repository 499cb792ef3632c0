#include "bench/text.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "bench/paired.h"
#include "vmm/report/layout.h"

namespace sealvisor::bench {

namespace {

using report::Colour;
using report::printable;

Colour colour_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Equivalent:
      return Colour::Green;
    case Verdict::Slower:
      return Colour::Red;
    case Verdict::Faster:
      return Colour::Bold;
    case Verdict::Undecided:
      return Colour::Yellow;
  }
  return Colour::None;
}

std::string summary_text(const Summary& summary) {
  if (summary.count == 0) return "-";
  return fmt::format("{} ({})", number_text(summary.median),
                     number_text(summary.interquartile_range()));
}

std::string smallest_text(const Comparison& comparison) {
  if (!comparison.smallest_effect) return "-";
  return *comparison.smallest_effect == 0 ? "any" : "> " + number_text(*comparison.smallest_effect);
}

std::string heading(const Report& report) {
  const Context& context = report.context;
  const char* watched = context.watched ? ", watched" : "";
  return printable(fmt::format(
      "b = {} against a = {}: {} of one operation; engine {} ({}{}), {}, {} layouts; bound: {}",
      context.b, context.a, context.lane == Lane::Instructions ? "instructions" : "nanoseconds",
      context.engine, context.engine_version, watched, name_of(context.mode), context.seeds.size(),
      text_of(report.bounds, context.lane)));
}

/// Narrower than this, what an interval is compared with has no column.
constexpr std::size_t kWide = 110;

std::string ticks_text(const Metric& metric, double value) {
  const auto ticks = ticks_of(metric, value);
  return ticks ? number_text(*ticks) : "-";
}

std::string cost_table(const Report& report, const TextOptions& options) {
  const bool wide = options.width >= kWide;
  const bool time = report.context.lane == Lane::Time;
  std::vector<report::Column> columns = {{"arch", 8}, {"experiment", 36}, {"part", 8}};
  if (wide) columns.push_back({"a: median (IQR)", 24, true});
  if (wide && time) columns.push_back({"a: ticks", 14, true});
  columns.push_back({"b - a", 12, true});
  columns.push_back({"95 % interval", 26, true});
  if (wide) columns.push_back({"bound", 10, true});
  if (wide) columns.push_back({"could see", 12, true});
  columns.push_back({"verdict", 10});

  std::vector<report::Row> rows;
  for (const Metric* metric : worst_first(report.metrics)) {
    const Comparison& cost = metric->cost;
    if (is_part(*metric) && !options.all_rows && cost.verdict == Verdict::Equivalent) continue;
    const std::optional<Interval> none;
    std::vector<std::string> fields = {arch::name_of(metric->arch), printable(metric->experiment),
                                       name_of(metric->measure)};
    if (wide) fields.push_back(summary_text(cost.a));
    if (wide && time) fields.push_back(ticks_text(*metric, cost.a.median));
    fields.push_back(cost.shift ? signed_text(cost.shift->estimate) : "-");
    fields.push_back(interval_text(cost.shift ? cost.shift->ninety_five : none));
    if (wide) fields.push_back(number_text(cost.bound));
    if (wide) fields.push_back(smallest_text(cost));
    fields.emplace_back(name_of(cost.verdict));
    rows.push_back({std::move(fields), colour_of(cost.verdict)});
  }
  if (rows.empty()) return "";
  return report::table(columns, rows, options.width, 2, options.colours);
}

class Sections {
 public:
  explicit Sections(const TextOptions& options) : options_(options) {}

  /// "  name         text", wrapped.
  void add(std::string_view name, std::string_view text) {
    text_ += report::paragraph(fmt::format("  {:<13}", name), printable(text), options_.width);
  }
  /// The name in front of the first line only.
  void add_list(std::string_view name, const std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < lines.size(); ++i) add(i == 0 ? name : "", lines[i]);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  const TextOptions& options_;
  std::string text_;
};

void add_counts(Sections& sections, const Report& report, const TextOptions& options) {
  const Counts& counts = report.counts;
  std::string text = fmt::format("{} equivalent, {} slower, {} faster, {} undecided of {} metrics",
                                 report::grouped(counts.equivalent), report::grouped(counts.slower),
                                 report::grouped(counts.faster), report::grouped(counts.undecided),
                                 report::grouped(counts.all()));
  const auto hidden =
      std::count_if(report.metrics.begin(), report.metrics.end(), [](const Metric& metric) {
        return is_part(metric) && metric.cost.verdict == Verdict::Equivalent;
      });
  if (hidden > 0 && !options.all_rows) {
    text += fmt::format("; {} equivalent user and kernel parts have no row",
                        report::grouped(static_cast<std::uint64_t>(hidden)));
  }
  sections.add("verdicts", text);
}

void add_legend(Sections& sections, const Report& report) {
  const char* more = report.context.lane == Lane::Instructions ? "instructions" : "time";
  sections.add("to read",
               fmt::format("slower: b takes more {}, by the bound or more; could see: a "
                           "difference of more than this would have put zero out of the interval",
                           more));
}

void add_undecided(Sections& sections, const Report& report) {
  std::vector<std::string> lines;
  for (const Metric* metric : worst_first(report.metrics)) {
    if (metric->cost.verdict != Verdict::Undecided) continue;
    lines.push_back(fmt::format("{}: it takes {}", name_of(*metric), needed_text(metric->cost)));
  }
  sections.add_list("undecided", lines);
}

void add_complete(Sections& sections, const Report& report) {
  std::vector<std::string> lines;
  for (const Completeness& one : report.complete) {
    if (one.boots >= one.wanted && !report.interrupted) continue;
    lines.push_back(fmt::format("{} {}: {} of {} layouts", arch::name_of(one.arch),
                                name_of(one.side), one.boots, one.wanted));
  }
  sections.add_list("complete", lines);
}

void add_missing(Sections& sections, const Report& report) {
  for (const bool failed : {true, false}) {
    std::vector<std::string> lines;
    for (const Missing& missing : report.missing) {
      if (missing.failed != failed) continue;
      lines.push_back(fmt::format("{} {}: {}", arch::name_of(missing.arch), missing.experiment,
                                  missing.reason));
    }
    const std::string slowed = failed ? "" : slowed_left_out(report);
    if (!slowed.empty()) lines.push_back(slowed);
    sections.add_list(failed ? "failed" : "left out", lines);
  }
}

std::string time_line_text(const SensitivityLine& line) {
  if (!line.shift || !line.verdict) {
    return fmt::format("WRONG: {} {}: nothing measured", arch::name_of(line.known.arch),
                       line.known.experiment);
  }
  return fmt::format("{}: {} {}: {} nops added to {} take {} at least, found {}, bound {}: {}",
                     !line.good   ? "WRONG"
                     : line.asked ? "good"
                                  : "too small to be asked for",
                     arch::name_of(line.known.arch), line.known.experiment, line.known.added,
                     line.known.function, signed_text(line.expected_shift),
                     signed_text(*line.shift), number_text(line.shift_bound),
                     name_of(*line.verdict));
}

std::string line_text(const SensitivityLine& line, Lane lane) {
  if (lane == Lane::Time) return time_line_text(line);
  const std::string shift = line.shift ? signed_text(*line.shift) : "nothing measured";
  const std::string named =
      line.function.empty()
          ? "no profile"
          : fmt::format("in {} {}", line.function,
                        line.in_function ? signed_text(*line.in_function) : "nothing");
  return fmt::format("{}: {} {}: {} added to {}, found {} (expected {}), {}",
                     line.good ? "good" : "WRONG", arch::name_of(line.known.arch),
                     line.known.experiment, line.known.added, line.known.function, shift,
                     signed_text(line.expected_shift), named);
}

void add_controls(Sections& sections, const Report& report) {
  if (report.sensitivity) {
    std::vector<std::string> lines;
    for (const SensitivityLine& line : report.sensitivity->lines) {
      lines.push_back(line_text(line, report.context.lane));
    }
    for (const std::string& other : report.sensitivity->others) {
      lines.push_back("WRONG: nothing was added to " + other);
    }
    if (!is_shown(*report.sensitivity)) {
      lines.emplace_back("no known cost is large enough here: what this run can see is not shown");
    }
    sections.add_list("sensitivity", lines);
  }
  if (report.repeats) {
    const Repeats& repeats = *report.repeats;
    std::vector<std::string> lines = {
        fmt::format("{} boots with a seed that was used before: {} samples the same to the digit, "
                    "{} experiments not",
                    repeats.boots, report::grouped(repeats.samples), repeats.differing.size())};
    lines.insert(lines.end(), repeats.differing.begin(), repeats.differing.end());
    sections.add_list("repeated", lines);
  }
}

// --- how time was measured ---

void add_counters(Sections& sections, const Report& report) {
  std::vector<std::string> lines;
  lines.reserve(report.counters.size());
  for (const RunCounter& counter : report.counters) lines.push_back(counter_text(counter));
  sections.add_list("counter", lines);
}

void add_pinned(Sections& sections, const Report& report) {
  if (report.context.lane != Lane::Time) return;
  sections.add("vCPU", pinned_text(report));
}

std::string watched_ratio(const WatchedLine& line) {
  return line.off > 0 ? fmt::format("{:.3g}", line.on / line.off) : "-";
}

/// Apart from all that is judged.
std::string watched_table(const Report& report, const TextOptions& options) {
  if (!report.watched || report.watched->lines.empty()) return "";
  std::vector<report::Row> rows;
  for (const WatchedLine& line : report.watched->lines) {
    const bool good = line.problem.empty();
    rows.push_back({{arch::name_of(line.arch), printable(line.experiment), name_of(line.side),
                     good ? number_text(line.off) : "-", good ? number_text(line.on) : "-",
                     good ? watched_ratio(line) : printable(line.problem)},
                    good ? Colour::None : Colour::Yellow});
  }
  const std::string unit = unit_of(report.watched->lines.front().measure);
  return report::paragraph("== ",
                           printable(fmt::format("with interception on, one boot of each; not part "
                                                 "of any verdict: {} of one operation; {}",
                                                 unit, fmt::join(report.watched->how, "; "))),
                           options.width) +
         report::table({{"arch", 8},
                        {"experiment", 36},
                        {"kernel", 8},
                        {"off", 16, true},
                        {"on", 16, true},
                        {"on / off", 24, true}},
                       rows, options.width, 2, options.colours);
}

std::string ratio_text(const Ratio& ratio) {
  std::string text = fmt::format("{:.5f}", ratio.estimate);
  if (ratio.ninety_five) {
    text += fmt::format(" [{:.5f}, {:.5f}]", ratio.ninety_five->lower, ratio.ninety_five->upper);
  }
  return text;
}

/// A row of a tool, or of ours below it.
report::Row cross_row(const std::string& arch, const std::string& name,
                      const std::optional<CrossMeasured>& measured, const std::string& added,
                      const std::string& outcome, bool good) {
  std::vector<std::string> fields = {arch, printable(name)};
  if (measured) {
    fields.insert(fields.end(), {number_text(measured->median), ratio_text(measured->ratio)});
    fields.push_back(measured->slowed ? signed_text(measured->slowed->estimate) : "-");
    fields.push_back(measured->in_function ? signed_text(*measured->in_function) : "-");
  } else {
    fields.insert(fields.end(), {"-", "not measured", "-", "-"});
  }
  fields.insert(fields.end(), {added, outcome});
  return {std::move(fields), good ? Colour::Green : Colour::Red};
}

std::string cross_table(const Report& report, const TextOptions& options) {
  if (report.cross_checks.empty()) return "";
  std::vector<report::Row> rows;
  for (const CrossCheck& check : report.cross_checks) {
    const std::string added = check.seen ? report::grouped(check.plan.slowed) : "-";
    rows.push_back(cross_row(arch::name_of(check.arch), check.plan.tool, check.foreign, added,
                             check.agrees ? "agree" : "do NOT agree", check.agrees));
    const char* seen = "";
    if (check.seen) seen = *check.seen ? "seen" : "NOT seen";
    rows.push_back(cross_row("", check.plan.ours, check.ours, "", seen, check.seen.value_or(true)));
  }
  return report::table({{"arch", 8},
                        {"cross-check", 36},
                        {"a: median", 12, true},
                        {"b / a, 95 % interval", 30},
                        {"slowed - a", 12, true},
                        {"in function", 12, true},
                        {"added", 8, true},
                        {"outcome", 12}},
                       rows, options.width, 2, options.colours);
}

void add_cross_checks(Sections& sections, const Report& report) {
  if (report.cross_checks.empty()) return;
  const auto good = std::count_if(report.cross_checks.begin(), report.cross_checks.end(),
                                  [](const CrossCheck& check) { return check.good(); });
  sections.add(
      "cross-check",
      fmt::format(
          "{} of {} good. Above a tool that nobody here wrote, without what it takes to "
          "start; below it ours; of one operation, of which the tool's has more in it. agree: "
          "the intervals of b / a meet, or lie less than {:g} % apart. added: instructions "
          "that the slowed kernel has more in each call. seen: both find them in the function "
          "that has them, and the operation that much dearer, within the bound; where none "
          "were added, both find it equivalent",
          good, report.cross_checks.size(), report.bounds.relative * 100));
}

std::string baseline_line(const Metric& metric, const char* side, const Comparison& compared) {
  return fmt::format("{}, {}: {}, {} of {}, bound {}", name_of(metric), side,
                     name_of(compared.verdict),
                     compared.shift ? signed_text(compared.shift->estimate) : "-",
                     number_text(compared.a.median), number_text(compared.bound));
}

void add_baseline(Sections& sections, const Report& report) {
  if (!report.baseline) return;
  const BaselineUse& baseline = *report.baseline;
  std::vector<std::string> lines = {fmt::format("{} of {}", baseline.file, baseline.date)};
  for (const std::string& waived : baseline.waived) lines.push_back("compared although " + waived);
  std::size_t same = 0;
  for (const Metric& metric : report.metrics) {
    for (const auto& [side, compared] :
         {std::pair{"a", &metric.baseline_a}, std::pair{"b", &metric.baseline_b}}) {
      if (!*compared) continue;
      if ((*compared)->verdict == Verdict::Equivalent) {
        ++same;
      } else {
        lines.push_back(baseline_line(metric, side, **compared));
      }
    }
  }
  lines.push_back(fmt::format("{} comparisons with it equivalent", report::grouped(same)));
  for (const std::string& name : baseline.only_there) lines.push_back("not in this run: " + name);
  for (const std::string& name : baseline.only_here) lines.push_back("not in it: " + name);
  sections.add_list("baseline", lines);
}

// --- explaining ---

std::string signed_grouped(std::int64_t number) {
  const char* sign = number > 0 ? "+" : number < 0 ? "-" : "";
  return sign + report::grouped(static_cast<std::uint64_t>(std::llabs(number)));
}

report::Row symbol_row(const std::string& space, const std::string& symbol, std::uint64_t a,
                       std::uint64_t b, std::uint64_t operations, Colour colour) {
  const auto difference = static_cast<std::int64_t>(b - a);
  const double each = static_cast<double>(difference) / static_cast<double>(operations);
  return {{space, printable(symbol), report::grouped(a), report::grouped(b),
           signed_grouped(difference), signed_text(each)},
          colour};
}

std::string profile_text(const ProfileDifference& profile, const TextOptions& options) {
  std::vector<report::Row> rows;
  std::uint64_t rest_a = 0;
  std::uint64_t rest_b = 0;
  std::size_t rest = 0;
  for (const SymbolDifference& symbol : profile.symbols) {
    if (symbol.difference() != 0 && rows.size() < options.most_symbols) {
      rows.push_back(symbol_row(name_of(symbol.space), symbol.symbol, symbol.a, symbol.b,
                                profile.operations, Colour::None));
      continue;
    }
    rest_a += symbol.a;
    rest_b += symbol.b;
    ++rest;
  }
  if (rest > 0) {
    rows.push_back(symbol_row("", fmt::format("{} more", rest), rest_a, rest_b, profile.operations,
                              Colour::Dim));
  }
  rows.push_back(
      symbol_row("", "total", profile.total_a, profile.total_b, profile.operations, Colour::Bold));
  return fmt::format("{} {}: instructions of {} operations in {} layouts\n",
                     arch::name_of(profile.arch), printable(profile.experiment),
                     report::grouped(profile.operations), profile.layouts) +
         report::table({{"space", 8},
                        {"symbol", 48},
                        {"a", 16, true},
                        {"b", 16, true},
                        {"b - a", 16, true},
                        {"each", 12, true}},
                       rows, options.width, 2, options.colours);
}

// --- CSV ---

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') quoted += '"';
  }
  return quoted + "\"";
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string line;
  for (const std::string& field : fields) line += (line.empty() ? "" : ",") + csv_field(field);
  return line + "\r\n";
}

std::string csv_number(double value) { return fmt::format("{}", value); }

void add_summary(std::vector<std::string>& fields, const Summary& summary) {
  fields.push_back(fmt::format("{}", summary.count));
  for (const double value : {summary.median, summary.lower_quartile, summary.upper_quartile,
                             summary.least, summary.most}) {
    fields.push_back(summary.count == 0 ? "" : csv_number(value));
  }
}

void add_interval(std::vector<std::string>& fields, const std::optional<Interval>& interval) {
  fields.push_back(interval ? csv_number(interval->lower) : "");
  fields.push_back(interval ? csv_number(interval->upper) : "");
}

std::string csv_comparison(const Context& context, const Metric& metric, const char* what,
                           const Comparison& compared) {
  std::vector<std::string> fields = {arch::name_of(metric.arch), metric.experiment,
                                     name_of(metric.measure), unit_of(metric.measure), what};
  add_summary(fields, compared.a);
  add_summary(fields, compared.b);
  fields.push_back(compared.shift ? csv_number(compared.shift->estimate) : "");
  const std::optional<Interval> none;
  add_interval(fields, compared.shift ? compared.shift->ninety_five : none);
  add_interval(fields, compared.shift ? compared.shift->ninety : none);
  fields.push_back(csv_number(compared.bound));
  fields.push_back(csv_number(compared.equivalence_p));
  fields.emplace_back(name_of(compared.verdict));
  fields.push_back(compared.smallest_effect ? csv_number(*compared.smallest_effect) : "");
  fields.push_back(compared.needed ? fmt::format("{}", *compared.needed) : "");
  for (const Summary* summary : {&compared.a, &compared.b}) {
    const auto ticks = summary->count == 0 ? std::nullopt : ticks_of(metric, summary->median);
    fields.push_back(ticks ? csv_number(*ticks) : "");
  }
  fields.push_back(context.engine);
  fields.push_back(text_of_lane(context));
  return csv_line(fields);
}

/// A line of the same fields, most of them empty: what interception costs has no interval.
std::string csv_watched(const Context& context, const WatchedLine& line) {
  std::vector<std::string> fields = {arch::name_of(line.arch), line.experiment,
                                     name_of(line.measure), unit_of(line.measure),
                                     fmt::format("{}-watched", name_of(line.side))};
  const auto add = [&](double value) {
    fields.emplace_back("1");
    fields.push_back(csv_number(value));
    fields.insert(fields.end(), 4, "");
  };
  add(line.off);
  add(line.on);
  fields.push_back(csv_number(line.on - line.off));
  fields.insert(fields.end(), 11, "");
  fields.push_back(context.engine);
  fields.push_back(text_of_lane(context));
  return csv_line(fields);
}

}  // namespace

std::string number_text(double value) {
  std::string text = fmt::format("{:.{}f}", std::abs(value), std::abs(value) < 1000 ? 1 : 0);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  const std::size_t point = std::min(text.find('.'), text.size());
  for (std::size_t i = point; i > 3; i -= 3) text.insert(i - 3, ",");
  return (value < 0 && text != "0" ? "-" : "") + text;
}

std::string signed_text(double value) {
  const std::string text = number_text(value);
  return value > 0 && text != "0" ? "+" + text : text;
}

std::string interval_text(const std::optional<Interval>& interval) {
  if (!interval) return "-";
  return fmt::format("[{}, {}]", signed_text(interval->lower), signed_text(interval->upper));
}

std::string counter_text(const RunCounter& counter) {
  if (counter.frequency == 0) {
    return fmt::format(
        "{}: a guest does not know how fast its counter counts; a reading takes {} "
        "ticks",
        arch::name_of(counter.arch), number_text(counter.read_ticks));
  }
  const double step = counter.nanoseconds(static_cast<double>(counter.step));
  return fmt::format(
      "{}: {} ticks in a second by {}, the guests within {:.2g} %; it goes up by {:.3g} ns, a "
      "reading takes {:.3g} ns; ticks are the counter's, not cycles of the core",
      arch::name_of(counter.arch), report::grouped(counter.frequency), counter.source,
      counter.spread * 100, step, counter.nanoseconds(counter.read_ticks));
}

std::string pinned_text(const Report& report) {
  const auto& pinned = report.context.pinned;
  if (!pinned) return "bound to no CPU";
  std::uint64_t preempted = 0;
  for (const Boot& boot : report.boots) preempted += boot.preempted.value_or(0);
  return fmt::format(
      "bound to CPU {} of {}, {}, {}, {}; another thread took it from a vCPU {} times in {} boots",
      pinned->cpu, report.context.host_cpus, pinned->isolated ? "isolated" : "not isolated",
      pinned->governor.empty() ? std::string("no frequency governor")
                               : fmt::format("governor {}", pinned->governor),
      pinned->siblings.empty() ? std::string("no other CPU known of its core")
                               : fmt::format("of one core with CPU {}", pinned->siblings),
      report::grouped(preempted), report.boots.size());
}

std::string needed_text(const Comparison& comparison) {
  if (!comparison.needed) return "more than any number of layouts: the shift is the bound";
  if (*comparison.needed >= kMostNeeded) {
    return fmt::format("more than {} layouts of each", report::grouped(kMostNeeded));
  }
  const std::size_t least = comparison.paired ? kLeastPairs : kLeastLayouts;
  const bool few = std::min(comparison.a.count, comparison.b.count) < least;
  return fmt::format("{} {} layouts of each", few ? "at least" : "about",
                     report::grouped(*comparison.needed));
}

std::string render_text(const Report& report, const TextOptions& options) {
  std::string text = report::paragraph("== ", heading(report), options.width);
  text += cost_table(report, options);
  text += cross_table(report, options);
  Sections sections(options);
  add_legend(sections, report);
  add_counts(sections, report, options);
  add_undecided(sections, report);
  sections.add_list("void", report.void_because);
  sections.add_list("failed", report.failures);
  add_missing(sections, report);
  add_complete(sections, report);
  add_controls(sections, report);
  add_cross_checks(sections, report);
  add_baseline(sections, report);
  add_counters(sections, report);
  add_pinned(sections, report);
  sections.add("measured", text_of_lane(report.context));
  text += sections.take();
  text += watched_table(report, options);
  const Colour colour = report.exit_code == ExitCode::AsExpected ? Colour::Green : Colour::Red;
  return text + (options.colours ? report::paint(report.conclusion, colour) : report.conclusion) +
         "\n";
}

std::string explain_text(const Report& report, const TextOptions& options) {
  const auto order = largest_first(report.profiles, Side::B);
  const auto all = static_cast<std::size_t>(
      std::count_if(report.profiles.begin(), report.profiles.end(),
                    [](const auto& profile) { return profile.with == Side::B; }));
  if (all == 0) return "no profile was taken\n";
  std::string text;
  for (const ProfileDifference* profile : order) {
    text += (text.empty() ? "" : "\n") + profile_text(*profile, options);
  }
  if (const std::size_t same = all - order.size(); same > 0) {
    text += fmt::format("{}{} experiments execute the same number of instructions in each symbol\n",
                        text.empty() ? "" : "\n", same);
  }
  return text;
}

std::string render_csv(const Report& report) {
  std::vector<std::string> titles = {"arch", "experiment", "measure", "unit", "comparison"};
  for (const char* group : {"first", "second"}) {
    for (const char* what :
         {"count", "median", "lower_quartile", "upper_quartile", "least", "most"}) {
      titles.push_back(fmt::format("{}_{}", group, what));
    }
  }
  for (const char* title :
       {"shift", "ninety_five_lower", "ninety_five_upper", "ninety_lower", "ninety_upper", "bound",
        "equivalence_p", "verdict", "smallest_effect", "layouts_needed", "first_median_ticks",
        "second_median_ticks", "engine", "says"}) {
    titles.emplace_back(title);
  }
  std::string text = csv_line(titles);
  const Context& context = report.context;
  for (const std::vector<Metric>* metrics : {&report.metrics, &report.foreign}) {
    for (const Metric& metric : *metrics) {
      const auto add = [&](const char* what, const std::optional<Comparison>& compared) {
        if (compared) text += csv_comparison(context, metric, what, *compared);
      };
      add("b-a", metric.cost);
      add("a-a", metric.again);
      add("slowed-a", metric.sensitivity);
      add("a-baseline", metric.baseline_a);
      add("b-baseline", metric.baseline_b);
    }
  }
  if (!report.watched) return text;
  for (const WatchedLine& line : report.watched->lines) {
    if (line.problem.empty()) text += csv_watched(context, line);
  }
  return text;
}

}  // namespace sealvisor::bench
