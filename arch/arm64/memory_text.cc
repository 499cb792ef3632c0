#include "arch/arm64/memory_text.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace sealvisor::arch::arm64 {

namespace {

/// Register 31 is the zero register in a data position and SP in an address position.
std::string name_of(std::uint32_t number, bool wide) {
  if (number == 31) return wide ? "xzr" : "wzr";
  return fmt::format("{}{}", wide ? 'x' : 'w', number);
}

std::string base(std::uint32_t number) { return number == 31 ? "sp" : fmt::format("x{}", number); }

/// Indexed by acquire * 2 + release.
constexpr std::array<std::string_view, 4> kOrder = {"", "l", "a", "al"};
/// Indexed by size, bits 31:30.
constexpr std::array<std::string_view, 4> kWidth = {"b", "h", "", ""};
/// Indexed by opc, bits 14:12.
constexpr std::array<std::string_view, 8> kOperation = {"add",  "clr",  "eor",  "set",
                                                        "smax", "smin", "umax", "umin"};

/// The fields that all of these share.
struct Fields {
  explicit Fields(std::uint32_t from)
      : word(from),
        size(from >> 30),
        source((from >> 16) & 31),
        address((from >> 5) & 31),
        target(from & 31) {}
  [[nodiscard]] std::uint32_t bit(unsigned number) const { return (word >> number) & 1; }

  std::uint32_t word;
  std::uint32_t size;
  std::uint32_t source;
  std::uint32_t address;
  std::uint32_t target;
};

/// size 001000 1 L 1 Rs o0 11111 Rn Rt
std::string compare_and_swap(const Fields& f) {
  const bool wide = f.size == 3;
  return fmt::format("cas{}{} {}, {}, [{}]", kOrder[f.bit(22) * 2 + f.bit(15)], kWidth[f.size],
                     name_of(f.source, wide), name_of(f.target, wide), base(f.address));
}

/// 0 sz 001000 0 L 1 Rs o0 11111 Rn Rt; Rs and Rt are even.
std::string compare_and_swap_pair(const Fields& f) {
  if (((f.source | f.target) & 1) != 0) return "";
  const bool wide = f.bit(30) != 0;
  return fmt::format("casp{} {}, {}, {}, {}, [{}]", kOrder[f.bit(22) * 2 + f.bit(15)],
                     name_of(f.source, wide), name_of(f.source + 1, wide), name_of(f.target, wide),
                     name_of(f.target + 1, wide), base(f.address));
}

/// size 111000 A R 1 Rs o3 opc 00 Rn Rt
std::string atomic_operation(const Fields& f) {
  const bool wide = f.size == 3;
  const std::uint32_t operation = (f.word >> 12) & 7;
  const std::string_view order = kOrder[f.bit(23) * 2 + f.bit(22)];
  if (f.bit(15) != 0) {
    if (operation == 0) {
      return fmt::format("swp{}{} {}, {}, [{}]", order, kWidth[f.size], name_of(f.source, wide),
                         name_of(f.target, wide), base(f.address));
    }
    if (operation == 4 && f.source == 31 && order == "a") {
      return fmt::format("ldapr{} {}, [{}]", kWidth[f.size], name_of(f.target, wide),
                         base(f.address));
    }
    return "";
  }
  // Without acquire and with the old value thrown away the manual prefers the name ST<op>.
  if (f.target == 31 && f.bit(23) == 0) {
    return fmt::format("st{}{}{} {}, [{}]", kOperation[operation], order, kWidth[f.size],
                       name_of(f.source, wide), base(f.address));
  }
  return fmt::format("ld{}{}{} {}, {}, [{}]", kOperation[operation], order, kWidth[f.size],
                     name_of(f.source, wide), name_of(f.target, wide), base(f.address));
}

/// size 111000 opc 0 imm9 10 Rn Rt
std::string unprivileged(const Fields& f) {
  // Indexed by opc * 4 + size: store, load, load signed to 64 bits, load signed to 32 bits.
  constexpr std::array<std::string_view, 16> kNames = {
      "sttrb",  "sttrh",  "sttr",   "sttr", "ldtrb",  "ldtrh",  "ldtr", "ldtr",
      "ldtrsb", "ldtrsh", "ldtrsw", "",     "ldtrsb", "ldtrsh", "",     ""};
  const std::uint32_t opc = (f.word >> 22) & 3;
  const std::string_view name = kNames[opc * 4 + f.size];
  if (name.empty()) return "";
  const bool wide = opc == 2 || (opc < 2 && f.size == 3);
  const std::uint32_t imm9 = (f.word >> 12) & 0x1FF;
  const int offset = static_cast<int>(imm9) - (imm9 >= 0x100 ? 0x200 : 0);
  std::string suffix;
  if (offset != 0) {
    // Numbers above 9 in hexadecimal, as Capstone prints all others.
    const int magnitude = offset < 0 ? -offset : offset;
    const std::string digits =
        magnitude > 9 ? fmt::format("{:#x}", magnitude) : fmt::format("{}", magnitude);
    suffix = fmt::format(", #{}{}", offset < 0 ? "-" : "", digits);
  }
  return fmt::format("{} {}, [{}{}]", name, name_of(f.target, wide), base(f.address), suffix);
}

}  // namespace

std::string describe_memory_access(std::uint32_t word) {
  const Fields fields(word);
  if ((word & 0x3FA07C00U) == 0x08A07C00U) return compare_and_swap(fields);
  if ((word & 0xBFA07C00U) == 0x08207C00U) return compare_and_swap_pair(fields);
  if ((word & 0x3F200C00U) == 0x38200000U) return atomic_operation(fields);
  if ((word & 0x3F200C00U) == 0x38000800U) return unprivileged(fields);
  return "";
}

}  // namespace sealvisor::arch::arm64
