// `sealvisor verify`: which guests to run, running them, and what to say.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vmm/app/interrupts.h"
#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/progress.h"
#include "vmm/image/kernel_image.h"
#include "vmm/report/findings.h"
#include "vmm/report/report.h"
#include "vmm/run/run.h"

namespace sealvisor::app {

/// What the orchestration calls; replaced in tests.
struct VerifyTools {
  /// Folder of a recipe's finished build.
  std::function<Result<std::filesystem::path>(const std::string& recipe, arch::Arch)> kernel_dir;
  std::function<Result<report::Run>(const run::RunRequest&)> run_one;
  /// True once the user wants an end: no further run starts.
  std::function<bool()> interrupted;
  unsigned workers = 1;  ///< Runs at the same time.
};

/// Runs to do, in the order of the report, and those that can't start.
struct Prepared {
  std::vector<run::RunRequest> requests;
  std::vector<report::NotRun> not_run;
};

/// Opens the user's own image, for the architecture that was asked for if one was. In the tcg lane
/// with its own CPU model a bzImage is unpacked as far as it can be.
[[nodiscard]] Result<image::KernelFile> open_image(const MachineOptions& machine,
                                                   const std::vector<arch::Arch>& archs);

/// What `compat` and `lifetime` ask for, as `verify` does: the same machine, without files.
[[nodiscard]] VerifyOptions guests_of(const WatchedOptions& options);

/// Finds kernels and makes plans. A kernel that is not built is a run that can't start. Errors
/// (Usage): no such recipe, no such scenario, a kernel image that is none.
[[nodiscard]] Result<Prepared> prepare(const VerifyOptions& options, const Places& places,
                                       const VerifyTools& tools);

/// What came of the requests, in their order.
struct RunResults {
  std::vector<report::Run> runs;
  std::vector<report::NotRun> not_run;
};

/// Runs the requests, `tools.workers` at a time, architectures in turn.
[[nodiscard]] RunResults run_requests(Prepared prepared, const VerifyTools& tools,
                                      Progress& progress);

/// Tools that look for kernels, run guests, and stop once `interrupts` has seen one. Both must
/// outlive them.
[[nodiscard]] VerifyTools real_tools(const Places& places, Interrupts& interrupts);

/// Writes `json` to `json_path` unless that is empty, and `text` to standard output. The exit code:
/// `code`, or a worse one if either could not be written, which is said on standard error.
[[nodiscard]] int print_report(const std::string& text, const std::string& json,
                               const std::filesystem::path& json_path, ExitCode code);

/// Runs the requests and concludes. The report has the runs in the order of the requests.
[[nodiscard]] report::Report run_all(Prepared prepared, const VerifyTools& tools,
                                     std::span<const report::KnownFinding> known,
                                     Progress& progress);

/// The whole command: report to standard output, progress and problems to standard error. Returns
/// the exit code. `command`: as it was typed.
[[nodiscard]] int verify(const VerifyOptions& options, const std::string& command);

}  // namespace sealvisor::app
