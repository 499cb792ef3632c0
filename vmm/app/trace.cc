#include "vmm/app/trace.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/any_format.h"
#include "vmm/app/audit.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

using event::Event;
using event::Kind;
using Format = TraceOptions::Format;
using Json = nlohmann::ordered_json;

namespace {

bool fits(const std::vector<std::string>& patterns, const std::string& text) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return ::fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
         });
}

/// Whether one of `wanted` is among `there`; nothing is wanted of an empty list.
template <typename T>
bool any_wanted(const std::vector<T>& wanted, const std::vector<T>& there) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const T& one) {
           return std::find(there.begin(), there.end(), one) != there.end();
         });
}

TraceRow::Frames frame_at(std::uint64_t gpa) {
  return {arch::frame_of(arch::Gpa{gpa}).gpa().value, arch::kPageSize};
}

bool is_store(const Event& event) {
  return event.kind == Kind::SlotWrite || event.kind == Kind::ContentWrite;
}

/// The frames that an entry leads to: a table, or all that a leaf maps. nullopt: to none.
std::optional<TraceRow::Frames> led_to(const arch::AnyFormat& format, const Event& event,
                                       std::uint64_t value) {
  const auto half = (event.flags & event::kUpperHalf) != 0 ? arch::Half::Upper : arch::Half::Lower;
  const arch::Entry entry = arch::decode(format, value, event.level, half);
  if (entry.kind == arch::EntryKind::Table) return frame_at(entry.output.value);
  if (entry.kind != arch::EntryKind::Leaf) return std::nullopt;
  return TraceRow::Frames{entry.output.value, entry.size};
}

/// Mappings that have frames in `frames`, in the order in which they became known.
std::set<std::size_t> mappings_in(const model::Identities& identities,
                                  const TraceRow::Frames& frames) {
  std::set<std::size_t> found;
  if (!identities.intersects(arch::Gpa{frames.gpa}, frames.bytes)) return found;
  for (const auto& [frame, page] : identities.frames()) {
    if (frame.gpa().value - frames.gpa < frames.bytes) found.insert(page.mapping);
  }
  return found;
}

/// A field is within one line: a line is an event.
std::string csv_field(const std::string& text) {
  const std::string plain = report::printable(text);
  if (plain.find_first_of(",\"") == std::string::npos) return plain;
  std::string quoted = "\"";
  for (const char c : plain) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + "\"";
}

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

std::string process_text(const TraceRow& row) {
  return row.process ? std::to_string(*row.process) : std::string();
}

bool by_user_mode(const TraceRow& row) { return (row.event.flags & event::kUserMode) != 0; }

std::string as_json(const TraceRow& row) {
  const Event& event = row.event;
  const Json json = {
      {"run", row.run},
      {"icount", event.icount},
      {"kind", event::name_of(event.kind)},
      {"process", row.process ? Json(*row.process) : Json(nullptr)},
      {"scenario", row.scenario},
      {"gpa", hex(event.gpa)},
      {"level", event.level},
      {"old", hex(event.old_value)},
      {"new", hex(event.new_value)},
      {"aux", hex(event.aux)},
      {"root", hex(event.root)},
      {"pc", hex(event.pc)},
      {"function", row.function.empty() ? Json(nullptr) : Json(row.function)},
      {"user_mode", by_user_mode(row)},
      {"size", event.size},
      {"part", event.part},
      {"parts", event.parts},
      {"mappings", row.mappings},
      {"gva", row.gva == 0 ? Json(nullptr) : Json(hex(row.gva))},
  };
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string as_csv(const TraceRow& row) {
  const Event& event = row.event;
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(row.run),
      event.icount, event::name_of(event.kind), process_text(row), csv_field(row.scenario),
      hex(event.gpa), event.level, hex(event.old_value), hex(event.new_value), hex(event.aux),
      hex(event.root), hex(event.pc), csv_field(row.function), by_user_mode(row), event.size,
      // Names have spaces in them: "[vdso] (32-bit)".
      event.part, event.parts, csv_field(fmt::format("{}", fmt::join(row.mappings, ";"))),
      row.gva == 0 ? std::string() : hex(row.gva));
}

