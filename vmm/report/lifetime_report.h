// The report of `sealvisor lifetime`: whether the kernel itself changes a system mapping in the
// life of a process. Pure.
#pragma once

#include <string>
#include <vector>

#include "vmm/report/report.h"
#include "vmm/report/text.h"

namespace sealvisor::report {

/// Value of the member "schema" of the JSON document (docs/lifetime.schema.json).
inline constexpr const char* kLifetimeSchema = "sealvisor-lifetime-1";

/// A change by the kernel that is known and documented: it takes pages away, and others are faulted
/// in.
struct KnownLifeChange {
  const char* mapping;
  const char* cause;
  const char* source;
};
/// The known change that `change` is one of; nullptr: none.
[[nodiscard]] const KnownLifeChange* known_life_change(const LifeChange& change);

/// Completes each run (findings, `good`, `summary`) and brings them together. Findings are: a
/// change by the kernel that is not known, on a kernel of ours; a sealed mapping that a process's
/// own call changed; a control that ran and left no trace. A control kernel must have what it is
/// for.
[[nodiscard]] Report conclude_lifetime(std::vector<Run> runs, std::vector<NotRun> not_run);

[[nodiscard]] std::string render_lifetime_text(const Report& report,
                                               const TextOptions& options = {});

/// The whole, as docs/lifetime.schema.json has it.
[[nodiscard]] std::string render_lifetime_json(const Report& report);

}  // namespace sealvisor::report
