#include "vmm/report/text.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/report/conclude.h"
#include "vmm/report/layout.h"
#include "vmm/report/program_text.h"
#include "vmm/report/text_parts.h"
#include "vmm/report/words.h"

namespace sealvisor::report {

namespace {

std::string printable_label(const Run& run) { return printable(name_of(run)); }

std::string claim_text(const Claim& claim) { return printable(words_of(claim)); }

Colour colour_of(const Cell& cell) {
  switch (cell.verdict) {
    case Verdict::Held:
    case Verdict::AsExpected:
      return cell.lie ? Colour::Red : Colour::Green;
    case Verdict::Forced:
    case Verdict::ByDesign:
      return Colour::Yellow;
    case Verdict::Violation:
    case Verdict::Mismatch:
      return cell.lie ? Colour::Yellow : Colour::Red;
    case Verdict::Unobserved:
      return Colour::Yellow;
    case Verdict::Skipped:
      return Colour::Dim;
  }
  return Colour::None;
}

/// An observation without what is in brackets, which the list of writes has too.
std::string brief(std::string text) {
  const std::size_t open = text.find(" (");
  const std::size_t close = text.find(')', open == std::string::npos ? text.size() : open);
  if (close != std::string::npos) text.erase(open, close + 1 - open);
  return printable(text);
}

/// Cells of one mapping that came out alike, whatever was done: one row.
struct Group {
  std::vector<const Cell*> cells;  // at least one
  bool same_text = true;           // of the observation
};

bool alike(const Cell& one, const Cell& other) {
  return one.mapping == other.mapping && claim_text(one.claim) == claim_text(other.claim) &&
         one.observation.change == other.observation.change &&
         words_of(one.expectation) == words_of(other.expectation) && one.verdict == other.verdict &&
         one.lie == other.lie;
}

/// Groups in the order of their first cells, those of a mapping together.
std::vector<Group> group_cells(const std::vector<Cell>& cells) {
  std::vector<Group> groups;
  for (const Cell& cell : cells) {
    if (cell.verdict == Verdict::Skipped || cell.observation.text == kNotReached) continue;
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return alike(*group.cells.front(), cell);
    });
    if (found != groups.end()) {
      found->same_text = found->same_text && brief(found->cells.front()->observation.text) ==
                                                 brief(cell.observation.text);
      found->cells.push_back(&cell);
      continue;
    }
    const auto last = std::find_if(groups.rbegin(), groups.rend(), [&](const Group& group) {
      return group.cells.front()->mapping == cell.mapping;
    });
    groups.insert(last == groups.rend() ? groups.end() : last.base(), {{&cell}, true});
  }
  return groups;
}

/// What is in front of the first dash of an operation, with the dash; without one nothing.
std::string_view family_of(std::string_view operation) {
  return operation.substr(0, operation.find('-') + 1);
}

/// "mprotect-r", "mprotect-w", "munmap" -> "mprotect-{r,w},munmap". Those of a family stand where
/// the first of them stands: a full matrix has thirty of one.
std::string join_operations(const std::vector<std::string>& operations) {
  std::vector<std::string> words;
  std::vector<std::string_view> told;
  for (const std::string& operation : operations) {
    const std::string_view family = family_of(operation);
    if (std::find(told.begin(), told.end(), family) != told.end()) continue;
    std::vector<std::string> of_family;
    for (const std::string& other : operations) {
      if (!family.empty() && family_of(other) == family) {
        of_family.push_back(other.substr(family.size()));
      }
    }
    if (of_family.size() < 2) {
      words.push_back(operation);
      continue;
    }
    told.push_back(family);
    words.push_back(fmt::format("{}{{{}}}", family, fmt::join(of_family, ",")));
  }
  return fmt::format("{}", fmt::join(words, ","));
}

