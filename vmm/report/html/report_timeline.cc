// The timelines of a run's processes, and the code that wrote.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"
#include "vmm/report/html/report_page.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/layout.h"
#include "vmm/report/words.h"

namespace sealvisor::report::html {

namespace {

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

/// "1 write", "3 processes".
std::string count_of(std::uint64_t count, std::string_view what) {
  const char* const plural = what.ends_with("ss") ? "es" : "s";
  return fmt::format("{} {}{}", grouped(count), what, count == 1 ? "" : plural);
}

// --- entries, bit by bit ---

/// The words of a decoded entry: bits, and fields with their value.
std::vector<std::string> bits_of(std::string_view decoded) {
  static constexpr std::string_view kFields[] = {"gpa", "key", "attr", "SH", "soft", "table"};
  std::vector<std::string> bits;
  bool joins = false;  // the word before is a field's name
  while (!decoded.empty()) {
    const std::size_t space = decoded.find(' ');
    const std::string_view word = decoded.substr(0, space);
    if (joins) {
      bits.back() += fmt::format(" {}", word);
    } else {
      bits.emplace_back(word);
    }
    joins = !joins && std::find(std::begin(kFields), std::end(kFields), word) != std::end(kFields);
    decoded = space == std::string_view::npos ? std::string_view{} : decoded.substr(space + 1);
  }
  return bits;
}

/// Bits of one side; those that the other does not have are marked with `tag`.
std::string bits_html(const std::vector<std::string>& bits, const std::vector<std::string>& other,
                      const char* tag) {
  std::string html;
  for (const std::string& bit : bits) {
    if (bit.empty()) continue;
    const bool both = std::find(other.begin(), other.end(), bit) != other.end();
    html += (html.empty() ? "" : " ") +
            (both ? escape(bit) : fmt::format("<{0}>{1}</{0}>", tag, escape(bit)));
  }
  return html;
}

std::string entry_html(const EntryChange& write) {
  const std::vector<std::string> before = bits_of(write.old_text);
  const std::vector<std::string> after = bits_of(write.new_text);
  return fmt::format(
      "<dl class=\"entry\"><dt>was</dt><dd><code>{}</code> {}</dd><dt>is</dt><dd><code>{}</code> "
      "{}</dd></dl>\n",
      hex(write.old_value), bits_html(before, after, "del"), hex(write.new_value),
      bits_html(after, before, "ins"));
}

std::string writer_html(const EntryChange& write, const Run& run, std::size_t number) {
  const std::string id = writer_id(number, run, write.pc);
  return fmt::format(
      "<p>by {}{}</p>\n",
      id.empty()
          ? escape(write.function)
          : fmt::format("<a class=\"writer\" href=\"#{}\">{}</a>", id, escape(write.function)),
      write.instruction.empty() ? "" : fmt::format(": <code>{}</code>", escape(write.instruction)));
}

// --- moments ---

const char* title_of(MomentKind kind) {
  switch (kind) {
    case MomentKind::Found:
      return "at its place, user mode is about to run";
    case MomentKind::Populated:
      return "page populated";
    case MomentKind::Written:
      return "entry written";
    case MomentKind::Seen:
      return "user mode sees it changed";
    case MomentKind::Elsewhere:
      return "a second place";
    case MomentKind::Broken:
      return "invariant broken";
    case MomentKind::Ended:
      break;
  }
  return "address space ended";
}

std::string when_html(const Process& process, std::uint64_t icount) {
  if (icount < process.began) return grouped(icount);
  return fmt::format("{} <span class=\"note\">(+{})</span>", grouped(icount),
                     grouped(icount - process.began));
}

std::string place_html(const Moment& moment) {
  std::string text = escape(moment.mapping);
  // No page of a system mapping is at 0: the entry is of another place.
  if (moment.gva != 0) text += fmt::format(" <code>{}</code>", hex(moment.gva));
  if (moment.pages > 1) text += fmt::format(" and {} more", count_of(moment.pages - 1, "page"));
  if (moment.write) {
    text += fmt::format(", entry of level {} at <code>{}</code>", moment.write->level,
                        hex(moment.write->gpa));
    if (moment.write->transient) text += ", <em>undone before user mode ran</em>";
  }
  return text;
}

std::string moment_html(const Moment& moment, const Process& process, const Run& run,
                        std::size_t number) {
  std::string html =
      fmt::format("<li class=\"{}\"><p><span class=\"when\">{}</span> <strong>{}</strong> {}</p>\n",
                  name_of(moment.kind), when_html(process, moment.icount), title_of(moment.kind),
                  place_html(moment));
  if (!moment.text.empty()) html += fmt::format("<p>{}</p>\n", escape(moment.text));
  if (moment.write) html += entry_html(*moment.write) + writer_html(*moment.write, run, number);
  return html + "</li>\n";
}

/// Moments of a run that there is room for in the page: what happened comes before how it began and
/// ended, of whichever process.
struct Room {
  std::size_t life = 0;
  std::size_t rest = 0;
  std::size_t left_out = 0;
};

std::string phase_html(const char* title, Phase phase, const Process& process, const Run& run,
                       std::size_t number, Room& room) {
  std::size_t& left = phase == Phase::Life ? room.life : room.rest;
  std::string items;
  for (const Moment& moment : process.timeline) {
    if (moment.phase != phase) continue;
    if (left == 0) {
      ++room.left_out;
      continue;
    }
    --left;
    items += moment_html(moment, process, run, number);
  }
  return items.empty()
             ? ""
             : fmt::format("<h4>{}</h4>\n<ol class=\"timeline\">\n{}</ol>\n", title, items);
}

// --- processes ---

/// What it was for: "[vdso] munmap/whole", or the scenario.
std::string purpose_of(const Process& process, const Run& run) {
  const auto cell = std::find_if(run.cells.begin(), run.cells.end(), [&](const Cell& one) {
    return process.cell && one.id == *process.cell;
  });
  if (cell == run.cells.end()) return process.scenario;
  return fmt::format("{} {}/{}", cell->mapping, cell->operation, cell->form);
}

std::string mappings_of(const Process& process) {
  std::string text;
  for (const PlacedMapping& placed : process.mappings) {
    text += fmt::format("{}{} at {}, {} of {} pages populated", text.empty() ? "" : "; ",
                        placed.mapping, hex(placed.gva), placed.populated, placed.pages);
  }
  return text;
}

std::string summary_of(const Process& process) {
  const auto count = [&](MomentKind kind) {
    return static_cast<std::size_t>(std::count_if(
        process.timeline.begin(), process.timeline.end(),
        [&](const Moment& one) { return one.kind == kind && one.phase == Phase::Life; }));
  };
  if (!process.changed) return "nothing happened to it";
  std::vector<std::string> parts;
  const std::size_t writes = count(MomentKind::Written);
  if (writes != 0) parts.push_back(count_of(writes, "entry write"));
  const std::size_t places = count(MomentKind::Elsewhere);
  if (places != 0) parts.push_back(count_of(places, "second place"));
  const std::size_t broken = count(MomentKind::Broken);
  if (broken != 0) parts.push_back(fmt::format("invariants broken {}", count_of(broken, "time")));
  if (parts.empty()) parts.emplace_back("changed");
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string process_html(const Process& process, const Run& run, std::size_t number, Room& room) {
  std::string html = fmt::format(
      "<details class=\"process\" id=\"{}\"><summary>process {}: {}: {}</summary>\n<dl>\n",
      process_id(number, process.id), process.id, escape(purpose_of(process, run)),
      summary_of(process));
  html += fact("root", hex(process.root)) + fact("began", grouped(process.began)) +
          fact("ended", process.ended ? grouped(*process.ended) : "not before the guest did") +
          fact("user mode judged", count_of(process.user_entries, "time")) +
          fact("mappings", mappings_of(process)) + "</dl>\n";
  const std::size_t before = room.left_out;
  html += phase_html("Installation", Phase::Installation, process, run, number, room);
  html += phase_html("Life", Phase::Life, process, run, number, room);
  html += phase_html("Exit", Phase::Exit, process, run, number, room);
  if (room.left_out != before) {
    html +=
        fmt::format("<p class=\"note\">Left out of this page, not of the JSON report: {}.</p>\n",
                    count_of(room.left_out - before, "moment"));
  }
  if (process.moments_left_out != 0) {
    html += fmt::format("<p class=\"note\">Left out, past the bounds on what is kept: {}.</p>\n",
                        count_of(process.moments_left_out, "moment"));
  }
  return html + "</details>\n";
}

std::string unchanged_table(const Run& run, std::size_t number) {
  std::vector<TableRow> rows;
  for (const Process& process : run.processes) {
    if (process.changed || !process.timeline.empty()) continue;
    rows.push_back(
        {{number_cell(fmt::format("{}", process.id), static_cast<double>(process.id)),
          text_cell(purpose_of(process, run)),
          number_cell(grouped(process.began), static_cast<double>(process.began)),
          process.ended ? number_cell(grouped(*process.ended), static_cast<double>(*process.ended))
                        : text_cell("-"),
          number_cell(grouped(process.user_entries), static_cast<double>(process.user_entries)),
          text_cell(mappings_of(process))},
         fmt::format(" id=\"{}\"", process_id(number, process.id))});
  }
  if (rows.empty()) return "";
  return table({.id = run_id(number) + "-unchanged",
                .label = "Processes that nothing happened to, of " + report::name_of(run),
                .sortable = true},
               {{"process", true},
                {"of"},
                {"began", true},
                {"ended", true},
                {"user mode judged", true},
                {"mappings"}},
               rows);
}

std::string source_words(CodeSource source) {
  switch (source) {
    case CodeSource::None:
      break;
    case CodeSource::Memory:
      return "as guest memory had it when it wrote";
    case CodeSource::MemoryAtTheEnd:
      return "as guest memory had it after the guest's end";
    case CodeSource::Vmlinux:
      return "as the file of the symbols has it, without what the kernel patches as it boots";
  }
  return "not to be had";
}

std::size_t moments_of(const Run& run, bool life_only) {
  std::size_t count = 0;
  for (const Process& process : run.processes) {
    count += static_cast<std::size_t>(
        std::count_if(process.timeline.begin(), process.timeline.end(),
                      [&](const Moment& one) { return !life_only || one.phase == Phase::Life; }));
  }
  return count;
}

/// The room of a run in the page: what runs with less do not need is for those with more.
Room room_of(const Report& report, std::size_t number) {
  std::vector<std::size_t> needs;
  for (const Run& run : report.runs) needs.push_back(moments_of(run, false));
  const std::size_t need = needs[number];
  std::sort(needs.begin(), needs.end());
  std::size_t left = kMostMomentsOfPage;
  std::size_t most = 0;
  for (std::size_t i = 0; i < needs.size() && needs[i] <= need; ++i) {
    most = std::min(needs[i], left / (needs.size() - i));
    left -= most;
  }
  Room room;
  room.life = std::min(moments_of(report.runs[number], true), most);
  room.rest = most - room.life;
  return room;
}

std::string listing_html(const Writer& writer) {
  std::size_t widest = 0;
  for (const CodeLine& line : writer.lines) widest = std::max(widest, line.bytes.size());
  std::string lines;
  for (const CodeLine& line : writer.lines) {
    const std::string text =
        escape(fmt::format("{:x}  {:<{}}  {}", line.address, line.bytes, widest, line.text));
    lines += (line.address == writer.pc ? fmt::format("<mark>{}</mark>", text) : text) + "\n";
  }
  return fmt::format(
      "<div class=\"scroll listing\" role=\"region\" aria-label=\"Code around {}\" "
      "tabindex=\"0\"><pre>{}</pre></div>\n",
      escape(writer.function), lines);
}

}  // namespace

std::string timelines(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  const ProcessesLeftOut& left_out = run.processes_left_out;
  if (run.processes.empty() && left_out.changed + left_out.unchanged == 0) return "";
  std::string changed;
  std::string unchanged;
  std::size_t changes = 0;
  Room room = room_of(report, number);
  for (const Process& process : run.processes) {
    changes += process.changed ? 1 : 0;
    if (process.changed) {
      changed += process_html(process, run, number, room);
    } else if (!process.timeline.empty()) {
      unchanged += process_html(process, run, number, room);
    }
  }
  std::string html = fmt::format(
      "<h3 id=\"{}-timelines\">Timelines</h3>\n<p>The system mappings of {} changed between "
      "installation and exit; of {} they did not.{}{}</p>\n{}",
      run_id(number), count_of(changes + left_out.changed, "process"),
      grouped(run.processes.size() - changes + left_out.unchanged),
      left_out.changed == 0
          ? ""
          : fmt::format(" {} of those that changed are not listed: there is room for {} in all.",
                        grouped(left_out.changed), grouped(kMostProcesses)),
      room.left_out == 0
          ? ""
          : fmt::format(" {} are left out of their timelines: a page has room for {} in all. The "
                        "JSON report has them.",
                        count_of(room.left_out, "moment"), grouped(kMostMomentsOfPage)),
      changed);
  unchanged += unchanged_table(run, number);
  if (unchanged.empty()) return html;
  return html + fmt::format(
                    "<details><summary>Processes that nothing happened to ({} listed, {} only "
                    "counted)</summary>\n<p>The first of each scenario has its timeline.</p>\n"
                    "{}</details>\n",
                    grouped(run.processes.size() - changes), grouped(left_out.unchanged),
                    unchanged);
}

std::string writers(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  std::string html;
  for (const Writer& writer : run.writers) {
    const std::string id = writer_id(number, run, writer.pc);
    if (id.empty()) continue;
    html += fmt::format(
        "<details id=\"{}\"><summary>{}</summary>\n<p class=\"note\">{}</p>\n{}</details>\n", id,
        escape(writer.function), source_words(writer.source), listing_html(writer));
  }
  if (html.empty()) return "";
  return fmt::format("<h3 id=\"{}-code\">Code that wrote</h3>\n{}", run_id(number), html);
}

}  // namespace sealvisor::report::html
