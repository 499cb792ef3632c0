#include "vmm/app/trace.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/any_format.h"
#include "vmm/app/audit.h"
#include "vmm/app/write_file.h"
#include "vmm/base/fd.h"
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
  std::string plain = report::printable(text);
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
      {"vcpu", event.vcpu},
  };
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string as_csv(const TraceRow& row) {
  const Event& event = row.event;
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(row.run),
      event.icount, event::name_of(event.kind), process_text(row), csv_field(row.scenario),
      hex(event.gpa), event.level, hex(event.old_value), hex(event.new_value), hex(event.aux),
      hex(event.root), hex(event.pc), csv_field(row.function), by_user_mode(row), event.size,
      // Names have spaces in them: "[vdso] (32-bit)".
      event.part, event.parts, csv_field(fmt::format("{}", fmt::join(row.mappings, ";"))),
      row.gva == 0 ? std::string() : hex(row.gva), event.vcpu);
}

std::string as_text(const TraceRow& row) {
  const Event& event = row.event;
  std::string line =
      fmt::format("{} {:>12} {:13} ", row.run, event.icount, event::name_of(event.kind));
  if (event.vcpu != 0) line += fmt::format("vCPU {} ", event.vcpu);
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

/// To standard error, which may be a terminal: texts of a bundle are quoted there.
void say(const std::string& text) {
  fmt::print(stderr, "sealvisor: {}\n", report::printable(text));
}

int refuse(const Error& error) {
  say(error.message);
  return static_cast<int>(error.code);
}

struct CloseFile {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): of the unique_ptr that calls this.
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};

/// Where lines go: a file, which is there once all are in it, or standard output.
class Output {
 public:
  Output() = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  /// An empty path is standard output.
  [[nodiscard]] Status open(const std::filesystem::path& path) {
    if (path.empty()) return {};
    name_ = path.string();
    // A link stays a link.
    std::error_code error;
    const std::filesystem::path canonical = std::filesystem::canonical(path, error);
    target_ = error ? path : canonical;
    struct stat state {};
    const bool exists = ::stat(target_.c_str(), &state) == 0;
    if (exists && !S_ISREG(state.st_mode)) {
      own_.reset(std::fopen(target_.c_str(), "we"));  // NOLINT(cppcoreguidelines-owning-memory)
    } else {
      std::string name = target_.string() + ".XXXXXX";
      Fd fd(::mkostemp(name.data(), O_CLOEXEC));
      if (fd.valid()) temporary_ = name;
      if (fd.valid() && ::fchmod(fd.get(), exists ? state.st_mode & 07777 : 0644) == 0) {
        own_.reset(::fdopen(fd.get(), "w"));
        if (own_) static_cast<void>(fd.release());
      }
    }
    if (!own_) return errno_error(ExitCode::Usage, "--out " + name_);
    return {};
  }
  /// Whether all was written so far. What comes behind something that was not is not written.
  [[nodiscard]] bool good() const { return problem_.ok(); }
  void add(const std::string& text) {
    if (good() && std::fwrite(text.data(), 1, text.size(), file()) != text.size()) {
      problem_ = failed();  // While errno is of this.
    }
  }
  [[nodiscard]] Status finish() {
    if (!good()) return problem_;
    if (std::fflush(file()) != 0) return failed();
    if (temporary_.empty()) return {};
    if (::fsync(::fileno(file())) != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
      return failed();
    }
    temporary_.clear();
    return {};
  }

 private:
  [[nodiscard]] std::FILE* file() const { return own_ ? own_.get() : stdout; }
  [[nodiscard]] Error failed() const {
    return errno_error(ExitCode::HostLacks, "writing " + name_);
  }
  std::string name_ = "to standard output";
  std::filesystem::path target_;
  std::string temporary_;  ///< Written in place of `target_`; empty: nothing is.
  std::unique_ptr<std::FILE, CloseFile> own_;
  Status problem_;
};

/// What was listed of all runs so far.
struct Listing {
  std::uint64_t listed = 0;
  std::uint64_t all = 0;  ///< That could have been.
  std::size_t runs = 0;
  std::vector<std::string> names{};  ///< Of all runs.
  std::set<std::string> mappings{};  ///< That became known in those that were listed.
};

