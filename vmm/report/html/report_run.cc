// One run: what it was, its cells, its scenarios without cells.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/layout.h"
#include "vmm/report/words.h"

namespace sealvisor::report::html {

namespace {

std::string fact_unless_empty(std::string_view name, const std::string& value) {
  return value.empty() ? "" : fact(name, value);
}

std::string facts(const Run& run) {
  return "<dl>\n" + fact("kernel", run.kernel.empty() ? "unknown" : run.kernel) +
         fact("expected to be", !run.expectations ? "unknown: an image of your own"
                                : run.control     ? "lying: a control"
                                : run.sealed      ? "sealed"
                                                  : "not sealed") +
         fact("engine", fmt::format("{}, {} lane", run.engine, run.lane)) +
         fact_unless_empty("watch", run.mechanism) +
         fact_unless_empty("promise", promise_words(run)) + fact("machine", machine_words(run)) +
         fact_unless_empty("start", start_words(run)) + fact("mappings", mappings_words(run)) +
         (run.ours ? "" : fact_unless_empty("symbols", run.symbols)) +
         fact_unless_empty("campaign", campaign_words(run)) + fact("counts", counts_words(run)) +
         fact_unless_empty("exits", costs_words(run)) + fact("image", run.kernel_path) +
         fact_unless_empty("unpacked", run.kernel_packing) + "</dl>\n";
}

/// How the guest ended, unless that is as it must be.
std::string ending(const Run& run) {
  if (run.ending.good) return "";
  std::string html =
      fmt::format("<p class=\"bad\">{}{}</p>\n",
                  run.ending.interrupted ? "" : "the guest failed: ", escape(run.ending.text));
  if (run.ending.console_tail.empty()) return html;
  std::string lines;
  std::string_view rest = run.ending.console_tail;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines += escape(line) + "\n";
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return html +
         fmt::format(
             "<div class=\"scroll\" role=\"region\" aria-label=\"Last lines of the console\" "
             "tabindex=\"0\"><pre>{}</pre></div>\n",
             lines);
}

/// The process whose timeline shows a cell, by the cell's id.
std::unordered_map<std::uint32_t, std::uint64_t> victims_of(const Run& run) {
  std::unordered_map<std::uint32_t, std::uint64_t> victims;
  for (const Process& process : run.processes) {
    if (process.cell) victims.emplace(*process.cell, process.id);
  }
  return victims;
}

std::string expected_html(const Cell& cell) {
  if (!cell.expectation) return "nothing is known of this kernel beforehand";
  return fmt::format("{}<br><span class=\"note\">{}</span>", escape(words_of(cell.expectation)),
                     escape(cell.expectation->source));
}

std::string observed_html(const Cell& cell) {
  std::string html = escape(cell.observation.text);
  if (!cell.broken.empty()) {
    html += fmt::format("<br><span class=\"note\">broke {}</span>",
                        escape(fmt::format("{}", fmt::join(cell.broken, " "))));
  }
  return html;
}

std::string cells(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  if (run.cells.empty()) return "";
  const auto victims = victims_of(run);
  std::vector<TableRow> rows;
  for (std::size_t i = 0; i < run.cells.size(); ++i) {
    const Cell& cell = run.cells[i];
    const State state = state_of(run, cell);
    const auto victim = victims.find(cell.id);
    const std::size_t writes = cell.changes.size() + cell.changes_left_out;
    rows.push_back(
        {{{fmt::format("{}/{} <span class=\"where\">{}</span>", escape(cell.operation),
                       escape(cell.form), escape(cell.mapping))},
          {escape(verdict_words(run, cell)), static_cast<double>(state), style_of(state)},
          text_cell(cell.verdict == Verdict::Skipped ? "-" : words_of(cell.claim)),
          {observed_html(cell), std::nullopt, "wrap"},
          {expected_html(cell), std::nullopt, "wrap"},
          number_cell(grouped(writes), static_cast<double>(writes)),
          victim == victims.end() ? text_cell("-")
                                  : TableCell{link(process_id(number, victim->second),
                                                   fmt::format("process {}", victim->second))}},
         fmt::format(" id=\"{}\"", cell_id(number, i))});
  }
  return fmt::format("<h3 id=\"{0}-cells\">Cells</h3>\n", run_id(number)) +
         table({.id = run_id(number) + "-cell-table",
                .label = "Cells of " + report::name_of(run),
                .sortable = true},
               {{"operation"},
                {"verdict"},
                {"claimed"},
                {"observed from outside"},
                {"expected, and why"},
                {"entry writes", true},
                {"timeline"}},
               rows);
}

std::string lives(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  if (run.lives.empty()) return "";
  const auto count = [](std::uint64_t value) {
    return number_cell(grouped(value), static_cast<double>(value));
  };
  std::vector<TableRow> rows;
  for (const Life& life : run.lives) {
    const State state = state_of(run, life);
    rows.push_back(
        {{text_cell(life.name),
          {escape(outcome_words(run, life)), static_cast<double>(state), style_of(state)},
          count(life.count),
          count(life.address_spaces),
          count(life.user_entries),
          count(life.pages_kept),
          count(life.pages_refaulted),
          count(life.pages_unobserved),
          count(life.teardowns),
          count(life.inherited)}});
  }
  return fmt::format("<h3 id=\"{}-lives\">Scenarios without cells</h3>\n", run_id(number)) +
         table({.id = run_id(number) + "-life-table",
                .label = "Scenarios without cells of " + report::name_of(run)},
               {{"scenario"},
                {"outcome"},
                {"done", true},
                {"address spaces", true},
                {"user mode judged", true},
                {"pages kept", true},
                {"refaulted", true},
                {"unobserved", true},
                {"teardowns", true},
                {"inherited", true}},
               rows);
}

}  // namespace

std::string run_section(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  return fmt::format("<p class=\"conclusion{}\">{}</p>\n", run.good ? "" : " failed",
                     escape(run.summary)) +
         ending(run) + facts(run) + programs(report, number) + cells(report, number) +
         lives(report, number) + timelines(report, number) + writers(report, number);
}

}  // namespace sealvisor::report::html
