#include "arch/x86_64/instructions.h"

#include <array>

namespace sealvisor::arch::x86_64 {

namespace {

using Kind = InstructionFacts::Kind;

/// Legacy prefixes: Intel SDM vol. 2, 2.1.1.
constexpr bool is_prefix(std::uint8_t byte) {
  switch (byte) {
    case 0x26:
    case 0x2E:
    case 0x36:
    case 0x3E:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xF0:
    case 0xF2:
    case 0xF3:
      return true;
    default:
      return false;
  }
}

/// 0F 01: groups by ModRM (SDM vol. 2, table A-6, group 7; APM vol. 3, INVLPGA, INVLPGB).
InstructionFacts classify_group7(std::uint8_t modrm) {
  if ((modrm >> 6) != 3) {
    // /7 with a memory operand: invlpg.
    return ((modrm >> 3) & 7) == 7 ? InstructionFacts{Kind::TlbInvalidate} : InstructionFacts{};
  }
  switch (modrm) {
    case 0xC6:  // wrmsrns; with F3 wrmsrlist
      return {Kind::ControlRegister};
    case 0xDF:  // invlpga
    case 0xFE:  // invlpgb
      return {Kind::TlbInvalidate};
    default:
      return {};
  }
}

}  // namespace

InstructionFacts classify(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && is_prefix(bytes[at])) ++at;
  std::uint8_t rex = 0;
  // REX counts only directly before the opcode; of several the last one does (SDM vol. 2, 2.2.1).
  while (at < bytes.size() && (bytes[at] & 0xF0) == 0x40) rex = bytes[at++];
  if (bytes.size() - at < 2 || bytes[at] != 0x0F) return {};
  const std::uint8_t opcode = bytes[at + 1];
  // wrmsr, 0F 30, may write IA32_EFER (SDM vol. 2, WRMSR). It has no ModRM byte.
  if (opcode == 0x30) return {Kind::ControlRegister};
  if (bytes.size() - at < 3) return {};
  const std::uint8_t modrm = bytes[at + 2];
  switch (opcode) {
    case 0x22: {
      // 0F 22 /r, mov crN, r64; ModRM.mod is ignored (SDM vol. 2, MOV - Move to/from Control
      // Registers). With REX.R it is cr8 and up, none of which translates. LOCK in place of REX.R
      // (APM vol. 3) is not told apart.
      if ((rex & 4) != 0) return {};
      const unsigned control = (modrm >> 3) & 7U;
      const auto reg = static_cast<std::uint8_t>((modrm & 7) | ((rex & 1) << 3));
      if (control == 3) return {Kind::RootLoad, reg};
      if (control == 0 || control == 4) return {Kind::ControlRegister};
      return {};
    }
    case 0x01:
      return classify_group7(modrm);
    case 0x38:  // invpcid, 66 0F 38 82 /r (SDM vol. 2)
      return modrm == 0x82 ? InstructionFacts{Kind::TlbInvalidate} : InstructionFacts{};
    default:
      return {};
  }
}

std::string_view describe_system(std::span<const std::uint8_t> bytes) {
  struct Named {
    std::array<std::uint8_t, 4> bytes;
    std::size_t size;
    std::string_view name;
  };
  // ERETS and ERETU: Flexible Return and Event Delivery specification, 6; WRMSRNS and SERIALIZE:
  // SDM vol. 2; RDPKRU and WRPKRU: SDM vol. 2.
  static constexpr std::array<Named, 6> kNamed = {{{{0xF2, 0x0F, 0x01, 0xCA}, 4, "erets"},
                                                   {{0xF3, 0x0F, 0x01, 0xCA}, 4, "eretu"},
                                                   {{0x0F, 0x01, 0xC6}, 3, "wrmsrns"},
                                                   {{0x0F, 0x01, 0xE8}, 3, "serialize"},
                                                   {{0x0F, 0x01, 0xEE}, 3, "rdpkru"},
                                                   {{0x0F, 0x01, 0xEF}, 3, "wrpkru"}}};
  for (const Named& named : kNamed) {
    if (bytes.size() < named.size) continue;
    bool same = true;
    for (std::size_t i = 0; i < named.size; ++i) same = same && bytes[i] == named.bytes[i];
    if (same) return named.name;
  }
  return {};
}

}  // namespace sealvisor::arch::x86_64
