#include "vmm/report/program_text.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::report {

namespace {

/// Lines of output that are shown, and bytes of one of them.
constexpr std::size_t kMostLines = 40;
constexpr std::size_t kLongestLine = 1000;

std::string spaces_table(const Run& run, const Program& program, const TextOptions& options) {
  struct Group {
    Row row;
    std::size_t count = 0;
  };
  std::vector<std::pair<std::string, Group>> groups;
  for (const ProgramSpace& space : program.spaces) {
    for (const ProgramMapping& mapping : space.mappings) {
      const std::string claim = claim_text(program, space, mapping);
      const std::string change = change_text(mapping);
      const std::string key =
          fmt::format("{}\n{}\n{}\n{}", space.image, mapping.name, claim, change);
      auto found = std::find_if(groups.begin(), groups.end(),
                                [&](const auto& one) { return one.first == key; });
      if (found == groups.end()) {
        const bool changed = mapping.change > Change::Refaulted;
        const bool forced = mapping.change == Change::Privatised;
        const Colour colour = changed && run.sealed && !forced       ? Colour::Red
                              : changed                              ? Colour::Yellow
                              : mapping.change == Change::Unobserved ? Colour::Dim
                                                                     : Colour::Green;
        found = groups.insert(groups.end(),
                              {key,
                               {{{printable(space.image.empty() ? "(unknown)" : space.image), "",
                                  printable(mapping.name), printable(claim), printable(change)},
                                 colour},
                                0}});
      }
      ++found->second.count;
    }
  }
  if (groups.empty()) return "";
  std::vector<Row> rows;
  for (auto& [key, group] : groups) {
    group.row.fields[1] = grouped(group.count);
    rows.push_back(std::move(group.row));
  }
  return table({{"image", 32},
                {"spaces", 6, true},
                {"mapping", 16},
                {"its smaps", 26},
                {"observed from outside", 46}},
               rows, options.width, 4, options.colours);
}

std::string writes_text(const Program& program, const TextOptions& options) {
  std::string text;
  for (const ProgramSpace& space : program.spaces) {
    for (const ProgramMapping& mapping : space.mappings) {
      const std::size_t total = mapping.changes.size() + mapping.changes_left_out;
      if (mapping.change <= Change::Refaulted || total == 0) continue;
      const std::size_t shown = std::min(mapping.changes.size(), options.changes_per_cell);
      text += paragraph(
          "    ",
          printable(fmt::format("{} in {}: {} entry write{}{}", mapping.name,
                                space.image.empty() ? "a process" : space.image, total,
                                total == 1 ? "" : "s",
                                total == shown ? "" : fmt::format(" ({} more)", total - shown))),
          options.width);
      for (std::size_t i = 0; i < shown; ++i) {
        const EntryChange& change = mapping.changes[i];
        text += paragraph(
            "      ",
            printable(fmt::format("{:#x} level {} at {:#x}: {:#x} -> {:#x} by {}{}{}", change.gva,
                                  change.level, change.gpa, change.old_value, change.new_value,
                                  change.function, change.instruction.empty() ? "" : ": ",
                                  change.instruction)),
            options.width);
      }
    }
  }
  return text.empty()
             ? ""
             : "    who wrote it (page, level and place of the entry, old -> new)\n" + text;
}

std::string stream_text(std::string_view title, std::string_view bytes) {
  std::string text;
  std::size_t lines = 0;
  while (!bytes.empty() && lines < kMostLines) {
    const std::size_t end = bytes.find('\n');
    std::string_view line = bytes.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t more = line.size() - std::min(line.size(), kLongestLine);
    text +=
        fmt::format("    {}| {}{}\n", title, printable(line.substr(0, kLongestLine)),
                    more == 0 ? "" : fmt::format(" ... {} bytes more of this line", grouped(more)));
    ++lines;
    bytes = end == std::string_view::npos ? std::string_view{} : bytes.substr(end + 1);
  }
  if (!bytes.empty())
    text += fmt::format("    {}| ... {} bytes more\n", title, grouped(bytes.size()));
  return text;
}

std::string program_text(const Run& run, const Program& program, const TextOptions& options) {
  std::string head = outcome_text(program);
  const auto add = [&](std::uint64_t count, std::string_view what) {
    if (count != 0) head += fmt::format("; {} {}", grouped(count), what);
  };
  const std::size_t processes = program.processes.size();
  if (program.traced) {
    head += fmt::format("; {} process{}", grouped(processes), processes == 1 ? "" : "es");
  }
  head += fmt::format("{}; {} address space{}", program.traced ? "" : "; not traced",
                      grouped(program.spaces.size()), program.spaces.size() == 1 ? "" : "s");
  add(program.left_running, "left running and ended");
  add(program.spaces_left_out, "address spaces more");
  add(program.processes_left_out, "processes more");
  std::string words;
  for (const std::string& word : program.command) words += (words.empty() ? "" : " ") + word;
  std::string text = paragraph(fmt::format("  program   {}: ", printable(program.name)),
                               printable(fmt::format("{}: {}", words, head)), options.width);
  text += spaces_table(run, program, options) + writes_text(program, options);
  text += stream_text("out", program.output) + stream_text("err", program.errors);
  if (program.output_left_out != 0) {
    text += fmt::format("    {} bytes of output past the bound are left out\n",
                        grouped(program.output_left_out));
  }
  return text;
}

}  // namespace

