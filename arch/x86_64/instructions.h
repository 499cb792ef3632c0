// x86-64 instruction encodings that the monitor must know of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/instructions.h"

namespace sealvisor::arch::x86_64 {

/// See arch::classify.
[[nodiscard]] InstructionFacts classify(std::span<const std::uint8_t> bytes);

/// See arch::never_stores.
[[nodiscard]] bool never_stores(std::span<const std::uint8_t> bytes);

struct SystemName {
  std::size_t size = 0;  ///< Bytes; 0: it is none of them.
  std::string_view name;
};
/// The instruction without operands that `bytes` begin with, if it is one that Capstone 4 does not
/// know or takes for another.
[[nodiscard]] SystemName describe_system(std::span<const std::uint8_t> bytes);

}  // namespace sealvisor::arch::x86_64
