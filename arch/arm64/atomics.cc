#include "arch/arm64/atomics.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

namespace sealvisor::arch::arm64 {

namespace {

std::string reg(std::uint32_t number, bool wide) {
  if (number == 31) return wide ? "xzr" : "wzr";
  return fmt::format("{}{}", wide ? 'x' : 'w', number);
}

std::string base(std::uint32_t number) { return number == 31 ? "sp" : fmt::format("x{}", number); }

constexpr std::array<std::string_view, 4> kOrder = {"", "l", "a", "al"};
constexpr std::array<std::string_view, 4> kWidth = {"b", "h", "", ""};
constexpr std::array<std::string_view, 8> kOperation = {"add",  "clr",  "eor",  "set",
                                                        "smax", "smin", "umax", "umin"};

}  // namespace

std::string describe_atomic(std::uint32_t word) {
  const std::uint32_t size = word >> 30;
  const std::uint32_t source = (word >> 16) & 31;
  const std::uint32_t address = (word >> 5) & 31;
  const std::uint32_t target = word & 31;
  const bool wide = size == 3;
  // CAS: size 001000 1 L 1 Rs o0 11111 Rn Rt.
  if ((word & 0x3FA07C00U) == 0x08A07C00U) {
    const std::uint32_t order = ((word >> 22) & 1) * 2 + ((word >> 15) & 1);
    return fmt::format("cas{}{} {}, {}, [{}]", kOrder[order], kWidth[size], reg(source, wide),
                       reg(target, wide), base(address));
  }
  // Atomic memory operations: size 111 0 00 A R 1 Rs o3 opc 00 Rn Rt.
  if ((word & 0x3F200C00U) == 0x38200000U) {
    const std::uint32_t order = ((word >> 23) & 1) * 2 + ((word >> 22) & 1);
    const std::uint32_t operation = (word >> 12) & 7;
    const bool swap = ((word >> 15) & 1) != 0;
    if (swap && operation != 0) return "";
    return fmt::format("{}{}{}{} {}, {}, [{}]", swap ? "swp" : "ld",
                       swap ? "" : kOperation[operation], kOrder[order], kWidth[size],
                       reg(source, wide), reg(target, wide), base(address));
  }
  return "";
}

}  // namespace sealvisor::arch::arm64
