// The report of `sealvisor compat`: what a seal does to software that moves or unmaps system
// mappings. Pure.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/report/text.h"

namespace sealvisor::report {

/// Value of the member "schema" of the JSON document (docs/compat.schema.json).
inline constexpr const char* kCompatSchema = "sealvisor-compat-1";

/// Completes each run (`good`, `summary`) and brings them together. The exit code is the worst of:
/// 1 for a finding, 4 for a guest that failed, what `not_run` says.
[[nodiscard]] Report conclude_compat(std::vector<Run> runs, std::vector<NotRun> not_run);

/// A block for each run with its sequences as a table, then what all reports end with.
[[nodiscard]] std::string render_compat_text(const Report& report, const TextOptions& options = {});

/// The whole, as docs/compat.schema.json has it.
[[nodiscard]] std::string render_compat_json(const Report& report);

}  // namespace sealvisor::report
