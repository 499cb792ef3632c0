// The campaign: a list of tamperings that a seed stands for, each announced, made, shown to user
// mode, and undone. What was announced is compared with what the monitor reported
// (vmm/run/campaign.h). The kernel must be of the recipe `tampering`.
#pragma once

#include <cstdint>

#include "guest/agent/process.h"

namespace sealvisor::agent {

/// Makes `count` tamperings, in children of this process. `emulated`: only such that the lanes of
/// KVM can do in a guest's stead. `done`: how many were made. 0, or an errno; said on the console.
[[nodiscard]] int run_campaign(Agent& agent, std::uint64_t seed, std::uint32_t count, bool emulated,
                               std::uint32_t& done);

}  // namespace sealvisor::agent
