// The report as a person reads it. Pure.
#pragma once

#include <cstddef>
#include <string>

#include "vmm/report/report.h"

namespace sealvisor::report {

struct TextOptions {
  bool colours = false;  ///< Only for a terminal, and if NO_COLOR is unset.
  std::size_t width =
      120;  ///< Most characters in a line, console lines and the conclusion excepted.
  std::size_t changes_per_cell = 2;  ///< Most entry writes shown for a cell; the rest are counted.
};

/// A block for each run (cells as a table, those of a mapping with the same claim, observation,
/// expectation and verdict in one row, with how many they are; scenarios without cells; the writes
/// behind each cell that changed; counts), what was not run, findings if there are any, what the
/// lane cannot see, the threat model, and last, as one line, the conclusion. Everything that came
/// from a guest is printable ASCII here, whatever it was.
[[nodiscard]] std::string render_text(const Report& report, const TextOptions& options = {});

}  // namespace sealvisor::report
