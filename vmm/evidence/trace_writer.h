// Keeps what a session was given, so that another one can be given the same later.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "arch/walk.h"
#include "vmm/base/result.h"
#include "vmm/event/event.h"
#include "vmm/evidence/block_file.h"
#include "vmm/evidence/trace_codec.h"

namespace sealvisor::evidence {

/// What a trace was, for the reports and the figures.
struct TraceSummary {
  BlockSeal seal;
  std::uint64_t events = 0;  ///< Copies of tables among them.
};

/// Writes one trace file, in the order in which the session is called. A failed write (disk full)
/// stops the trace, keeps what is there and is told by close(); the run goes on. Opens no file once
/// it is made.
class TraceWriter {
 public:
  /// Creates `file`. `seed`: digest of the description of the run. Errors name the path (exit code
  /// HostLacks).
  [[nodiscard]] static Result<TraceWriter> create(const std::filesystem::path& file,
                                                  const Digest& seed);

  /// Before the session gets them.
  void append(std::span<const event::Event> events);
  void append_copy(const event::Event& event, const arch::Table& table);
  void stopped();
  /// The session asks for memory; for what is no RAM, too.
  void asked(arch::Gpa gpa, std::uint64_t bytes) { reads_.ask(gpa, bytes); }
  /// What it gets: `words`, whole ones, within one frame.
  void got(arch::Gpa gpa, std::span<const std::uint64_t> words);
  /// The session is done with the stop, or with the whole run.
  void reads_done();
  /// Finishes the file. `ended`: how the run ended, as JSON. An error says what could not be
  /// written; records before that are kept.
  [[nodiscard]] Result<TraceSummary> close(const std::string& ended);

 private:
  TraceWriter(std::string path, BlockWriter blocks)
      : path_(std::move(path)), blocks_(std::move(blocks)) {}
  void overflow();

  std::string path_;
  BlockWriter blocks_;
  TraceEncoder encoder_;
  Reads reads_;
  std::uint64_t events_ = 0;
  std::optional<Error> failed_;
};

}  // namespace sealvisor::evidence
