// arm64 instruction encodings that the monitor must know of.
#pragma once

#include <cstdint>

#include "arch/instructions.h"

namespace sealvisor::arch::arm64 {

/// See arch::classify. `word`: the instruction as a number (A64 instructions are little-endian).
[[nodiscard]] InstructionFacts classify(std::uint32_t word);

/// See arch::never_stores.
[[nodiscard]] bool never_stores(std::uint32_t word);

}  // namespace sealvisor::arch::arm64
