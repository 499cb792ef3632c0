#include "vmm/app/bundle.h"

#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "arch/disassembler.h"
#include "vmm/app/kernels.h"
#include "vmm/app/write_file.h"
#include "vmm/evidence/block_file.h"
#include "vmm/evidence/manifest.h"
#include "vmm/report/json.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

constexpr const char* kProgramVersion = "sealvisor " SEALVISOR_VERSION;
constexpr const char* kRuns = "runs";

Error failed(const fs::path& path, const std::error_code& error) {
  return Error{ExitCode::HostLacks, fmt::format("--bundle: {}: {}", path.string(), error.message()),
               error.value()};
}

/// A name that a bundle may have: what it may not have becomes '_'.
std::string plain_name(std::string_view text) {
  std::string name(text);
  for (char& c : name) {
    if (!evidence::is_bundle_path(std::string("a") + c) || c == '/') c = '_';
  }
  return name;
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

std::vector<std::pair<std::string, std::string>> tools() {
  return {{"compiler", __VERSION__},
          {"capstone", arch::disassembler_version()},
          {"zstd", ZSTD_versionString()},
          {"trace", std::to_string(evidence::kTraceVersion)}};
}

/// What guest/kernel/build leaves beside a kernel that it made: its configuration, and what it was
/// made of.
Status copy_kernel_facts(const fs::path& kernel, const fs::path& to) {
  const std::pair<const char*, const char*> facts[] = {{kKernelConfig, evidence::kConfigName},
                                                       {kKernelBuild, evidence::kBuildName}};
  for (const auto& [from, name] : facts) {
    const fs::path source = kernel.parent_path() / from;
    std::error_code error;
    if (!fs::is_regular_file(source, error)) continue;
    // The library's copy says "Input/output error" of a disk that is full.
    const auto text = evidence::read_whole(source);
    if (!text) return text.error();
    if (auto kept = write_file(to / name, text.value()); !kept) return kept;
  }
  return {};
}

/// Whether the trace in a run's folder has more than its head.
bool has_records(const fs::path& folder) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(folder / evidence::kTraceName, error);
  return !error && bytes > evidence::kTraceHeadBytes;
}

/// What the manifest says of a run of the report.
evidence::RunEntry entry_of(const report::Run& run, const std::string& folder) {
  evidence::RunEntry entry;
  entry.folder = folder;
  const auto end = run.evidence ? evidence::parse_digest(run.evidence->trace_end) : std::nullopt;
  if (end) {
    entry.events = run.evidence->events;
    entry.trace_blocks = run.evidence->trace_blocks;
    entry.trace_end = *end;
    return entry;
  }
  // The other runs can be audited all the same.
  entry.not_whole = "the host could not keep it";
  for (const report::Finding& finding : run.findings) {
    if (finding.invariant == "evidence") entry.not_whole = finding.text;
  }
  return entry;
}

/// Paths of all files in `folder`, but for the manifest and the seal, in order.
Result<std::vector<std::string>> files_of(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) continue;
    paths.push_back(it->path().lexically_relative(folder).generic_string());
  }
  if (error) return failed(folder, error);
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

Result<Bundle> Bundle::create(const fs::path& folder, const std::string& command) {
  Bundle bundle(folder, command);
  if (folder.empty()) return bundle;
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && ::access(folder.c_str(), W_OK | X_OK) != 0) {
    error.assign(errno, std::generic_category());
  }
  if (error) return failed(folder, error);
  const bool empty = fs::is_empty(folder, error);
  if (error) return failed(folder, error);
  if (!empty) {
    return Error{ExitCode::Usage, fmt::format("--bundle {}: expected a folder that is new or empty",
                                              folder.string())};
  }
  return bundle;
}

Status Bundle::attach(std::vector<run::RunRequest>& requests) {
  if (folder_.empty()) return {};
  auto attached = attach_each(requests);
  if (!attached) {
    // What is left of it would refuse the next try: the folder was empty.
    std::error_code ignored;
    fs::remove_all(folder_ / kRuns, ignored);
    runs_.clear();
  }
  return attached;
}