/// What was tried in `cells`: "munmap,mmap-fixed/whole,first-page; mprotect-{r,w}/whole".
/// Operations with the same forms stand together.
std::string tried(const std::vector<const Cell*>& cells) {
  std::vector<std::pair<std::string, std::string>> forms;  // operation -> its forms
  for (const Cell* cell : cells) {
    const auto found = std::find_if(forms.begin(), forms.end(),
                                    [&](const auto& one) { return one.first == cell->operation; });
    if (found == forms.end()) {
      forms.emplace_back(cell->operation, cell->form);
    } else {
      found->second += "," + cell->form;
    }
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> sets;  // forms -> operations
  for (const auto& form : forms) {
    auto found = std::find_if(sets.begin(), sets.end(),
                              [&](const auto& one) { return one.first == form.second; });
    if (found == sets.end()) found = sets.insert(found, {form.second, {}});
    found->second.push_back(form.first);
  }
  std::string text;
  for (const auto& [of_them, operations] : sets) {
    text += (text.empty() ? "" : "; ") + join_operations(operations) + "/" + of_them;
  }
  return printable(text);
}

std::string cells_table(const Run& run, const TextOptions& options) {
  std::vector<Row> rows;
  const Cell* previous = nullptr;
  for (const Group& group : group_cells(run.cells)) {
    const Cell& cell = *group.cells.front();
    const bool repeated = previous != nullptr && previous->mapping == cell.mapping;
    previous = &cell;
    const std::string observed =
        group.same_text ? brief(cell.observation.text) : name_of(cell.observation.change);
    rows.push_back(
        {{repeated ? "" : printable(cell.mapping), grouped(group.cells.size()), tried(group.cells),
          claim_text(cell.claim), observed, words_of(cell.expectation),
          name_of(cell.verdict) + std::string(cell.lie ? " (lie)" : "")},
         colour_of(cell)});
  }
  if (rows.empty()) return "";
  return table({{"mapping", 14},
                {"cells", 6, true},
                {"operation/form", 44},
                {"claim", 16},
                {"observed from outside", 32},
                {"expected", 26},
                {"verdict", 16}},
               rows, options.width, 2, options.colours);
}

std::string skipped_text(const Run& run, const TextOptions& options) {
  struct Skipped {
    std::string mapping;
    std::string reason;
    std::vector<std::string> cells;
  };
  std::vector<Skipped> groups;
  for (const Cell& cell : run.cells) {
    if (cell.verdict != Verdict::Skipped) continue;
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Skipped& group) {
      return group.mapping == cell.mapping && group.reason == cell.observation.text;
    });
    if (found == groups.end()) {
      found = groups.insert(found, {cell.mapping, cell.observation.text, {}});
    }
    found->cells.push_back(cell.operation + "/" + cell.form);
  }
  std::string text;
  const auto missed = std::count_if(run.cells.begin(), run.cells.end(), [](const Cell& cell) {
    return cell.observation.text == kNotReached;
  });
  if (missed != 0) text += fmt::format("  not reached: {} of {} cells\n", missed, run.cells.size());
  for (const Skipped& group : groups) {
    const auto all = static_cast<std::size_t>(
        std::count_if(run.cells.begin(), run.cells.end(),
                      [&](const Cell& cell) { return cell.mapping == group.mapping; }));
    const std::string cells = group.cells.size() == all
                                  ? fmt::format("all its cells ({})", all)
                                  : fmt::format("{}", fmt::join(group.cells, ", "));
    text += paragraph(fmt::format("  skipped {}  ", printable(group.mapping)),
                      printable(cells + ": " + group.reason), options.width);
  }
  return text;
}

std::string lives_table(const Run& run, const TextOptions& options) {
  if (run.lives.empty()) return "";
  std::vector<Row> rows;
  for (const Life& life : run.lives) {
    rows.push_back({{printable(life.name), grouped(life.count), grouped(life.address_spaces),
                     grouped(life.user_entries), grouped(life.pages_kept),
                     grouped(life.pages_refaulted), grouped(life.pages_unobserved),
                     grouped(life.teardowns), grouped(life.inherited), words_of(life)},
                    life.unsupported ? Colour::Dim
                    : is_good(life)  ? Colour::Green
                                     : Colour::Red});
  }
  return table({{"scenario", 28},
                {"done", 9, true},
                {"spaces", 9, true},
                {"user entries", 12, true},
                {"kept", 9, true},
                {"refaulted", 9, true},
                {"unobserved", 10, true},
                {"teardowns", 9, true},
                {"inherited", 9, true},
                {"judged", 30}},
               rows, options.width, 2, options.colours);
}

}  // namespace

std::string change_text(const EntryChange& change, std::size_t width) {
  // No page of the mapping is at 0: the entry is of another place.
  const std::string place = change.gva == 0 ? "new place" : fmt::format("{:#x}", change.gva);
  std::string text =
      paragraph("    ",
                printable(fmt::format("{} level {} at {:#x}: {:#x} -> {:#x} by {}{}{}{}", place,
                                      change.level, change.gpa, change.old_value, change.new_value,
                                      change.function, change.instruction.empty() ? "" : ": ",
                                      change.instruction, change.transient ? " (transient)" : "")),
                width);
  if (!change.old_text.empty() || !change.new_text.empty()) {
    text += paragraph("      ",
                      printable(fmt::format("{} -> {}", change.old_text, change.new_text)), width);
  }
  return text;
}

