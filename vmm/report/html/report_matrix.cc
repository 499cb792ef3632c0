// Findings, runs and the matrix: what all runs have in common.
#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/conclude.h"
#include "vmm/report/finding_ids.h"
#include "vmm/report/html/markup.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/layout.h"
#include "vmm/report/words.h"

namespace sealvisor::report::html {

namespace {

/// Where findings lead: ids of cells and programs in the page, by what the findings' ids begin
/// with.
std::unordered_map<std::string, std::string> places_of(const Report& report) {
  std::unordered_map<std::string, std::string> places;
  for (std::size_t run = 0; run < report.runs.size(); ++run) {
    const Run& of = report.runs[run];
    for (std::size_t i = 0; i < of.cells.size(); ++i) {
      places.try_emplace(id_of(of, of.cells[i]), cell_id(run, i));
    }
    for (std::size_t i = 0; i < of.programs.size(); ++i) {
      places.try_emplace(program_id_of(of, of.programs[i]), program_id(run, i));
    }
  }
  return places;
}

std::string finding_item(const Finding& finding,
                         const std::unordered_map<std::string, std::string>& places) {
  auto place = places.end();
  // Behind a program's name there is the mapping or the line too.
  for (std::size_t end = finding.id.rfind('/'); end != std::string::npos && place == places.end();
       end = end == 0 ? std::string::npos : finding.id.rfind('/', end - 1)) {
    place = places.find(finding.id.substr(0, end));
  }
  return fmt::format(
      "<li><strong class=\"{}\">{}</strong> {}<br>{}{}</li>\n", finding.known ? "open" : "bad",
      finding.known ? "known" : "new", link(place == places.end() ? "" : place->second, finding.id),
      escape(finding.text),
      finding.known
          ? fmt::format("<br><span class=\"note\">known: {}</span>", escape(finding.reason))
          : std::string());
}

/// What stands where in the matrix.
struct Entry {
  std::string id;  ///< Of the place that it leads to.
  std::string words;
  State state = State::Skipped;
};

struct MatrixRow {
  std::string mapping;
  std::string what;
  std::vector<std::optional<Entry>> entries;  ///< One for each run.
  State worst = State::Skipped;
};

/// Rows in the order in which they first come.
class Matrix {
 public:
  explicit Matrix(std::size_t runs) : runs_(runs) {}

  void put(const std::string& mapping, const std::string& what, std::size_t run, Entry entry) {
    const auto [place, fresh] = index_.try_emplace({mapping, what}, rows_.size());
    if (fresh) {
      rows_.push_back({mapping, what, std::vector<std::optional<Entry>>(runs_), State::Skipped});
    }
    MatrixRow& row = rows_[place->second];
    row.worst = std::min(row.worst, entry.state);
    // Twice in a run: the worse one stands here, and both in the run's own list.
    std::optional<Entry>& known = row.entries[run];
    if (!known || entry.state < known->state) known = std::move(entry);
  }
  /// Findings first.
  [[nodiscard]] std::vector<MatrixRow> take() {
    std::stable_sort(rows_.begin(), rows_.end(), [](const MatrixRow& one, const MatrixRow& other) {
      return one.worst < other.worst;
    });
    return std::move(rows_);
  }

 private:
  std::size_t runs_;
  std::map<std::pair<std::string, std::string>, std::size_t> index_;
  std::vector<MatrixRow> rows_;
};

std::vector<MatrixRow> rows_of(const Report& report) {
  Matrix matrix(report.runs.size());
  for (std::size_t run = 0; run < report.runs.size(); ++run) {
    const Run& of = report.runs[run];
    for (std::size_t i = 0; i < of.cells.size(); ++i) {
      const Cell& cell = of.cells[i];
      matrix.put(cell.mapping, cell.operation + "/" + cell.form, run,
                 {cell_id(run, i), verdict_words(of, cell), state_of(of, cell)});
    }
    for (std::size_t i = 0; i < of.programs.size(); ++i) {
      const Program& program = of.programs[i];
      matrix.put("programs", program.name, run,
                 {program_id(run, i), outcome_words(of, program), state_of(of, program)});
    }
    for (const Life& life : of.lives) {
      matrix.put("processes", life.name, run,
                 {run_id(run) + "-lives", outcome_words(of, life), state_of(of, life)});
    }
  }
  return matrix.take();
}

constexpr const char* kMatrixControls =
    R"(<form class="controls" data-for="matrix-table" data-noun="rows" hidden>
<label>Find <input type="search" id="find" data-filter="text" autocomplete="off"></label>
<label>Show <select id="state" data-filter="state"><option value="">all</option>
<option value="finding">new findings</option><option value="open">known findings, unobserved</option>
<option value="lie">lies of controls</option><option value="exception">by force, by design</option>
<option value="good">as it must be</option>
<option value="skipped">skipped</option></select></label>
<span class="note" role="status"></span>
</form>
)";

}  // namespace