std::string programs_text(const Run& run, const TextOptions& options) {
  std::string text;
  for (const Program& program : run.programs) text += program_text(run, program, options);
  return text;
}

std::vector<std::string> programs_confirmed(const std::vector<Run>& runs) {
  std::size_t programs = 0;
  std::size_t others = 0;
  std::size_t spaces = 0;
  std::uint64_t counted = 0;
  std::size_t changed = 0;
  std::size_t forced = 0;
  std::size_t nothing = 0;
  std::size_t absent = 0;
  for (const Run& run : runs) {
    if (!run.good) continue;
    for (const Program& program : run.programs) {
      ++(program.spaces.empty() ? others : programs);
      spaces += program.spaces.size();
      counted += program.spaces_left_out;
      changed += changed_mappings(program);
      forced += forced_mappings(program);
      nothing += unobserved_mappings(program);
      absent += absent_mappings(program);
    }
  }
  // Of what never ran nothing is confirmed.
  if (programs == 0) return {};
  std::string text = fmt::format(
      "{} program{} observed in {} address space{}, {} system mapping{} seen to "
      "change",
      grouped(programs), programs == 1 ? "" : "s", grouped(spaces), spaces == 1 ? "" : "s",
      changed == 0 ? "no" : grouped(changed), changed == 1 ? "" : "s");
  if (forced != 0) text += fmt::format(", {} of them by force alone (S2, S5)", grouped(forced));
  const auto add = [&](std::uint64_t count, std::string_view what) {
    if (count != 0) text += fmt::format(", {} {}", grouped(count), what);
  };
  add(nothing, "never populated and so not observed");
  add(absent, "absent in part at the end and not touched again");
  add(counted, "address spaces more only counted");
  add(others, "programs more not observed");
  return {std::move(text)};
}

std::string programs_method(const std::vector<Run>& runs) {
  bool any = false;
  bool traced = false;
  for (const Run& run : runs) {
    for (const Program& program : run.programs) {
      any = true;
      traced = traced || program.traced;
    }
  }
  if (!any) return "";
  return traced ? "programs were followed by ptrace: one byte of each page of a system mapping was "
                  "read through /proc/PID/mem at exec and at the end, and the word at the stack "
                  "pointer written again at the end; pids, images and smaps are the guest's word"
                : "programs were not traced: what was absent at the end of an address space was "
                  "touched by nobody, and may have come back";
}

}  // namespace sealvisor::report
