// Known findings: a reviewed file says which findings are no news, why, and on which kernels.
//
// docs/known-findings.json:
//   {"schema": "sealvisor-known-findings-1",
//    "findings": [{"id": "x86_64/lts-sealed/[vdso]/munmap/*/S1", "reason": "...",
//                  "kernels": {"from": "6.12", "to": "6.13.4"}, "reviewed": "2026-01-31"}]}
//
// `id` is a pattern for finding ids: `*` stands for any text (slashes too), `?` for one character;
// brackets mean themselves, since mappings are called "[vdso]". A kernel is in the range if its
// version, cut to as many numbers as the bound has, is not below `from` and not above `to`: "6.12"
// as `to` covers all of 6.12.x.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/report/report.h"

namespace sealvisor::report {

/// Value of the member "schema" of the reviewed file.
inline constexpr const char* kKnownFindingsSchema = "sealvisor-known-findings-1";

struct KnownFinding {
  std::string id;  ///< Pattern.
  std::string reason;
  std::string from;      ///< Kernel version "6.12".
  std::string to;        ///< Kernel version, not below `from`.
  std::string reviewed;  ///< Date "YYYY-MM-DD".
};

/// Reads the reviewed file's text; `name` is for messages. Errors (Usage) name the entry, the value
/// and what was expected: unknown or missing members, an empty reason, a version or date that is
/// none, an id without a slash.
[[nodiscard]] Result<std::vector<KnownFinding>> parse_known_findings(std::string_view text,
                                                                     std::string_view name);

/// Whether the pattern `id` of a known finding means `finding_id`.
[[nodiscard]] bool id_matches(const std::string& id, const std::string& finding_id);

/// Whether the kernel `release` ("6.12.117-sealvisor") is in the range. A release that does not
/// start with a number is in no range.
[[nodiscard]] bool covers(const KnownFinding& known, std::string_view release);

/// Marks the findings of `run` that are listed for its kernel. Then, for each entry that speaks of
/// something that this run did try and that was not found, adds a finding of its own (invariant
/// "went-away"): the entry is out of date. A guest that did not get to its end tried nothing.
void apply_known(Run& run, std::span<const KnownFinding> known);

}  // namespace sealvisor::report