std::string findings_section(const Report& report) {
  const auto places = places_of(report);
  std::string news;
  std::string lies;
  std::size_t lie_count = 0;
  for (const Finding& finding : report.findings) {
    const bool lie = finding.reason == kDocumentedLie;
    lie_count += lie ? 1 : 0;
    (lie ? lies : news) += finding_item(finding, places);
  }
  std::string html = news.empty() ? "<p>None but what is expected of controls.</p>\n"
                                  : fmt::format("<ul class=\"findings\">\n{}</ul>\n", news);
  if (news.empty() && lies.empty()) html = "<p>None.</p>\n";
  if (!lies.empty()) {
    html += fmt::format(
        "<details><summary>{} more, each where a control is documented to lie</summary>\n"
        "<ul class=\"findings\">\n{}</ul>\n</details>\n",
        lie_count, lies);
  }
  return html;
}

std::string runs_section(const Report& report) {
  std::vector<TableRow> rows;
  for (std::size_t i = 0; i < report.runs.size(); ++i) {
    const Run& run = report.runs[i];
    rows.push_back({{{link(run_id(i), report::name_of(run))},
                     {run.good ? "good" : "not good", std::nullopt, run.good ? "good" : "bad"},
                     text_cell(run.kernel.empty() ? "unknown" : run.kernel),
                     {escape(run.summary), std::nullopt, "wrap"}}});
  }
  for (const NotRun& not_run : report.not_run) {
    rows.push_back({{text_cell(fmt::format("{} {}", arch::name_of(not_run.arch), not_run.recipe)),
                     {"did not run", std::nullopt, "bad"},
                     text_cell("-"),
                     {escape(not_run.error.message), std::nullopt, "wrap"}}});
  }
  if (rows.empty()) return "<p>Nothing was run.</p>\n";
  return table({.id = "runs-table", .label = "Runs"},
               {{"run"}, {"outcome"}, {"kernel"}, {"summary"}}, rows);
}

std::string matrix_section(const Report& report) {
  const std::vector<MatrixRow> matrix = rows_of(report);
  if (matrix.empty()) return "<p>Nothing was tried.</p>\n";
  std::vector<TableColumn> columns = {{"mapping and operation"}};
  for (const Run& run : report.runs) {
    columns.push_back({.html = fmt::format("{} <span class=\"where\">{}</span>", escape(run.recipe),
                                           arch::name_of(run.arch))});
  }
  std::vector<TableRow> rows;
  for (const MatrixRow& one : matrix) {
    TableRow row;
    row.attributes = fmt::format(" data-state=\"{}\"", name_of(one.worst));
    row.cells.push_back(
        {fmt::format("{} <span class=\"where\">{}</span>", escape(one.what), escape(one.mapping))});
    for (const std::optional<Entry>& entry : one.entries) {
      if (!entry) {
        row.cells.push_back(number_cell("-", static_cast<double>(State::Skipped) + 1));
        continue;
      }
      row.cells.push_back({fmt::format("<a href=\"#{}\" class=\"{}\">{}</a>", entry->id,
                                       style_of(entry->state), escape(entry->words)),
                           static_cast<double>(entry->state)});
    }
    rows.push_back(std::move(row));
  }
  return kMatrixControls +
         table({.id = "matrix-table", .label = "What was tried, findings first", .sortable = true},
               columns, rows);
}

}  // namespace sealvisor::report::html
