// The range that an operation is aimed at, and carrying it out.
#pragma once

#include <cstdint>

#include "guest/agent/acts/act.h"
#include "guest/agent/smaps.h"
#include "guest/protocol/doorbell.h"
#include "guest/scenario/operation.h"

namespace sealvisor::agent {

/// The range of `form` for `mapping`. Fills and reserves what the form and the operation need, so
/// this comes before anything is observed. Skip::No: `target` is good.
[[nodiscard]] protocol::Skip prepare(const SystemMapping& mapping,
                                     const scenario::Operation& operation, scenario::Form form,
                                     Target& target);

/// Asks the kernel, once; the raw result.
[[nodiscard]] long perform(const scenario::Operation& operation, Target& target);

/// Puts back what others than the victim would notice.
void finish(const scenario::Operation& operation, Target& target);

}  // namespace sealvisor::agent
