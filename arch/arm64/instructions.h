// arm64 instruction encodings that the monitor must know of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/instructions.h"

namespace sealvisor::arch::arm64 {

/// Bytes of an instruction.
inline constexpr std::size_t kInstructionSize = 4;

/// The instruction that `bytes` begin with, as a number: A64 instructions are little-endian
/// whatever the host and the data are. Precondition: there are kInstructionSize of them.
[[nodiscard]] constexpr std::uint32_t word_of(std::span<const std::uint8_t> bytes) {
  return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
         std::uint32_t{bytes[3]} << 24;
}

/// See arch::classify. `word`: the instruction as a number.
[[nodiscard]] InstructionFacts classify(std::uint32_t word);

/// See arch::never_stores.
[[nodiscard]] bool never_stores(std::uint32_t word);

}  // namespace sealvisor::arch::arm64
