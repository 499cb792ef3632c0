#include "arch/arm64/frame_rule.h"

#include <array>

#include "arch/frame_walk.h"

namespace sealvisor::arch::arm64 {

namespace {

// Encodings: Arm ARM DDI 0487, chapter C4 and the instruction's page in C6.

using Next = FrameStep::Next;

constexpr unsigned kFp = 29;
constexpr unsigned kLr = 30;
constexpr unsigned kSp = 31;  // as a base, and in additions of immediates

constexpr std::uint32_t bits(std::uint32_t word, unsigned high, unsigned low) {
  return word >> low & ((std::uint32_t{2} << (high - low)) - 1);
}

/// The `width` low bits of `value`, sign-extended.
constexpr std::int64_t signed_bits(std::uint32_t value, unsigned width) {
  const std::int64_t sign = std::int64_t{1} << (width - 1);
  return (static_cast<std::int64_t>(value) ^ sign) - sign;
}

std::optional<std::uint32_t> word_at(const CodeReader& code, std::uint64_t address) {
  std::array<std::uint8_t, 4> bytes{};
  if (code.read(address, bytes) != bytes.size()) return std::nullopt;
  return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
         std::uint32_t{bytes[3]} << 24;
}

/// Register `number` of the general ones, if it is followed.
Symbolic* followed(FrameState& state, unsigned number) {
  if (number == kFp) return &state.fp;
  if (number == kLr) return &state.lr;
  return nullptr;
}

Symbolic* base_of(FrameState& state, unsigned number) {
  return number == kSp ? &state.sp : number == kFp ? &state.fp : nullptr;
}

Symbolic value_of(FrameState& state, unsigned number) {
  const Symbolic* const value = followed(state, number);
  return value == nullptr ? Symbolic{} : *value;
}

/// One register from or to [base + offset].
void access(FrameState& state, bool is_load, unsigned number, Symbolic base, std::int64_t offset) {
  if (!is_load) {
    store(state, base, offset, value_of(state, number));
  } else if (Symbolic* const target = followed(state, number)) {
    *target = load(state, base, offset);
  }
}

/// LDP, STP of 64-bit registers, in all their index forms. False: another instruction.
bool pair(std::uint32_t word, FrameState& state) {
  // opc 10, 101, V 0, index (001 post, 010 offset, 011 pre, 000 no-allocate), L.
  if (bits(word, 31, 25) != 0b1010100 || bits(word, 24, 23) > 3) return false;
  const bool is_load = bits(word, 22, 22) == 1;
  const std::int64_t offset = signed_bits(bits(word, 21, 15), 7) * 8;
  const bool post = bits(word, 24, 23) == 1;
  const bool pre = bits(word, 24, 23) == 3;
  const unsigned first = bits(word, 4, 0);
  const unsigned second = bits(word, 14, 10);
  Symbolic* const base = base_of(state, bits(word, 9, 5));
  const Symbolic at = base == nullptr ? Symbolic{} : *base;
  const std::int64_t from = post ? 0 : offset;
  if ((post || pre) && base != nullptr) *base = plus(at, offset);
  access(state, is_load, first, at, from);
  access(state, is_load, second, at, from + 8);
  return true;
}

/// LDR, STR of a 64-bit register: unsigned offset, pre- and post-index. False: another one.
bool single(std::uint32_t word, FrameState& state) {
  const unsigned number = bits(word, 4, 0);
  Symbolic* const base = base_of(state, bits(word, 9, 5));
  const Symbolic at = base == nullptr ? Symbolic{} : *base;
  if (bits(word, 31, 23) == 0b111110010) {  // 11 111 0 01 0 L
    access(state, bits(word, 22, 22) == 1, number, at, std::int64_t{bits(word, 21, 10)} * 8);
    return true;
  }
  const bool indexed = bits(word, 31, 23) == 0b111110000 && bits(word, 21, 21) == 0 &&
                       (bits(word, 11, 10) == 1 || bits(word, 11, 10) == 3);
  if (!indexed) return false;
  const std::int64_t offset = signed_bits(bits(word, 20, 12), 9);
  const bool post = bits(word, 11, 10) == 1;
  if (base != nullptr) *base = plus(at, offset);
  access(state, bits(word, 22, 22) == 1, number, at, post ? 0 : offset);
  return true;
}

/// ADD, SUB of an immediate, 64-bit, flags not set; MOV to and from SP is one. False: another one.
bool add_immediate(std::uint32_t word, FrameState& state) {
  if (bits(word, 31, 31) != 1 || bits(word, 29, 23) != 0b0100010) return false;
  const unsigned to = bits(word, 4, 0);
  const unsigned from = bits(word, 9, 5);
  const std::int64_t amount = std::int64_t{bits(word, 21, 10)}
                              << (bits(word, 22, 22) == 1 ? 12 : 0);
  const Symbolic* const source = base_of(state, from);
  const Symbolic value =
      source == nullptr ? Symbolic{} : plus(*source, bits(word, 30, 30) == 1 ? -amount : amount);
  if (to == kSp) state.sp = value;
  if (to == kFp) state.fp = value;
  if (to == kLr) state.lr = {};
  return true;
}

/// MOV of a register: ORR with the zero register, 64-bit. False: another one.
bool move_register(std::uint32_t word, FrameState& state) {
  if ((word & 0xFFE0'FFE0) != 0xAA00'03E0) return false;
  if (Symbolic* const target = followed(state, bits(word, 4, 0))) {
    *target = value_of(state, bits(word, 20, 16));
  }
  return true;
}

FrameStep step(const CodeReader& code, std::uint64_t pc, FrameState& state) {
  const auto read = word_at(code, pc);
  if (!read) return {};
  const std::uint32_t word = *read;
  FrameStep result{Next::Behind, 0, 4};
  const auto to = [&](std::int64_t words) {
    result.target = pc + static_cast<std::uint64_t>(words * 4);
  };
  switch (bits(word, 31, 26)) {
    case 0b000101:  // B
      result.next = Next::Jump;
      to(signed_bits(bits(word, 25, 0), 26));
      return result;
    case 0b100101:  // BL
      state.lr = {};
      return result;
    default:
      break;
  }
  if (bits(word, 31, 24) == 0x54 || bits(word, 30, 25) == 0b011010) {  // B.cond; CBZ, CBNZ
    result.next = Next::Branch;
    to(signed_bits(bits(word, 23, 5), 19));
    return result;
  }
  if (bits(word, 30, 25) == 0b011011) {  // TBZ, TBNZ
    result.next = Next::Branch;
    to(signed_bits(bits(word, 18, 5), 14));
    return result;
  }
  if (bits(word, 31, 25) == 0b1101011) {  // branches to registers
    switch (bits(word, 24, 21)) {
      case 0b0001:  // BLR
      case 0b1001:  // BLRAA, BLRAB
        state.lr = {};
        return result;
      case 0b0010:  // RET, RETAA, RETAB
        result.next = Next::Return;
        return result;
      case 0b0100:  // ERET, ERETAA, ERETAB
        result.next = Next::Leave;
        return result;
      default:  // BR, BRAA, ...
        result.next = Next::Indirect;
        return result;
    }
  }
  if (bits(word, 31, 24) == 0xD4 && bits(word, 4, 0) != 1) {  // BRK, HLT and the like; not SVC
    result.next = Next::Stop;
    return result;
  }
  if (word == 0) return {};  // UDF
  (void)(pair(word, state) || single(word, state) || add_immediate(word, state) ||
         move_register(word, state));
  return result;
}

FrameRule finish(const FrameState& state) {
  if (state.lr.kind == Symbolic::Kind::Unknown || state.sp.kind == Symbolic::Kind::Unknown) {
    return {};
  }
  return {FrameRule::End::Returns, state.lr, state.sp, state.fp};
}

}  // namespace

FrameRule frame_rule(const CodeReader& code, std::uint64_t pc) {
  return follow(
      code, pc, [&](std::uint64_t at, FrameState& state) { return step(code, at, state); }, finish);
}

bool follows_call(const CodeReader& code, std::uint64_t address) {
  const auto word = address < 4 ? std::nullopt : word_at(code, address - 4);
  if (!word) return false;
  return bits(*word, 31, 26) == 0b100101 ||
         (bits(*word, 31, 25) == 0b1101011 &&
          (bits(*word, 24, 21) == 0b0001 || bits(*word, 24, 21) == 0b1001));
}

}  // namespace sealvisor::arch::arm64
