// The evidence of one run, while it runs.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"
#include "vmm/evidence/memory_view.h"
#include "vmm/evidence/names.h"
#include "vmm/evidence/trace_writer.h"
#include "vmm/image/symbols.h"
#include "vmm/memory/memory.h"
#include "vmm/run/run.h"
#include "vmm/run/session.h"

namespace sealvisor::run {

/// Stands between the engine and the session, and keeps what the session is given: call it before
/// the session. What can't be written (disk full) is told by close(); the run goes on.
class Recorder {
  struct Key {
    explicit Key() = default;
  };

 public:
  /// For create() only.
  Recorder(Key key, std::filesystem::path folder, const memory::Memory& ram,
           const image::Symbols* symbols, evidence::TraceWriter trace, Fd console);
  /// Begins the files of request.evidence_dir. All must outlive it; `symbols` may be nullptr.
  /// Errors (HostLacks) name the file.
  [[nodiscard]] static Result<std::unique_ptr<Recorder>> create(const RunRequest& request,
                                                                const memory::Memory& ram,
                                                                const image::Symbols* symbols);

  /// For the session, instead of its own.
  [[nodiscard]] const memory::Memory& memory() const { return memory_; }
  [[nodiscard]] const image::Symbols* symbols() const { return symbols_ ? &*symbols_ : nullptr; }

  void on_events(std::span<const event::Event> events);
  void on_table_copy(const event::Event& event, const arch::Table& table);
  void on_stopped() { trace_.stopped(); }
  /// The session has answered the stop.
  void on_answered() { trace_.reads_done(); }
  void on_console(std::span<const char> bytes);

  /// Finishes the files; an error names the first that is not whole. Precondition: the session has
  /// finished its report.
  [[nodiscard]] Result<report::Evidence> close(const engine::Outcome& outcome,
                                               const CodeWatch& code);

 private:
  [[nodiscard]] Status write(const std::string& name, std::span<const std::byte> bytes) const;
  /// Symbols, which are `names`, and code.
  [[nodiscard]] Status write_rest(const std::string& names, const CodeWatch& code) const;

  std::filesystem::path folder_;
  evidence::TraceWriter trace_;
  evidence::RecordingMemory memory_;
  std::optional<evidence::RecordingSymbols> symbols_;
  Fd console_;
  std::optional<Error> failed_;
};

}  // namespace sealvisor::run
