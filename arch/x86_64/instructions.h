// x86-64 instruction encodings that the monitor must know of.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "arch/instructions.h"

namespace sealvisor::arch::x86_64 {

/// See arch::classify.
[[nodiscard]] InstructionFacts classify(std::span<const std::uint8_t> bytes);

/// See arch::never_stores.
[[nodiscard]] bool never_stores(std::span<const std::uint8_t> bytes);

/// The name of an instruction without operands that Capstone 4 does not know or takes for another;
/// empty if `bytes` begin with none of them.
[[nodiscard]] std::string_view describe_system(std::span<const std::uint8_t> bytes);

}  // namespace sealvisor::arch::x86_64
