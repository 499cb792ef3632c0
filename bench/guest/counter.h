// What the counter of bench/guest/mark.h is.
#pragma once

#include "guest/protocol/doorbell.h"

namespace sealvisor::bench {

/// Its frequency: arm64: CNTFRQ_EL0. x86-64: CPUID leaf 0x15 where it has all three numbers, else
/// measured against CLOCK_MONOTONIC_RAW for 20 ms, which is what the kernel knows. And what
/// readings show: by how much it goes up, what a reading takes, what a `nop` takes on this CPU.
[[nodiscard]] protocol::Counter describe_counter();

}  // namespace sealvisor::bench