/// Lists what matches of one run.
Status list_run(const TraceOptions& options, const evidence::RunEntry& entry, Output& output,
                Listing& listing) {
  auto opened = open_run(options.folder, entry);
  if (!opened) return opened.error();
  const RunEvidence& evidence = opened.value();
  const std::string name =
      fmt::format("{} {}", arch::name_of(evidence.request.arch), evidence.request.recipe);
  listing.names.push_back(name);
  if (!matches_run(options.filter, name)) return {};
  ++listing.runs;
  evidence::TraceReader trace(*evidence.source);
  std::size_t known = 0;
  const auto prepare = [&](run::Session& session) {
    session.listen([&](const Event& event, std::span<const model::MappingChange> changes) {
      ++listing.all;
      const auto& mappings = session.identities().all();
      for (; known < mappings.size(); ++known) listing.mappings.insert(mappings[known].name);
      if (!output.good()) return;
      // A guest without a file of symbols may have listed them itself.
      const image::Symbols* const own = session.symbols();
      const TraceRow row =
          explain(name, event, changes, session, own != nullptr ? *own : evidence.symbols);
      if (!matches(options.filter, row)) return;
      output.add(render(row, options.format));
      if (output.good()) ++listing.listed;
    });
  };
  auto done = run::replay(evidence.request, trace, evidence.names(), evidence.console, prepare);
  if (!done) return done.error();
  if (!done.value().divergence.empty()) {
    return Error{ExitCode::Failed,
                 "the trace does not follow from itself: " + done.value().divergence};
  }
  if (done.value().events != entry.events) {
    return Error{ExitCode::Failed, fmt::format("{}: the trace has {} events, the manifest says {}",
                                               entry.folder, done.value().events, entry.events)};
  }
  return {};
}

/// Says which of the names that were asked for nobody has: a list that is empty for that is no
/// answer.
void say_unknown_mappings(const TraceFilter& filter, const Listing& listing) {
  for (const std::string& wanted : filter.mappings) {
    if (listing.mappings.contains(wanted)) continue;
    say(listing.mappings.empty()
            ? fmt::format("--mapping {}: no system mapping became known", wanted)
            : fmt::format("--mapping {}: there is none of this name, but {}", wanted,
                          fmt::join(listing.mappings, ", ")));
  }
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

Status check_filter(const TraceFilter& filter) {
  if (filter.from > filter.to) {
    return Error{ExitCode::Usage, fmt::format("--from {} is behind --to {}: expected it before",
                                              filter.from, filter.to)};
  }
  // Copies of tables are not listed, and what counts instructions leaves no bundle.
  std::vector<std::string> kinds;
  for (auto kind = Kind::Registers; kind <= Kind::RunEnd;
       kind = static_cast<Kind>(static_cast<std::uint8_t>(kind) + 1)) {
    kinds.emplace_back(event::name_of(kind));
  }
  for (const std::string& pattern : filter.kinds) {
    if (std::any_of(kinds.begin(), kinds.end(),
                    [&](const std::string& kind) { return fits({pattern}, kind); })) {
      continue;
    }
    return Error{ExitCode::Usage, fmt::format("--kind {}: no such events are listed, but {}",
                                              pattern, fmt::join(kinds, ", "))};
  }
  return {};
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
         "part,parts,mappings,gva,vcpu\n";
}

int trace(const TraceOptions& options) {
  if (auto sound = check_filter(options.filter); !sound) return refuse(sound.error());
  if (auto outside = check_outside("--out", options.out, options.folder); !outside) {
    return refuse(outside.error());
  }
  const auto checked = evidence::check_bundle(options.folder);
  if (!checked) return refuse(checked.error());
  for (const evidence::Fault& fault : checked.value().faults) {
    say(fmt::format("{}/{}: {}", options.folder.string(), fault.file, fault.text));
  }
  // What somebody changed is listed as nothing.
  if (!checked.value().faults.empty()) return static_cast<int>(ExitCode::Failed);
  Output output;
  if (auto opened = output.open(options.out); !opened) return refuse(opened.error());
  output.add(head_of(options.format));
  const std::vector<evidence::RunEntry>& runs = checked.value().manifest.runs;
  Listing listing;
  bool all_whole = true;
  for (const evidence::RunEntry& entry : runs) {
    if (!entry.not_whole.empty()) {
      say(fmt::format("{} is left out: its evidence is not whole: {}", entry.folder,
                      entry.not_whole));
      all_whole = false;
      continue;
    }
    if (auto listed = list_run(options, entry, output, listing); !listed) {
      return refuse(listed.error());
    }
    if (!output.good()) break;
  }
  if (listing.runs == 0 && !listing.names.empty()) {
    return refuse({ExitCode::Usage, fmt::format("--run {}: there is none of this name, but {}",
                                                fmt::join(options.filter.runs, ", "),
                                                fmt::join(listing.names, ", "))});
  }
  if (auto done = output.finish(); !done) return refuse(done.error());
  say_unknown_mappings(options.filter, listing);
  fmt::print(stderr, "{} of {} events, in {} of {} runs\n", report::grouped(listing.listed),
             report::grouped(listing.all), listing.runs, runs.size());
  return static_cast<int>(all_whole ? ExitCode::AsExpected : ExitCode::Failed);
}

}  // namespace sealvisor::app
