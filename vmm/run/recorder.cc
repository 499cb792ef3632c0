#include "vmm/run/recorder.h"

#include <fcntl.h>

#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "vmm/evidence/digest.h"
#include "vmm/evidence/manifest.h"
#include "vmm/run/description.h"
#include "vmm/run/outcome.h"

namespace sealvisor::run {

namespace fs = std::filesystem;

namespace {

Result<Fd> create_file(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return errno_error(ExitCode::HostLacks, "evidence: " + path.string());
  return fd;
}

}  // namespace

Recorder::Recorder(Key /*key*/, fs::path folder, const memory::Memory& ram,
                   const image::Symbols* symbols, evidence::TraceWriter trace, Fd console)
    : folder_(std::move(folder)),
      trace_(std::move(trace)),
      memory_(ram, &trace_),
      console_(std::move(console)) {
  if (symbols != nullptr) symbols_.emplace(*symbols);
}

Result<std::unique_ptr<Recorder>> Recorder::create(const RunRequest& request,
                                                   const memory::Memory& ram,
                                                   const image::Symbols* symbols) {
  const fs::path& folder = request.evidence_dir;
  const auto description = describe_run(request);
  if (!description) return description.error();
  auto trace = evidence::TraceWriter::create(folder / evidence::kTraceName,
                                             evidence::digest_of(description.value()));
  if (!trace) return trace.error();
  auto console = create_file(folder / evidence::kConsoleName);
  if (!console) return console.error();
  auto recorder = std::make_unique<Recorder>(Key(), folder, ram, symbols, std::move(trace).value(),
                                             std::move(console).value());
  const auto bytes = std::as_bytes(std::span(description.value()));
  if (auto written = recorder->write(evidence::kRunName, bytes); !written) return written.error();
  return recorder;
}

Status Recorder::write(const std::string& name, std::span<const std::byte> bytes) const {
  const auto file = create_file(folder_ / name);
  if (!file) return file.error();
  if (write_all(file.value(), bytes)) return {};
  return errno_error(ExitCode::HostLacks, "evidence: " + (folder_ / name).string());
}

void Recorder::on_events(std::span<const event::Event> events) {
  trace_.append(events);
  if (symbols_) symbols_->note(events);
}

void Recorder::on_table_copy(const event::Event& event, const arch::Table& table) {
  trace_.append_copy(event, table);
}

void Recorder::on_console(std::span<const char> bytes) {
  if (failed_ || write_all(console_, std::as_bytes(bytes))) return;
  failed_ =
      errno_error(ExitCode::HostLacks, "evidence: " + (folder_ / evidence::kConsoleName).string());
}

Status Recorder::write_rest(const std::string& names, const CodeWatch& code) const {
  if (auto done = write(evidence::kSymbolsName, std::as_bytes(std::span(names))); !done) {
    return done;
  }
  std::error_code error;
  fs::create_directory(folder_ / evidence::kCodeFolder, error);
  if (error) {
    return Error{ExitCode::HostLacks,
                 fmt::format("evidence: {}: {}", (folder_ / evidence::kCodeFolder).string(),
                             error.message())};
  }
  for (const auto& [name, bytes] : snapshot_files(code)) {
    if (auto done = write(name, bytes); !done) return done;
  }
  return {};
}

Result<report::Evidence> Recorder::close(const engine::Outcome& outcome, const CodeWatch& code) {
  const std::string names =
      (symbols_ ? symbols_->recorded() : evidence::RecordedSymbols()).render();
  const auto trace =
      trace_.close(render_outcome(outcome, evidence::hex(evidence::digest_of(names))));
  // Whatever the trace lacks, the rest is written: people may still learn from it.
  const auto rest = write_rest(names, code);
  if (!trace) return trace.error();
  if (failed_) return *failed_;
  if (!rest) return rest.error();
  report::Evidence evidence;
  evidence.events = trace.value().events;
  evidence.trace_blocks = trace.value().seal.blocks;
  evidence.trace_end = evidence::hex(trace.value().seal.digest);
  evidence.trace_bytes = trace.value().seal.bytes;
  return evidence;
}

}  // namespace sealvisor::run
