// The control of entries to user mode: a known number of each kind. The monitor must count them
// all: a way into user mode that has no trap shows as a shortage.
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// Enters user mode `count` times in each way (twice as often, or three times, where the way takes
/// that many). Call in a process that is thrown away. `entries`: how many there were in all.
/// 0, or an errno; said on the console.
[[nodiscard]] int enter_user_mode(Doorbell& doorbell, std::uint32_t count, std::uint32_t& entries);

}  // namespace sealvisor::agent