std::string as_text(const TraceRow& row) {
  const Event& event = row.event;
  std::string line =
      fmt::format("{} {:>12} {:13} ", row.run, event.icount, event::name_of(event.kind));
  line += fmt::format("process {:>4} ", row.process ? process_text(row) : "-");
  if (event.gpa != 0) line += fmt::format("{:#x} ", event.gpa);
  if (event.level != 0) line += fmt::format("level {} ", event.level);
  if (is_store(event)) {
    line += fmt::format("{:#x} -> {:#x} ", event.old_value, event.new_value);
  } else if (event.new_value != 0) {
    line += fmt::format("{:#x} ", event.new_value);
  }
  if (is_store(event) && by_user_mode(row)) {
    line += fmt::format("by user mode at {:#x} ", event.pc);
  } else if (!row.function.empty()) {
    line += "by " + row.function + " ";
  }
  if (!row.mappings.empty()) line += fmt::format("{} ", fmt::join(row.mappings, ", "));
  if (row.gva != 0) line += fmt::format("at {:#x} ", row.gva);
  line += "in " + row.scenario;
  return report::printable(line) + "\n";
}

int fail(const Error& error) {
  fmt::print(stderr, "sealvisor: {}\n", error.message);
  return static_cast<int>(error.code);
}

struct CloseFile {
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};

/// Where lines go: a file of ours, or standard output.
class Output {
 public:
  [[nodiscard]] static Result<Output> open(const std::filesystem::path& path) {
    Output output;
    if (path.empty()) return output;
    output.name_ = path.string();
    output.own_.reset(std::fopen(path.c_str(), "we"));
    if (!output.own_) return errno_error(ExitCode::Usage, "--out " + path.string());
    return output;
  }
  /// False once something could not be written.
  bool add(const std::string& text) {
    good_ = good_ && std::fwrite(text.data(), 1, text.size(), file()) == text.size();
    return good_;
  }
  [[nodiscard]] Status finish() {
    if (good_ && std::fflush(file()) == 0) return {};
    return errno_error(ExitCode::HostLacks, "writing " + name_);
  }

 private:
  [[nodiscard]] std::FILE* file() const { return own_ ? own_.get() : stdout; }
  std::unique_ptr<std::FILE, CloseFile> own_;
  std::string name_ = "to standard output";
  bool good_ = true;
};

/// Lists what matches of one run; returns how many did.
Result<std::uint64_t> list_run(const TraceOptions& options, const evidence::RunEntry& entry,
                               Output& output) {
  auto opened = open_run(options.folder, entry);
  if (!opened) return opened.error();
  const RunEvidence& evidence = opened.value();
  const std::string name =
      fmt::format("{} {}", arch::name_of(evidence.request.arch), evidence.request.recipe);
  std::uint64_t listed = 0;
  if (!matches_run(options.filter, name)) return listed;
  evidence::TraceReader trace(*evidence.source);
  const auto prepare = [&](run::Session& session) {
    session.listen([&](const Event& event, std::span<const model::MappingChange> changes) {
      // A guest without a file of symbols may have listed them itself.
      const image::Symbols* const listed = session.symbols();
      const TraceRow row =
          explain(name, event, changes, session, listed != nullptr ? *listed : evidence.symbols);
      if (matches(options.filter, row) && output.add(render(row, options.format))) ++listed;
    });
  };
  auto done = run::replay(evidence.request, trace, evidence.names(), evidence.console, prepare);
  if (!done) return done.error();
  return listed;
}

}  // namespace

