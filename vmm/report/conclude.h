// From what the runs found to what the program says and exits with. Pure.
//
// A run is good if its guest got to its end, guest memory never differed from the event stream, and
// it has no finding that is new. Every cell, life and count that is not as it must be has a
// finding: where a stage before this one made none, conclude() does.
//
// A control run (recipe `lying`) is good only if the cells where it is documented to lie
// (Cell::lie) are exactly those that were reported: each of them, and no other.
//
// Unobserved is never held: cells that nothing could be said about are a finding of their own, one
// for each mapping, unless the guest failed (which says it already).
#pragma once

#include <span>
#include <vector>

#include "vmm/report/findings.h"
#include "vmm/report/report.h"

namespace sealvisor::report {

/// Reason that marks the findings of a documented lie.
inline constexpr const char* kDocumentedLie = "documented lie of this control";

/// The worse of two exit codes. From best to worst:
///   0  everything ran and came out as expected
///   5  a program of the user's failed by its own account, and nothing else
///   2  the command line or an input is wrong: a run did not start
///   3  the host lacks something: a run did not start, or evidence could not be kept
///   4  a guest failed: what it did not get to is not known
///   1  an invariant or an expectation failed
/// A failed invariant is a fact about a kernel and outranks what could not be found out.
[[nodiscard]] ExitCode worse(ExitCode one, ExitCode other);

/// What a new finding of `run` makes the program exit with: HostLacks for evidence that could not
/// be kept, GuestFailed for what the monitor says about a guest that failed, else Failed.
[[nodiscard]] ExitCode exit_code_of(const Finding& finding, const Run& run);

/// Completes each run (findings, `good`, `summary`) and brings them together. `known` is the
/// reviewed file. `not_run`: runs that could not start.
[[nodiscard]] Report conclude(std::vector<Run> runs, std::vector<NotRun> not_run,
                              std::span<const KnownFinding> known);

}  // namespace sealvisor::report
