// Choosing scenarios by a shell pattern, as --scenario does.
#pragma once

#include <fnmatch.h>

#include "guest/scenario/scenario.h"

namespace sealvisor::scenario {

/// True if `pattern` (fnmatch(3), `*` also matches a slash: `mprotect*`, `*/whole`) matches the
/// name of `scenario`. Precondition: `pattern` is NUL-terminated.
[[nodiscard]] inline bool matches(const Scenario& scenario, const char* pattern) {
  return ::fnmatch(pattern, scenario.name.data(), 0) == 0;
}

}  // namespace sealvisor::scenario
