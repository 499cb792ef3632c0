// What the figures of the KVM engine may be at most (docs/lanes.md, "Figures", says why).
//
// tests/hardware/acceptance.py judges runs on real hosts by the same numbers; acceptance_test.py
// compares them with these lines, so each is one `kName = number;`.
#pragma once

#include <cstdint>

#include "arch/arch.h"

namespace sealvisor::bench {

/// KVM exits from the first KVM_RUN to the agent's first message, of a quiet boot. They don't
/// depend on the host's speed.
inline constexpr std::uint64_t kMostExitsToInitArm64 = 100;
inline constexpr std::uint64_t kMostExitsToInitX86 = 1000;
/// Memory of the VMM's process beside guest memory.
inline constexpr std::uint64_t kMostResidentBytes = 8388608;
/// CPU of the VMM up to the guest's first instruction: of a real host, an emulated CPU is slow.
inline constexpr std::uint64_t kMostStartCpuMs = 10;
/// The default `verify` of one architecture.
inline constexpr std::uint64_t kMostVerifySeconds = 60;

[[nodiscard]] constexpr std::uint64_t most_exits_to_init(arch::Arch arch) {
  return arch == arch::Arch::Arm64 ? kMostExitsToInitArm64 : kMostExitsToInitX86;
}

}  // namespace sealvisor::bench
