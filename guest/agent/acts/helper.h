// A process beside the victim: what one process does to another.
#pragma once

#include "guest/agent/acts/act.h"

namespace sealvisor::agent {

/// What the helper does, once the victim `victim` waits for it; -errno on failure. It has all of
/// the C library.
using Job = long (*)(const Target& target, std::uint32_t argument, pid_t victim);

/// Forks the helper of `target`. Skip::No, or NoRoom if there is no process to be had.
[[nodiscard]] protocol::Skip start_helper(Target& target, std::uint32_t argument, Job job);

/// Lets the helper do its job and waits for its end; its result. Raw calls only.
[[nodiscard]] long run_helper(Target& target);

}  // namespace sealvisor::agent
