// How far one run is, as a part of all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vmm/app/progress.h"
#include "vmm/run/run.h"

namespace sealvisor::app {

/// What runs have to do: what is counted, and how long it takes compared with a cell.
struct Work {
  std::uint64_t count = 0;
  double weight = 0;
};

/// Cells are counted; where a plan has none, its scenarios and the user's programs.
[[nodiscard]] Work work_of(const run::RunRequest& request);
/// "cells"; without any "programs" if there are some of the user's, else "scenarios".
[[nodiscard]] const char* counted_in(std::span<const run::RunRequest> requests);

/// Passes on how far a run is. Whatever it did not get to is given up when this ends.
class RunProgress {
 public:
  RunProgress(Progress& progress, const run::RunRequest& request);
  RunProgress(const RunProgress&) = delete;
  RunProgress& operator=(const RunProgress&) = delete;
  ~RunProgress();

  /// `items` of the plan are done, and the guest is up.
  void done(std::size_t items);

 private:
  void reach(const Work& work);

  Progress& progress_;
  std::vector<Work> after_;  ///< Done when so many items are; the boot is in each.
  Work all_;
  Work reached_;
};

}  // namespace sealvisor::app
