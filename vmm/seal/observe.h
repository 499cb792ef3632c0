// What an operation did to a mapping, from two looks at it: before, and after everything was
// touched again. Pure; never sees an errno.
#pragma once

#include <vector>

#include "vmm/model/space.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

/// One look at one mapping in one address space.
struct Snapshot {
  model::Placement placement;
  std::vector<model::Elsewhere> elsewhere;  ///< Of this mapping only.
};

/// A copy of what `space` shows of `mapping`; empty placement if it is not placed there.
[[nodiscard]] Snapshot snapshot(const model::AddressSpace& space, std::size_t mapping);

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

}  // namespace sealvisor::seal
