// What a run was asked to do, as the file run.json of its evidence (docs/evidence.md).
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/run/run.h"

namespace sealvisor::run {

inline constexpr const char* kDescriptionSchema = "sealvisor-run-1";

/// Everything of `request` that the verdicts depend on, and the digests of the files that take
/// part. The same for two runs of the same: nothing of it is of this host's folders or of today.
/// Errors (HostLacks): a file can't be read.
[[nodiscard]] Result<std::string> describe_run(const RunRequest& request);

/// The request again: what a session and a report need of it. Paths are left out; `symbols` is the
/// name of their file, empty if the run had none. Errors (Failed) name the member and what was
/// expected.
[[nodiscard]] Result<RunRequest> parse_description(std::string_view text);

}  // namespace sealvisor::run
