// What an operation did to a mapping, from two looks at it: before, and after everything was
// touched again. Pure; never sees an errno.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "vmm/model/identity.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

/// How many bytes of two frames differ; nullopt if one of them can't be read.
using CompareFrames =
    std::function<std::optional<std::uint32_t>(arch::Frame one, arch::Frame other)>;

/// Bytes that may differ between a page of code and another frame that still counts as its copy.
inline constexpr std::uint32_t kMostForcedBytes = 256;

inline constexpr std::uint32_t kNoCopy = ~std::uint32_t{0};

/// One look at one mapping in one address space.
struct Snapshot {
  model::Placement placement;
  std::vector<model::Elsewhere> elsewhere;  ///< Of this mapping only.
  /// One a page: code that shows another frame than the kernel's, which is a copy of it but for so
  /// many bytes; else kNoCopy.
  std::vector<std::uint32_t> copied;
};

/// A copy of what `space` shows of `mapping`; empty placement if it is not placed there. Without
/// `compare` no frame counts as a copy.
[[nodiscard]] Snapshot snapshot(const model::AddressSpace& space, std::size_t mapping,
                                const model::Identities& identities, const CompareFrames& compare);

/// Bytes in which what `page` of `mapping` shows now, `frame`, differs from the kernel's frame, if
/// it is another one and a copy of it. Code only: data changes all the time.
[[nodiscard]] std::optional<std::uint32_t> copied_bytes(const model::Identities& identities,
                                                        model::MappingPage page, arch::Frame frame,
                                                        const CompareFrames& compare);

/// Pages of a mapping, by number: [first, last).
struct PageRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};

/// Compares. `before` must have been taken after every page was touched, `after` likewise; pages
/// that were not populated before are not observed and count for nothing.
/// If none of the pages in `target` was populated before and nothing else changed, the whole is
/// unobserved: what was to happen would not have shown.
[[nodiscard]] report::Observation observe(const Snapshot& before, const Snapshot& after,
                                          PageRange target);

/// What both the victim and a child that it forked behind the operation show: the worse of two.
[[nodiscard]] report::Observation worse(report::Observation own, report::Observation child);

}  // namespace sealvisor::seal
