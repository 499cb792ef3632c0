// The files that a report goes into beside standard output.
#pragma once

#include <filesystem>

#include "vmm/base/result.h"
#include "vmm/report/report.h"

namespace sealvisor::app {

/// Where to; an empty path: that one is not written.
struct ReportFiles {
  std::filesystem::path json;
  std::filesystem::path junit;
  std::filesystem::path html;

  /// Whether what is asked for tells of each process's life.
  [[nodiscard]] bool with_timelines() const { return !json.empty() || !html.empty(); }
};

/// Each needs a file of its own: the second of two would replace the first. Error (Usage): it names
/// both options; `command` is whose --help tells more.
[[nodiscard]] Status check_apart(const ReportFiles& files, const char* command);

/// Whether each can be written later, and is not in `bundle` (empty: there is none), which it would
/// change. Errors (Usage) as of check_outside() and check_writable().
[[nodiscard]] Status check_places(const ReportFiles& files, const std::filesystem::path& bundle);

/// Writes what was asked for. What went wrong is said on standard error. The worse of the report's
/// exit code and that.
[[nodiscard]] ExitCode write_files(const ReportFiles& files, const report::Report& report);

}  // namespace sealvisor::app
