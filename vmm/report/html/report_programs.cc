// Programs of the user's: how they ended, what became of their mappings, what they wrote.
#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"
#include "vmm/report/html/report_parts.h"
#include "vmm/report/layout.h"
#include "vmm/report/words.h"

namespace sealvisor::report::html {

namespace {

/// Of one program. The JSON report has all that there is.
constexpr std::size_t kMostRows = 500;
constexpr std::size_t kMostWrites = 100;
constexpr std::size_t kMostProcessRows = 200;
constexpr std::size_t kMostOutput = std::size_t{64} * 1024;

std::string left_out(std::size_t count, std::string_view what) {
  return count == 0 ? ""
                    : fmt::format(
                          "<p class=\"note\">Left out of this page, not of the JSON report: "
                          "{} {}.</p>\n",
                          grouped(count), what);
}

std::string image_of(const ProgramSpace& space) {
  return space.image.empty() ? "(unknown)" : space.image;
}

std::string pids_of(const ProgramSpace& space) {
  constexpr std::size_t kMostPids = 16;
  const auto shown = static_cast<std::ptrdiff_t>(std::min(space.pids.size(), kMostPids));
  std::string text =
      fmt::format("{}", fmt::join(space.pids.begin(), space.pids.begin() + shown, ", "));
  if (space.pids.size() > kMostPids) text += ", ...";
  return text.empty() ? "-" : text;
}

/// How a change of a mapping is painted. What no seal promises to keep out is no violation.
const char* style_of_change(const Run& run, Change change) {
  if (change == Change::Unobserved) return "open";
  if (change <= Change::Refaulted) return "good";
  if (change == Change::Privatised) return "other";
  return run.expectations && run.sealed ? "bad" : "other";
}

struct Placed {
  const ProgramSpace* space;
  const ProgramMapping* mapping;
};

/// All mappings of a program, those that changed most first.
std::vector<Placed> worst_first(const Program& program) {
  std::vector<Placed> all;
  for (const ProgramSpace& space : program.spaces) {
    for (const ProgramMapping& mapping : space.mappings) all.push_back({&space, &mapping});
  }
  std::stable_sort(all.begin(), all.end(), [](const Placed& one, const Placed& other) {
    return one.mapping->change > other.mapping->change;
  });
  return all;
}

std::string spaces_table(const Run& run, const Program& program, std::size_t number,
                         std::size_t index, const std::vector<Placed>& all) {
  std::set<std::uint64_t> timelines;
  for (const Process& process : run.processes) timelines.insert(process.id);
  std::vector<TableRow> rows;
  for (std::size_t i = 0; i < std::min(all.size(), kMostRows); ++i) {
    const auto& [space, mapping] = all[i];
    const bool told = timelines.contains(space->id);
    rows.push_back(
        {{text_cell(image_of(*space)),
          text_cell(pids_of(*space)),
          text_cell(mapping->name),
          text_cell(fmt::format("{:#x}", mapping->place)),
          text_cell(claim_text(program, *space, *mapping)),
          {escape(change_text(*mapping)), static_cast<double>(mapping->change),
           style_of_change(run, mapping->change)},
          number_cell(grouped(mapping->changes.size() + mapping->changes_left_out),
                      static_cast<double>(mapping->changes.size() + mapping->changes_left_out)),
          told
              ? TableCell{link(process_id(number, space->id), fmt::format("process {}", space->id))}
              : text_cell("-")}});
  }
  if (rows.empty()) return "<p>No address space of it with a system mapping was seen.</p>\n";
  return table({.id = program_id(number, index) + "-spaces",
                .label = "System mappings of " + program.name,
                .sortable = true},
               {{"image"},
                {"pids"},
                {"mapping"},
                {"place"},
                {"its smaps"},
                {"observed from outside"},
                {"entry writes", true},
                {"timeline"}},
               rows) +
         left_out(all.size() - rows.size(), "mappings that changed no more than these");
}

std::string violations(const Program& program) {
  std::vector<std::string> lines;
  std::size_t more = 0;
  for (const ProgramSpace& space : program.spaces) {
    more += space.violations_left_out;
    for (const ProgramViolation& violation : space.violations) {
      if (lines.size() == kMostRows) {
        ++more;
        continue;
      }
      lines.push_back(fmt::format("{} of {} in {}: {}", violation.invariant, violation.mapping,
                                  image_of(space), violation.text));
    }
  }
  if (lines.empty()) return "";
  return "<h5>Invariants that did not hold</h5>\n" + list(lines) +
         (more == 0 ? "" : fmt::format("<p class=\"note\">{} more.</p>\n", grouped(more)));
}

std::string writes(const Run& run, std::size_t number, const std::vector<Placed>& all) {
  std::string items;
  std::size_t shown = 0;
  std::size_t more = 0;
  for (const auto& [space, mapping] : all) {
    if (mapping->change <= Change::Refaulted) continue;
    more += mapping->changes_left_out;
    for (const EntryChange& write : mapping->changes) {
      if (shown == kMostWrites) {
        ++more;
        continue;
      }
      ++shown;
      items += fmt::format("<li>{} in {}: page <code>{:#x}</code>, {} by {}</li>\n",
                           escape(mapping->name), escape(image_of(*space)), write.gva,
                           fmt::format("level {} at <code>{:#x}</code>: <code>{:#x}</code> to "
                                       "<code>{:#x}</code>",
                                       write.level, write.gpa, write.old_value, write.new_value),
                           link(writer_id(number, run, write.pc), write.function));
    }
  }
  if (items.empty()) return "";
  return fmt::format("<h5>Who wrote it</h5>\n<ul>\n{}</ul>\n", items) +
         left_out(more, "entry writes");
}

std::string processes(const Program& program, std::size_t number, std::size_t index) {
  std::vector<TableRow> rows;
  for (const ProgramProcess& process : program.processes) {
    if (rows.size() == kMostProcessRows) break;
    const std::string end = !process.status        ? "not seen"
                            : *process.status >= 0 ? fmt::format("exit status {}", *process.status)
                                                   : fmt::format("signal {}", -*process.status);
    rows.push_back(
        {{number_cell(fmt::format("{}", process.pid), process.pid),
          process.parent == 0
              ? text_cell("-")
              : number_cell(fmt::format("{}", process.parent), static_cast<double>(process.parent)),
          text_cell(process.image.empty() ? "its parent's" : process.image),
          text_cell(process.bits == 0 ? "-" : fmt::format("{}", process.bits)), text_cell(end)}});
  }
  if (rows.empty()) return "";
  return "<details><summary>Processes, as the guest tells of them</summary>\n" +
         table({.id = program_id(number, index) + "-processes",
                .label = "Processes of " + program.name,
                .sortable = true},
               {{"pid", true}, {"parent", true}, {"image"}, {"bits"}, {"end"}}, rows) +
         left_out(program.processes.size() - rows.size(), "processes") + "</details>\n";
}

/// What it wrote, line by line: nothing in it is markup, and no line runs into what stands beside.
std::string stream(std::string_view title, std::string_view bytes) {
  if (bytes.empty()) return "";
  std::string_view rest = bytes.substr(0, kMostOutput);
  std::string lines;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines += escape(line) + "\n";
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return fmt::format(
             "<details><summary>Its {0}, {1} bytes</summary>\n<div class=\"scroll\" "
             "role=\"region\" aria-label=\"Its {0}\" tabindex=\"0\"><pre>{2}</pre></div>\n",
             title, grouped(bytes.size()), lines) +
         left_out(bytes.size() - std::min(bytes.size(), kMostOutput), "bytes") + "</details>\n";
}

std::string facts(const Program& program) {
  std::string words;
  for (const std::string& word : program.command) words += (words.empty() ? "" : " ") + word;
  const auto more = [](std::uint64_t count) {
    return count == 0 ? "" : fmt::format(", {} more only counted", grouped(count));
  };
  return "<dl>\n" + fact("command", words) + fact("end", outcome_text(program)) +
         fact("followed", program.traced ? "by ptrace" : "not: untraced") +
         fact("judged", program.judged ? "by what the user's file says must come of it"
                                       : "by its own account: exit status 0 is good") +
         fact("processes", grouped(program.processes.size()) + more(program.processes_left_out)) +
         fact("address spaces", grouped(program.spaces.size()) + more(program.spaces_left_out)) +
         (program.left_running == 0
              ? ""
              : fact("left running", fmt::format("{} processes, which were ended",
                                                 grouped(program.left_running)))) +
         (program.output_left_out == 0 ? ""
                                       : fact("output left out", grouped(program.output_left_out) +
                                                                     " bytes, past the bound")) +
         "</dl>\n";
}

}  // namespace

std::string programs(const Report& report, std::size_t number) {
  const Run& run = report.runs[number];
  if (run.programs.empty()) return "";
  std::string html = fmt::format("<h3 id=\"{}-programs\">Programs</h3>\n", run_id(number));
  for (std::size_t i = 0; i < run.programs.size(); ++i) {
    const Program& program = run.programs[i];
    const std::vector<Placed> all = worst_first(program);
    html += fmt::format("<h4 id=\"{}\">{}: <span class=\"{}\">{}</span></h4>\n",
                        program_id(number, i), escape(program.name),
                        style_of(state_of(run, program)), escape(outcome_words(run, program))) +
            facts(program) + spaces_table(run, program, number, i, all) + violations(program) +
            writes(run, number, all) + processes(program, number, i) +
            stream("output", program.output) + stream("errors", program.errors);
  }
  return html;
}

}  // namespace sealvisor::report::html
