// `sealvisor audit DIR`: the verdicts of a bundle, computed again from its traces. No guest, no
// kernel, no engine.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/app/options.h"
#include "vmm/base/result.h"
#include "vmm/evidence/manifest.h"
#include "vmm/evidence/names.h"
#include "vmm/evidence/trace_reader.h"
#include "vmm/report/compare.h"
#include "vmm/report/report.h"
#include "vmm/run/replay.h"
#include "vmm/run/run.h"

namespace sealvisor::app {

/// The evidence of one run, opened.
struct RunEvidence {
  run::RunRequest request;
  evidence::RecordedSymbols symbols;
  evidence::Digest symbols_digest{};  ///< Of their file.
  std::string console;
  std::unique_ptr<evidence::FileSource> source;  ///< Of the trace, at its start.
  /// For the session: nullptr if the run had no symbols, which is not the same as none of a name.
  [[nodiscard]] const image::Symbols* names() const {
    return request.symbols.empty() ? nullptr : &symbols;
  }
};
/// Precondition: `bundle` was checked, and nothing of `run` has a fault. Errors name the file.
[[nodiscard]] Result<RunEvidence> open_run(const std::filesystem::path& bundle,
                                           const evidence::RunEntry& run);

/// What an audit found.
struct Audit {
  struct RunResult {
    std::string name;  ///< "x86_64 lts-sealed", or its folder if not even that is known.
    std::uint64_t events = 0;
    std::string divergence;  ///< See run::Replayed.
    /// What its description says, and what its recipe, its kernel's configuration or its engine
    /// can't have been; empty: nothing.
    std::vector<std::string> contradictions;
    std::optional<Error> problem;  ///< Why its verdicts could not be computed.
  };
  evidence::Checked checked;
  std::vector<RunResult> runs;
  report::Comparison comparison;
  std::optional<Error> problem;  ///< Why nothing could be compared.
  std::string conclusion;        ///< Computed again.
  bool seal_compared = false;    ///< With one that was kept elsewhere: it is the same.
  /// Whether nothing is wrong but with this program or its host: HostLacks, as memory that ran out.
  [[nodiscard]] bool gave_up() const;
  /// Whether there is any run, each byte is as it was sealed and each verdict follows from its
  /// trace.
  [[nodiscard]] bool confirmed() const;
};
/// Errors (Usage): there is no finished bundle in `folder`.
[[nodiscard]] Result<Audit> audit_bundle(const std::filesystem::path& folder);

[[nodiscard]] std::string render_audit(const Audit& audit, const std::filesystem::path& folder);

/// The whole command. Returns the exit code: 0 confirmed; 1 something was changed, or a verdict is
/// another one, or the seal is not the one that was asked for; 3 this host could not do it.
[[nodiscard]] int audit(const AuditOptions& options);

}  // namespace sealvisor::app
