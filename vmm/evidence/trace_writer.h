// Keeps the event stream of a run in a file.
//
// Format: gzip. Inside, a header of 16 bytes (the magic "SLVTRACE", then the event version and the
// record size as 32-bit little-endian numbers), then event::Event records as they came.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <zlib.h>

#include "vmm/base/result.h"
#include "vmm/event/event.h"

namespace sealvisor::evidence {

/// Appends to one trace file. A failed write (disk full) stops the trace, keeps what is there and
/// is reported by close(); the run goes on.
class TraceWriter {
 public:
  /// Creates `file` and its folder. Errors name the path (exit code HostLacks).
  [[nodiscard]] static Result<TraceWriter> create(const std::filesystem::path& file);

  void append(std::span<const event::Event> events);
  /// Finishes the file. An error says what could not be written; records before that are kept.
  [[nodiscard]] Status close();

 private:
  struct Close {
    void operator()(gzFile_s* file) const { gzclose(file); }
  };
  TraceWriter(std::string path, gzFile file) : path_(std::move(path)), file_(file) {}
  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::optional<Error> failed_;
};

}  // namespace sealvisor::evidence
