// Signals that are delivered and returned from.
#pragma once

#include <cstdint>

namespace sealvisor::agent {

/// Sends `count` signals to this process and returns from each handler, half of them with
/// SA_SIGINFO (a different way back on 32-bit x86). No restorer is given where the kernel provides
/// the way back itself: through the vdso on arm64 and 32-bit x86, through [sigpage] on 32-bit arm.
/// 0, or an errno; said on the console.
[[nodiscard]] int deliver_signals(std::uint32_t count);

}  // namespace sealvisor::agent
