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

/// What is left of `bytes` behind the prefixes, and the REX prefix that counts.
struct Opcode {
  std::span<const std::uint8_t> bytes;
  std::uint8_t rex = 0;
};

Opcode skip_prefixes(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && is_prefix(bytes[at])) ++at;
  std::uint8_t rex = 0;
  // REX counts only directly before the opcode; of several the last one does (SDM vol. 2, 2.2.1).
  while (at < bytes.size() && (bytes[at] & 0xF0) == 0x40) rex = bytes[at++];
  return {bytes.subspan(at), rex};
}

/// When an opcode writes no memory.
enum class Stores : std::uint8_t {
  Perhaps,        ///< Or nobody said that it does not.
  Never,          ///< Whatever its operands are.
  NotToRegister,  ///< Not if its ModRM operand (r/m) is a register.
};

/// A range of opcodes of one map.
struct Range {
  std::uint8_t first;
  std::uint8_t last;
  Stores stores;
};

// SDM vol. 2, appendix A, tables. Only what Linux runs often is listed: an opcode that
// is not listed counts as one that may store.
// Each comment belongs to its own row.
// clang-format off
constexpr auto kOneByte = std::to_array<Range>({
    {0x00, 0x01, Stores::NotToRegister},  // add
    {0x02, 0x05, Stores::Never},
    {0x08, 0x09, Stores::NotToRegister},  // or
    {0x0A, 0x0D, Stores::Never},
    {0x10, 0x11, Stores::NotToRegister},  // adc
    {0x12, 0x15, Stores::Never},
    {0x18, 0x19, Stores::NotToRegister},  // sbb
    {0x1A, 0x1D, Stores::Never},
    {0x20, 0x21, Stores::NotToRegister},  // and
    {0x22, 0x25, Stores::Never},
    {0x28, 0x29, Stores::NotToRegister},  // sub
    {0x2A, 0x2D, Stores::Never},
    {0x30, 0x31, Stores::NotToRegister},  // xor
    {0x32, 0x35, Stores::Never},
    {0x38, 0x3D, Stores::Never},          // cmp
    {0x58, 0x5F, Stores::Never},          // pop register
    {0x63, 0x63, Stores::Never},          // movsxd
    {0x69, 0x69, Stores::Never},          // imul
    {0x6B, 0x6B, Stores::Never},          // imul
    {0x70, 0x7F, Stores::Never},          // jcc
    {0x80, 0x81, Stores::NotToRegister},  // group 1
    {0x83, 0x83, Stores::NotToRegister},  // group 1
    {0x84, 0x85, Stores::Never},          // test
    {0x86, 0x89, Stores::NotToRegister},  // xchg, mov to r/m
    {0x8A, 0x8B, Stores::Never},          // mov from r/m
    {0x8D, 0x8D, Stores::Never},          // lea
    {0x90, 0x99, Stores::Never},          // nop, pause, xchg with rax, cbw, cwd
    {0xA8, 0xA9, Stores::Never},          // test
    {0xB0, 0xBF, Stores::Never},          // mov immediate to register
    {0xC0, 0xC1, Stores::NotToRegister},  // group 2: shifts
    {0xC2, 0xC3, Stores::Never},          // ret
    {0xC9, 0xC9, Stores::Never},          // leave
    {0xD0, 0xD3, Stores::NotToRegister},  // group 2: shifts
    {0xE9, 0xE9, Stores::Never},          // jmp
    {0xEB, 0xEB, Stores::Never},          // jmp
    {0xF6, 0xF7, Stores::NotToRegister},  // group 3: test, not, neg, mul, div
    {0xF8, 0xFD, Stores::Never},          // clc to std, among them cli and sti
});
// clang-format on
constexpr auto kTwoBytes = std::to_array<Range>({
    {0x1E, 0x1F, Stores::Never},          // nop, endbr64
    {0x40, 0x4F, Stores::Never},          // cmovcc
    {0x80, 0x8F, Stores::Never},          // jcc
    {0x90, 0x9F, Stores::NotToRegister},  // setcc
    {0xA3, 0xA3, Stores::Never},          // bt
    {0xAF, 0xAF, Stores::Never},          // imul
    {0xB6, 0xB7, Stores::Never},          // movzx
    {0xBA, 0xBA, Stores::NotToRegister},  // group 8: bt, bts, btr, btc
    {0xBC, 0xBF, Stores::Never},          // bsf, bsr, tzcnt, lzcnt, movsx
    {0xC8, 0xCF, Stores::Never},          // bswap
});

template <std::size_t N>
constexpr std::array<Stores, 256> spread(const std::array<Range, N>& ranges) {
  std::array<Stores, 256> map{};
  for (const Range& range : ranges) {
    for (unsigned opcode = range.first; opcode <= range.last; ++opcode) map[opcode] = range.stores;
  }
  return map;
}

constexpr std::array<Stores, 256> kOneByteMap = spread(kOneByte);
constexpr std::array<Stores, 256> kTwoByteMap = spread(kTwoBytes);

}  // namespace

bool never_stores(std::span<const std::uint8_t> bytes) {
  std::span<const std::uint8_t> rest = skip_prefixes(bytes).bytes;
  if (rest.empty()) return false;
  const bool two_bytes = rest[0] == 0x0F;
  if (two_bytes) rest = rest.subspan(1);
  if (rest.empty()) return false;
  switch ((two_bytes ? kTwoByteMap : kOneByteMap)[rest[0]]) {
    case Stores::Never:
      return true;
    case Stores::NotToRegister:
      return rest.size() > 1 && (rest[1] >> 6) == 3;
    case Stores::Perhaps:
      break;
  }
  return false;
}

InstructionFacts classify(std::span<const std::uint8_t> bytes) {
  const auto [rest, rex] = skip_prefixes(bytes);
  if (rest.size() < 2 || rest[0] != 0x0F) return {};
  const std::uint8_t opcode = rest[1];
  // wrmsr, 0F 30, may write IA32_EFER (SDM vol. 2, WRMSR). It has no ModRM byte.
  if (opcode == 0x30) return {Kind::ControlRegister};
  if (rest.size() < 3) return {};
  const std::uint8_t modrm = rest[2];
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

SystemName describe_system(std::span<const std::uint8_t> bytes) {
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
    if (same) return {named.size, named.name};
  }
  return {};
}

}  // namespace sealvisor::arch::x86_64