Status Bundle::attach_each(std::vector<run::RunRequest>& requests) {
  if (requests.size() > evidence::kMostRuns) {
    return Error{ExitCode::Usage, fmt::format("--bundle: {} runs, and a bundle holds {}",
                                              requests.size(), evidence::kMostRuns)};
  }
  for (run::RunRequest& request : requests) {
    const std::string name =
        plain_name(fmt::format("{}-{}", arch::name_of(request.arch), request.recipe));
    std::string path = fmt::format("{}/{}", kRuns, name);
    const auto taken = [&] {
      return std::any_of(runs_.begin(), runs_.end(),
                         [&](const Attached& other) { return other.folder == path; });
    };
    for (unsigned number = 2; taken(); ++number)
      path = fmt::format("{}/{}-{}", kRuns, name, number);
    request.evidence_dir = folder_ / path;
    std::error_code error;
    fs::create_directories(request.evidence_dir, error);
    if (error) return failed(request.evidence_dir, error);
    // What lies beside a user's own image need not be of it.
    if (request.expectations) {
      auto copied = copy_kernel_facts(request.kernel_image, request.evidence_dir);
      if (!copied) return copied;
    }
    runs_.push_back({request.arch, request.recipe, std::move(path)});
  }
  return {};
}

Status Bundle::write(const std::string& path, std::string_view text) const {
  return write_file(folder_ / path, text);
}

Status Bundle::finish(const report::Report& report, std::string_view known_findings) {
  if (folder_.empty()) return {};
  auto done = complete(report, known_findings);
  if (done) return done;
  return Error{done.error().code, fmt::format("--bundle: {} is not sealed: {}", folder_.string(),
                                              done.error().message)};
}

Status Bundle::complete(const report::Report& report, std::string_view known_findings) {
  evidence::Manifest manifest;
  manifest.program = kProgramVersion;
  manifest.command = command_;
  manifest.created = now();
  manifest.tools = tools();
  auto run = report.runs.begin();
  std::vector<evidence::RunEntry> others;
  for (const Attached& one : runs_) {
    const bool ran = run != report.runs.end() && run->arch == one.arch && run->recipe == one.recipe;
    if (!ran) {
      std::error_code error;
      if (has_records(folder_ / one.folder)) {
        // What the report says nothing of is evidence all the same.
        evidence::RunEntry other;
        other.folder = one.folder;
        other.not_whole = "the report has no such run";
        others.push_back(std::move(other));
        continue;
      }
      // Nothing ran, and nothing is said of it.
      fs::remove_all(folder_ / one.folder, error);
      if (error) return failed(folder_ / one.folder, error);
      continue;
    }
    manifest.runs.push_back(entry_of(*run++, one.folder));
  }
  manifest.runs.insert(manifest.runs.end(), others.begin(), others.end());
  if (auto done = write(evidence::kReportName, report::render_json(report)); !done) return done;
  if (auto done = write(evidence::kKnownName, known_findings); !done) return done;
  const auto paths = files_of(folder_);
  if (!paths) return paths.error();
  if (paths.value().size() > evidence::kMostFiles) {
    return Error{ExitCode::HostLacks, fmt::format("{} files, and a bundle holds {}",
                                                  paths.value().size(), evidence::kMostFiles)};
  }
  for (const std::string& path : paths.value()) {
    auto file = evidence::describe(folder_, path);
    if (!file) return Error{ExitCode::HostLacks, file.error().message};
    manifest.files.push_back(std::move(file).value());
  }
  const std::string text = evidence::render(manifest);
  if (text.size() > evidence::kMostFileBytes) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} has {} bytes, and at most {} are read", evidence::kManifestName,
                             text.size(), evidence::kMostFileBytes)};
  }
  const evidence::Seal seal = evidence::seal_of(text);
  if (auto done = write(evidence::kManifestName, text); !done) return done;
  if (auto done = write(evidence::kSealName, seal.text); !done) return done;
  seal_ = seal.digest;
  return {};
}

std::string text_of(const Bundle& bundle, const report::Report& report) {
  if (!bundle.seal()) return "";
  std::size_t broken = 0;
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
  for (const report::Run& run : report.runs) {
    if (!run.evidence) {
      ++broken;
      continue;
    }
    events += run.evidence->events;
    bytes += run.evidence->trace_bytes;
  }
  std::string text = fmt::format(
      "bundle {}: {} events in {} bytes of traces ({:.1f} an event); `sealvisor audit {}` computes "
      "the verdicts again\nseal {}\n",
      bundle.folder().string(), report::grouped(events), report::grouped(bytes),
      events == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(events),
      bundle.folder().string(), evidence::hex(*bundle.seal()));
  if (broken != 0) {
    text += fmt::format(
        "the evidence of {} of its runs is not whole: an audit will not confirm it\n", broken);
  }
  return text;
}

}  // namespace sealvisor::app