namespace {

/// The writes behind one cell.
std::string cell_changes_text(const Cell& cell, std::size_t alike, const TextOptions& options) {
  const std::size_t total = cell.changes.size() + cell.changes_left_out;
  // What lasted says more than what was undone.
  std::vector<const EntryChange*> order;
  for (const EntryChange& change : cell.changes) order.push_back(&change);
  std::stable_sort(order.begin(), order.end(), [](const auto* one, const auto* other) {
    return !one->transient && other->transient;
  });
  const std::size_t shown = std::min(order.size(), options.changes_per_cell);
  const std::string more = total == shown ? "" : fmt::format(" ({} more)", total - shown);
  const std::string broken =
      cell.broken.empty() ? "" : fmt::format(", breaks {}", fmt::join(cell.broken, " "));
  const std::string others =
      alike == 0 ? "" : fmt::format("; and {} more that came out alike", alike);
  std::string text =
      paragraph("  ",
                printable(fmt::format("{} {}/{}: {}{}, {} entry write{}{}{}", cell.mapping,
                                      cell.operation, cell.form, cell.observation.text, broken,
                                      total, total == 1 ? "" : "s", more, others)),
                options.width);
  for (std::size_t i = 0; i < shown; ++i) text += change_text(*order[i], options.width);
  return text;
}

/// The writes behind the cells that changed or should not look as they do, one for each row of the
/// table.
std::string changes_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const Group& group : group_cells(run.cells)) {
    const Cell& cell = *group.cells.front();
    const bool changed = cell.observation.change > Change::Refaulted;
    const bool bad = cell.verdict == Verdict::Violation || cell.verdict == Verdict::Mismatch;
    const bool wrote = cell.changes.size() + cell.changes_left_out != 0;
    if (!changed && (!bad || !wrote)) continue;
    text += cell_changes_text(cell, group.cells.size() - 1, options);
  }
  if (text.empty()) return "";
  return "  who wrote it (page, level and place of the entry, old -> new, function, "
         "instruction)\n" +
         text;
}

/// What the seal does not keep out, as a class of its own.
std::string forced_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const Verdict verdict : {Verdict::Forced, Verdict::ByDesign}) {
    std::vector<std::string> cells;
    for (const Cell& cell : run.cells) {
      if (cell.verdict != verdict) continue;
      cells.push_back(fmt::format(
          "{} {}/{}: {}{}", cell.mapping, cell.operation, cell.form,
          name_of(cell.observation.change),
          cell.broken.empty() ? "" : fmt::format(" ({})", fmt::join(cell.broken, " "))));
    }
    if (cells.empty()) continue;
    text += paragraph(verdict == Verdict::Forced ? "  forced    " : "  by design ",
                      printable(fmt::format("{}", fmt::join(cells, "; "))), options.width);
  }
  return text;
}

/// A part of what is said of a run, if anything is.
std::string fact_text(const char* first, const std::string& words, const TextOptions& options) {
  return words.empty() ? "" : paragraph(first, printable(words), options.width);
}

}  // namespace

std::string counts_text(const Run& run, const TextOptions& options) {
  return fact_text("  counts    ", counts_words(run), options);
}

namespace {

/// What was tampered with: a line for each edit, and what came of all.
std::string campaign_text(const Run& run, const TextOptions& options) {
  if (!run.campaign) return "";
  const Campaign& campaign = *run.campaign;
  struct Line {
    std::string edit;
    std::array<std::uint64_t, 3> by{};
    std::uint64_t at_once = 0;
    std::uint64_t wrong = 0;
  };
  std::vector<Line> lines;
  for (const Campaign::Row& row : campaign.rows) {
    if (lines.empty() || lines.back().edit != row.edit) lines.push_back({row.edit, {}, 0, 0});
    Line& line = lines.back();
    line.by[row.writer == "user mode" ? 0 : row.writer == "kernel" ? 1 : 2] += row.made;
    if (row.undone_at_once) line.at_once += row.made;
    line.wrong += row.made - row.right;
  }
  std::vector<Row> rows;
  for (const Line& line : lines) {
    rows.push_back({{line.edit, grouped(line.by[0]), grouped(line.by[1]), grouped(line.by[2]),
                     grouped(line.at_once), grouped(line.wrong)}});
  }
  std::string text = table({{"tampering"},
                            {"user mode", 9, true},
                            {"kernel", 9, true},
                            {"/dev/mem", 9, true},
                            {"undone at once", 14, true},
                            {"not as it is", 12, true}},
                           rows, options.width, 2, options.colours);
  return text + fact_text("  campaign  ", campaign_words(run), options);
}

std::string ending_text(const Run& run, const TextOptions& options) {
  if (run.ending.good) return "";
  const auto paint_if = [&](std::string_view text) {
    return options.colours ? paint(text, Colour::Red) : std::string(text);
  };
  std::string text =
      paint_if(fmt::format("  {}{}", run.ending.interrupted ? "" : "the guest failed: ",
                           printable(run.ending.text))) +
      "\n";
  std::string_view rest = run.ending.console_tail;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text += fmt::format("    | {}\n", printable(line));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return text;
}

/// The findings that a control is for, as a count: its table has them.
std::string lies_text(const Run& run) {
  const auto lies =
      std::count_if(run.findings.begin(), run.findings.end(),
                    [](const Finding& finding) { return finding.reason == kDocumentedLie; });
  if (lies == 0) return "";
  return fmt::format("  control   {} findings, all where this recipe is documented to lie\n", lies);
}

}  // namespace