TraceRow explain(const std::string& run, const Event& event,
                 std::span<const model::MappingChange> changes, const run::Session& session,
                 const image::Symbols& symbols) {
  TraceRow row;
  row.run = run;
  row.event = event;
  row.scenario = session.where();
  if (const model::AddressSpace* space = session.spaces().running()) row.process = space->id;
  const bool user = (event.flags & event::kUserMode) != 0;
  if (is_store(event) && !user) row.function = symbols.describe(event.pc).value_or("");

  const model::Identities& identities = session.identities();
  const auto add_mapping = [&](std::size_t mapping) {
    const std::string& name = identities.all()[mapping].name;
    if (std::find(row.mappings.begin(), row.mappings.end(), name) == row.mappings.end()) {
      row.mappings.push_back(name);
    }
  };
  const auto add_frames = [&](const TraceRow::Frames& frames) {
    row.frames.push_back(frames);
    for (const std::size_t mapping : mappings_in(identities, frames)) add_mapping(mapping);
  };
  for (const model::MappingChange& change : changes) {
    if (row.gva == 0) row.gva = change.gva.value;
    add_mapping(change.page.mapping);
  }
  switch (event.kind) {
    case Kind::SlotWrite:
    case Kind::EntryFound:
      row.frames.push_back(frame_at(event.gpa));
      if (!session.spaces().format()) break;
      for (const std::uint64_t value : {event.old_value, event.new_value}) {
        if (const auto frames = led_to(*session.spaces().format(), event, value)) {
          add_frames(*frames);
        }
      }
      break;
    case Kind::ContentWrite:
      add_frames(frame_at(event.gpa));
      break;
    case Kind::RootLoad:
    case Kind::Sync:
    case Kind::TableAdded:
    case Kind::TableRemoved:
      row.frames.push_back(frame_at(event.gpa));
      break;
    default:
      break;
  }
  return row;
}

bool matches_run(const TraceFilter& filter, const std::string& run) {
  return fits(filter.runs, run);
}

bool matches(const TraceFilter& filter, const TraceRow& row) {
  const Event& event = row.event;
  if (event.icount < filter.from || event.icount > filter.to) return false;
  if (!matches_run(filter, row.run) || !fits(filter.kinds, event::name_of(event.kind))) {
    return false;
  }
  if (!any_wanted(filter.mappings, row.mappings)) return false;
  if (!filter.functions.empty()) {
    if (row.function.empty()) return false;
    if (!fits(filter.functions, row.function.substr(0, row.function.find('+')))) return false;
  }
  if (!filter.processes.empty()) {
    if (!row.process || !any_wanted(filter.processes, {*row.process})) return false;
  }
  return filter.frames.empty() ||
         std::any_of(filter.frames.begin(), filter.frames.end(), [&](std::uint64_t gpa) {
           return std::any_of(
               row.frames.begin(), row.frames.end(),
               [gpa](const TraceRow::Frames& frames) { return gpa - frames.gpa < frames.bytes; });
         });
}

std::string render(const TraceRow& row, Format format) {
  switch (format) {
    case Format::JsonLines:
      return as_json(row);
    case Format::Csv:
      return as_csv(row);
    case Format::Text:
      break;
  }
  return as_text(row);
}

std::string head_of(Format format) {
  if (format != Format::Csv) return "";
  return "run,icount,kind,process,scenario,gpa,level,old,new,aux,root,pc,function,user_mode,size,"
         "part,parts,mappings,gva\n";
}

int trace(const TraceOptions& options) {
  const auto checked = evidence::check_bundle(options.folder);
  if (!checked) return fail(checked.error());
  for (const evidence::Fault& fault : checked.value().faults) {
    fmt::print(stderr, "sealvisor: {}/{}: {}\n", options.folder.string(), fault.file, fault.text);
  }
  // What somebody changed is listed as nothing.
  if (!checked.value().faults.empty()) return static_cast<int>(ExitCode::Failed);
  auto output = Output::open(options.out);
  if (!output) return fail(output.error());
  static_cast<void>(output.value().add(head_of(options.format)));
  std::uint64_t listed = 0;
  std::uint64_t all = 0;
  for (const evidence::RunEntry& entry : checked.value().manifest.runs) {
    const auto count = list_run(options, entry, output.value());
    if (!count) return fail(count.error());
    listed += count.value();
    all += entry.events;
  }
  if (auto done = output.value().finish(); !done) return fail(done.error());
  fmt::print(stderr, "{} of {} events\n", report::grouped(listed), report::grouped(all));
  return static_cast<int>(ExitCode::AsExpected);
}

}  // namespace sealvisor::app
