// A paging format from a fuzzer's input.
#pragma once

#include <cstdint>
#include <optional>

#include "arch/any_format.h"
#include "tests/fuzz/arch/input.h"

namespace sealvisor::fuzz {

/// Any format that the registers in `input` select; nullopt if they are refused.
inline std::optional<arch::AnyFormat> take_format(Input& input) {
  if ((input.take<std::uint8_t>() & 1) == 0) {
    // Paging on and long mode, so that most inputs select a format; the rest is free.
    const arch::x86_64::Registers registers{
        .cr0 = input.take<std::uint32_t>() | arch::x86_64::kCr0Paging,
        .cr3 = 0,
        .cr4 = input.take<std::uint32_t>() | arch::x86_64::kCr4Pae,
        .efer = input.take<std::uint16_t>() | arch::x86_64::kEferLongModeActive};
    const auto format = arch::x86_64::format_from(registers, 32 + input.take<std::uint8_t>() % 21);
    require(format.ok());
    return format.value();
  }
  const auto format = arch::arm64::format_from({.tcr = input.take<std::uint64_t>(),
                                                .ttbr0 = input.take<std::uint64_t>(),
                                                .ttbr1 = input.take<std::uint64_t>(),
                                                .sctlr = input.take<std::uint32_t>() | 1U,
                                                .tcr2 = input.take<std::uint8_t>()});
  if (!format.ok()) {
    require(!format.error().message.empty());
    return std::nullopt;
  }
  return format.value();
}

}  // namespace sealvisor::fuzz