std::string head_text(const Run& run, const TextOptions& options) {
  const std::string title =
      fmt::format("== {}: engine {}, {} lane, kernel {}", printable_label(run), run.engine,
                  run.lane, run.kernel.empty() ? "unknown" : printable(run.kernel));
  std::string text;
  for (const std::string& line : wrap(title, options.width)) {
    text += (options.colours ? paint(line, Colour::Bold) : line) + "\n";
  }
  text += ending_text(run, options);
  text += fact_text("  machine   ", machine_words(run), options);
  text += fact_text("  unpacked  ", run.kernel_packing, options);
  text += fact_text("  start     ", start_words(run), options);
  text += fact_text("  watch     ", run.mechanism, options);
  text += fact_text("  promise   ", promise_words(run), options);
  text += fact_text("  mappings  ", mappings_words(run), options);
  if (!run.ours) text += fact_text("  symbols   ", run.symbols, options);
  return text;
}

namespace {

std::string run_text(const Run& run, const TextOptions& options) {
  std::string text = head_text(run, options);
  for (const std::string& part :
       {cells_table(run, options), skipped_text(run, options), lives_table(run, options),
        programs_text(run, options), forced_text(run, options), changes_text(run, options)}) {
    if (!part.empty()) text += part;
  }
  text += campaign_text(run, options);
  text += counts_text(run, options);
  text += fact_text("  exits     ", costs_words(run), options) + lies_text(run);
  text += paragraph("  outcome   ", printable(run.summary), options.width);
  return text;
}

}  // namespace

std::string findings_text(const Report& report, bool known, const TextOptions& options) {
  std::string text;
  for (const Finding& finding : report.findings) {
    if (finding.known != known || finding.reason == kDocumentedLie) continue;
    if (text.empty()) {
      text = (options.colours ? paint("FINDINGS", Colour::Bold) : std::string("FINDINGS")) + "\n";
    }
    const std::string mark = finding.known ? "known" : "NEW  ";
    text +=
        "  " + (options.colours ? paint(mark, finding.known ? Colour::Yellow : Colour::Red) : mark);
    text += fmt::format(" {}\n", printable(finding.id));
    text += paragraph("        ", printable(finding.text), options.width);
    if (finding.known) {
      text += paragraph("        known: ", printable(finding.reason), options.width);
    }
  }
  if (!text.empty()) text += "\n";
  return text;
}

std::string blind_spots_text(const Report& report, const TextOptions& options) {
  std::string text;
  for (const std::string& spot : blind_spots_of(report)) {
    text += paragraph("  - ", printable(spot), options.width);
  }
  return text.empty() ? "" : "what these runs cannot see\n" + text + "\n";
}

std::string not_run_text(const Report& report, const TextOptions& options) {
  std::string text;
  for (const NotRun& not_run : report.not_run) {
    text += paragraph(fmt::format("== {} {}: did not run: ", arch::name_of(not_run.arch),
                                  printable(not_run.recipe)),
                      printable(not_run.error.message), options.width);
    text += "\n";
  }
  return text;
}

std::string end_text(const Report& report, const TextOptions& options) {
  const bool good = report.exit_code == ExitCode::AsExpected;
  // Not broken: whoever looks for the outcome finds it in the last line.
  const std::string conclusion = printable(report.conclusion);
  return paragraph("threat model: ", report.threat_model, options.width) +
         (options.colours ? paint(conclusion, good ? Colour::Green : Colour::Red) : conclusion) +
         "\n";
}

std::string render_text(const Report& report, const TextOptions& options) {
  std::string text;
  for (const Run& run : report.runs) text += run_text(run, options) + "\n";
  // What was found leads, however many rows come behind it.
  return findings_text(report, /*known=*/false, options) + text + not_run_text(report, options) +
         findings_text(report, /*known=*/true, options) + blind_spots_text(report, options) +
         end_text(report, options);
}

}  // namespace sealvisor::report
