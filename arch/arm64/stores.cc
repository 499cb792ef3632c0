#include "arch/arm64/stores.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "arch/arm64/bits.h"
#include "arch/arm64/pstate.h"

// Encodings: Arm ARM DDI 0487, "Loads and Stores", by the names of its tables. L (or opc) is a
// store's in all of them; a load is unknown here.

namespace sealvisor::arch::arm64 {

namespace {

constexpr std::uint8_t kSpOrZero = 31;
constexpr std::size_t kMostRegisters = 4;
constexpr std::uint32_t kInstructionBytes = 4;

enum class Operation : std::uint8_t {
  Store,
  // The atomics in the order of their opc field.
  Add,
  Clear,
  ExclusiveOr,
  Set,
  SignedMax,
  SignedMin,
  UnsignedMax,
  UnsignedMin,
  Swap,
  CompareAndSwap,
  ZeroBlock,
};

/// An instruction with its offsets made out.
struct Instruction {
  Operation operation = Operation::Store;
  unsigned bytes = 0;  ///< Of each register, or of the block.
  unsigned count = 1;  ///< Registers.
  bool vectors = false;
  bool aligned = false;                               ///< Only at a multiple of bytes * count.
  std::array<std::uint8_t, kMostRegisters> source{};  ///< What is stored, or the operand.
  /// Get what memory held; of a compare-and-swap they have what it is compared with.
  std::array<std::uint8_t, 2> result{kSpOrZero, kSpOrZero};
  std::uint8_t base = 0;
  std::uint64_t offset = 0;                  ///< Added to the base for the address.
  std::optional<std::uint64_t> increment{};  ///< Added to the base for its writeback.

  [[nodiscard]] std::size_t size() const { return std::size_t{bytes} * count; }
};

constexpr std::uint32_t field(std::uint32_t word, unsigned high, unsigned low) {
  return word >> low & ((1U << (high - low + 1)) - 1);
}

constexpr bool bit(std::uint32_t word, unsigned number) { return (word >> number & 1) != 0; }

constexpr std::uint8_t reg(std::uint32_t word, unsigned low) {
  return static_cast<std::uint8_t>(field(word, low + 4, low));
}

constexpr std::uint64_t low_bits(std::uint64_t value, unsigned bytes) {
  return bytes >= 8 ? value : value & ((std::uint64_t{1} << (8 * bytes)) - 1);
}

/// Precondition: 1 to 64 bits.
constexpr std::uint64_t sign_extended(std::uint64_t value, unsigned bits) {
  const std::uint64_t sign = std::uint64_t{1} << (bits - 1);
  const std::uint64_t kept = value & ((sign - 1) | sign);
  return (kept ^ sign) - sign;
}

/// Register 31 as data is XZR.
std::uint64_t general(const StoreRegisters& registers, unsigned number) {
  return number < registers.x.size() ? registers.x[number] : 0;
}

void set_general(StoreRegisters& registers, unsigned number, std::uint64_t value) {
  if (number < registers.x.size()) registers.x[number] = value;
}

/// Register 31 as base is SP.
std::uint64_t& base_of(StoreRegisters& registers, unsigned number) {
  return number < registers.x.size() ? registers.x[number] : registers.sp;
}

/// Little-endian, at most 8 bytes.
std::uint64_t number_in(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return value;
}

void put_number(std::span<std::byte> bytes, std::uint64_t value) {
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(value);
    value >>= 8;
  }
}

/// Index forms 01 (post) and 11 (pre) of register and pair write the base back. Constrained
/// unpredictable if it is also stored (Arm ARM, "STR (immediate)" and "STP"), unless it is SP, for
/// 31 is then XZR as data.
std::optional<Instruction> with_index(Instruction instruction, std::uint32_t form,
                                      std::uint64_t offset) {
  const bool post = form == 1;
  if (!post) instruction.offset = offset;
  if (!post && form != 3) return instruction;
  const auto first = instruction.source.begin();
  const bool overlaps =
      !instruction.vectors && instruction.base != kSpOrZero &&
      std::find(first, first + instruction.count, instruction.base) != first + instruction.count;
  if (overlaps) return std::nullopt;
  instruction.increment = offset;
  return instruction;
}

/// "Load/store register pair" and "Load/store no-allocate pair":
/// opc:2 101 V 0 form:2 L imm7 Rt2 Rn Rt.
std::optional<Instruction> decode_pair(std::uint32_t word) {
  const std::uint32_t opc = field(word, 31, 30);
  Instruction pair;
  pair.vectors = bit(word, 26);
  pair.count = 2;
  pair.source = {reg(word, 0), reg(word, 10)};
  pair.base = reg(word, 5);
  // V = 1: S, D, Q. V = 0: W and X; 01 is STGP and loads, 11 nothing.
  if (opc == 3 || (!pair.vectors && opc == 1)) return std::nullopt;
  pair.bytes = pair.vectors ? 4U << opc : (opc == 2 ? 8U : 4U);
  const std::uint64_t offset = sign_extended(field(word, 21, 15), 7) * pair.bytes;
  return with_index(pair, field(word, 24, 23), offset);
}

/// "Load/store register (register offset)": option:3 S 10 in bits 15:10.
std::optional<std::uint64_t> register_offset(std::uint32_t word, unsigned shift,
                                             const StoreRegisters& registers) {
  const std::uint64_t value = general(registers, reg(word, 16));
  const unsigned amount = bit(word, 12) ? shift : 0;
  switch (field(word, 15, 13)) {
    case 0b010:  // UXTW
      return low_bits(value, 4) << amount;
    case 0b110:  // SXTW
      return sign_extended(value, 32) << amount;
    case 0b011:  // LSL
    case 0b111:  // SXTX
      return value << amount;
    default:
      return std::nullopt;
  }
}

/// "Atomic memory operations": size:2 111 0 00 A R 1 Rs o3 opc:3 00 Rn Rt.
std::optional<Instruction> decode_atomic(std::uint32_t word) {
  const std::uint32_t code = field(word, 15, 12);
  if (bit(word, 26) || code > 8) return std::nullopt;
  Instruction atomic;
  atomic.operation = static_cast<Operation>(static_cast<std::uint32_t>(Operation::Add) + code);
  atomic.bytes = 1U << field(word, 31, 30);
  atomic.aligned = true;
  atomic.source[0] = reg(word, 16);
  atomic.result[0] = reg(word, 0);
  atomic.base = reg(word, 5);
  return atomic;
}

/// The others of "size:2 111 V 0 x": one register.
std::optional<Instruction> decode_register(std::uint32_t word, const StoreRegisters& registers) {
  const bool unsigned_offset = bit(word, 24);
  const std::uint32_t form = field(word, 11, 10);
  if (!unsigned_offset && bit(word, 21) && form == 0) return decode_atomic(word);
  Instruction store;
  store.vectors = bit(word, 26);
  store.source[0] = reg(word, 0);
  store.base = reg(word, 5);
  const std::uint32_t size = field(word, 31, 30);
  const std::uint32_t opc = field(word, 23, 22);
  const bool quad = store.vectors && size == 0 && opc == 2;
  if (opc != 0 && !quad) return std::nullopt;
  const unsigned shift = quad ? 4 : size;
  store.bytes = 1U << shift;
  if (unsigned_offset) {
    store.offset = std::uint64_t{field(word, 21, 10)} << shift;
    return store;
  }
  if (bit(word, 21)) {
    // Bits 11:10: 10 is a register offset, x1 are loads with pointer authentication.
    const auto offset = form == 2 ? register_offset(word, shift, registers) : std::nullopt;
    if (!offset) return std::nullopt;
    store.offset = *offset;
    return store;
  }
  // 00 unscaled, 01 post-index, 10 unprivileged (not of SIMD&FP registers), 11 pre-index.
  if (form == 2 && store.vectors) return std::nullopt;
  return with_index(store, form, sign_extended(field(word, 20, 12), 9));
}

/// "Compare and swap" and "Compare and swap pair": size:2 001000 o2 L 1 Rs o0 11111 Rn Rt.
std::optional<Instruction> decode_compare(std::uint32_t word) {
  Instruction compare;
  compare.operation = Operation::CompareAndSwap;
  compare.aligned = true;
  compare.source[0] = reg(word, 0);
  compare.result[0] = reg(word, 16);
  compare.base = reg(word, 5);
  if (bit(word, 23)) {
    compare.bytes = 1U << field(word, 31, 30);
    return compare;
  }
  // A pair has an even first register; the one after x30 is XZR. Bit 31 makes it STXP or LDXP.
  if (bit(word, 31) || compare.source[0] % 2 != 0 || compare.result[0] % 2 != 0) {
    return std::nullopt;
  }
  compare.bytes = bit(word, 30) ? 8 : 4;
  compare.count = 2;
  compare.source[1] = static_cast<std::uint8_t>(compare.source[0] + 1);
  compare.result[1] = static_cast<std::uint8_t>(compare.result[0] + 1);
  return compare;
}

/// "Load/store ordered": size:2 001000 1 0 0 11111 o0 11111 Rn Rt: STLR, with o0 = 0 STLLR.
std::optional<Instruction> decode_ordered(std::uint32_t word) {
  // Rt2 of all that is done here.
  if (reg(word, 10) != 31) return std::nullopt;
  if (bit(word, 21)) return decode_compare(word);
  if (field(word, 23, 22) != 2 || reg(word, 16) != 31) return std::nullopt;
  Instruction store;
  store.aligned = true;
  store.bytes = 1U << field(word, 31, 30);
  store.source[0] = reg(word, 0);
  store.base = reg(word, 5);
  return store;
}

/// "Load/store multiple structures" and its post-indexed form:
/// 0 Q 001100 post L 0 Rm opcode:4 size:2 Rn Rt.
std::optional<Instruction> decode_structures(std::uint32_t word, const StoreRegisters& registers) {
  const bool post = bit(word, 23);
  const std::uint8_t index = reg(word, 16);
  if (bit(word, 22) || bit(word, 21) || (!post && index != 0)) return std::nullopt;
  Instruction store;
  switch (field(word, 15, 12)) {
    case 0b0111:
      store.count = 1;
      break;
    case 0b1010:
      store.count = 2;
      break;
    case 0b0110:
      store.count = 3;
      break;
    case 0b0010:
      store.count = 4;
      break;
    default:
      return std::nullopt;
  }
  store.vectors = true;
  store.bytes = bit(word, 30) ? 16 : 8;
  for (std::size_t i = 0; i < store.count; ++i) {
    store.source[i] = static_cast<std::uint8_t>((reg(word, 0) + i) % 32);
  }
  store.base = reg(word, 5);
  if (post) store.increment = index == 31 ? store.size() : general(registers, index);
  return store;
}

/// DC ZVA, which is SYS #3, C7, C4, #1, Xt.
constexpr std::uint32_t kZeroBlock = 0xD50B7420U;
constexpr bool is_zero_block(std::uint32_t word) { return (word & ~0x1FU) == kZeroBlock; }

std::optional<Instruction> decode_zero_block(std::uint32_t word, const StoreRegisters& registers,
                                             std::uint64_t dczid) {
  const std::uint64_t power = dczid & 0xF;
  // At most 2 KiB: Arm ARM, "DCZID_EL0", BS.
  if ((dczid >> 4 & 1) != 0 || power > 9) return std::nullopt;
  Instruction zero;
  zero.operation = Operation::ZeroBlock;
  zero.bytes = 4U << power;
  // Its address is Xt, which 31 makes XZR, down to a multiple of the block: not a base register.
  zero.base = kSpOrZero;
  zero.offset =
      (general(registers, reg(word, 0)) & ~(std::uint64_t{zero.bytes} - 1)) - registers.sp;
  return zero;
}

std::optional<Instruction> decode(std::uint32_t word, const StoreRegisters& registers,
                                  const StoreEnvironment& environment) {
  if (is_zero_block(word)) return decode_zero_block(word, registers, environment.dczid_el0);
  if ((word & 0x3A400000U) == 0x28000000U) return decode_pair(word);
  if ((word & 0x3A000000U) == 0x38000000U) return decode_register(word, registers);
  if ((word & 0x3F000000U) == 0x08000000U) return decode_ordered(word);
  if ((word & 0xBF000000U) == 0x0C000000U) return decode_structures(word, registers);
  return std::nullopt;
}

UnknownStore unknown(const std::string& what, const char* why) {
  return {"arm64 store emulation: " + what + ": " + why};
}

std::string name_of(std::uint32_t word) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name = "instruction 0x";
  for (unsigned shift = 32; shift > 0; shift -= 4) name += kDigits[word >> (shift - 4) & 0xF];
  return name;
}

/// Why nothing can be done whatever the instruction is; nullptr: it can.
const char* refusal(std::uint64_t pstate, std::uint64_t sctlr) {
  if ((pstate & kMode32) != 0) return "the guest is in AArch32, expected AArch64";
  const bool user = (pstate & kModeMask) == kModeEl0;
  if ((sctlr & (user ? kSctlrUserBigEndian : kSctlrBigEndian)) != 0) {
    return "the guest's data is big-endian, expected little-endian";
  }
  return nullptr;
}

/// Why memory can't be accessed there; nullptr: it can.
const char* refusal(Gva gva, std::size_t size, bool aligned) {
  if (aligned && gva.value % size != 0) return "its address is not a multiple of its size";
  if (gva.value > std::numeric_limits<std::uint64_t>::max() - (size - 1)) {
    return "its range wraps to address 0";
  }
  return nullptr;
}

/// What an atomic leaves in memory, by its lowest `bytes` bytes.
std::uint64_t combine(Operation operation, std::uint64_t old, std::uint64_t operand,
                      unsigned bytes) {
  // Biased by the sign bit, signed numbers compare as unsigned ones.
  const std::uint64_t sign = std::uint64_t{1} << (8 * bytes - 1);
  const bool below = old < operand;
  const bool signed_below = (old ^ sign) < (operand ^ sign);
  switch (operation) {
    case Operation::Add:
      return old + operand;
    case Operation::Clear:
      return old & ~operand;
    case Operation::ExclusiveOr:
      return old ^ operand;
    case Operation::Set:
      return old | operand;
    case Operation::SignedMax:
      return signed_below ? operand : old;
    case Operation::SignedMin:
      return signed_below ? old : operand;
    case Operation::UnsignedMax:
      return below ? operand : old;
    case Operation::UnsignedMin:
      return below ? old : operand;
    default:
      return operand;
  }
}

/// Memory after the instruction, if it writes.
std::vector<std::byte> stored(const Instruction& instruction, const StoreRegisters& registers,
                              std::span<const std::byte> before) {
  std::vector<std::byte> after(before.size());
  if (instruction.operation == Operation::ZeroBlock) return after;
  for (std::size_t i = 0; i < instruction.count; ++i) {
    const std::size_t at = i * instruction.bytes;
    const auto part = std::span(after).subspan(at, instruction.bytes);
    if (instruction.vectors) {
      const Vector128& vector = registers.v[instruction.source[i]];
      std::copy_n(vector.begin(), instruction.bytes, part.begin());
      continue;
    }
    const std::uint64_t operand =
        low_bits(general(registers, instruction.source[i]), instruction.bytes);
    const std::uint64_t old = number_in(before.subspan(at, instruction.bytes));
    put_number(part, combine(instruction.operation, old, operand, instruction.bytes));
  }
  return after;
}

/// Whether memory holds what a compare-and-swap compares with.
bool matches(const Instruction& instruction, const StoreRegisters& registers,
             std::span<const std::byte> before) {
  for (std::size_t i = 0; i < instruction.count; ++i) {
    const std::uint64_t found = number_in(before.subspan(i * instruction.bytes, instruction.bytes));
    const std::uint64_t wanted =
        low_bits(general(registers, instruction.result[i]), instruction.bytes);
    if (found != wanted) return false;
  }
  return true;
}

/// Registers that get what memory held: of all but plain stores.
void load_results(const Instruction& instruction, StoreRegisters& registers,
                  std::span<const std::byte> before) {
  if (instruction.operation == Operation::Store || instruction.operation == Operation::ZeroBlock) {
    return;
  }
  for (std::size_t i = 0; i < instruction.count; ++i) {
    set_general(registers, instruction.result[i],
                number_in(before.subspan(i * instruction.bytes, instruction.bytes)));
  }
}

void complete(StoreRegisters& registers) {
  registers.pc += kInstructionBytes;
  registers.pstate &= ~(kBranchType | kSoftwareStep);
}

Result<std::vector<std::byte>> read_range(StoreMemory& memory, Gva gva, std::size_t size) {
  std::vector<std::byte> bytes(size);
  if (const Status status = memory.read(gva, bytes); !status) return status.error();
  return bytes;
}

}  // namespace

Result<StoreOutcome> emulate_store(std::uint32_t word, StoreRegisters& registers,
                                   StoreMemory& memory, const StoreEnvironment& environment) {
  if (const char* why = refusal(registers.pstate, environment.sctlr_el1)) {
    return StoreOutcome{unknown(name_of(word), why)};
  }
  const auto instruction = decode(word, registers, environment);
  if (!instruction) return StoreOutcome{unknown(name_of(word), "not a store that is done here")};
  std::uint64_t& base = base_of(registers, instruction->base);
  const Gva gva{base + instruction->offset};
  if (const char* why = refusal(gva, instruction->size(), instruction->aligned)) {
    return StoreOutcome{unknown(name_of(word), why)};
  }
  auto before = read_range(memory, gva, instruction->size());
  if (!before) return before.error();
  Store store{.gva = gva, .before = std::move(before).value(), .after = {}, .written = false};
  const bool writes = instruction->operation != Operation::CompareAndSwap ||
                      matches(*instruction, registers, store.before);
  store.after = writes ? stored(*instruction, registers, store.before) : store.before;
  if (writes) {
    if (const Status status = memory.write(gva, store.after); !status) return status.error();
  }
  store.written = writes;
  load_results(*instruction, registers, store.before);
  if (instruction->increment) base += *instruction->increment;
  complete(registers);
  return StoreOutcome{std::move(store)};
}

// Exclusives. "Load/store exclusive register": size:2 001000 0 L 0 Rs o0 11111 Rn Rt; o0 is that of
// STLXR and LDAXR, Rs of a load is 11111.

std::optional<ExclusiveStore> decode_exclusive_store(std::uint32_t word) {
  const bool pair = (word & 0xBFE00000U) == 0x88200000U;
  if (!pair && (word & 0x3FE07C00U) != 0x08007C00U) return std::nullopt;
  const ExclusiveStore store{.size = 1U << field(word, 31, 30),
                             .status_register = reg(word, 16),
                             .data_register = reg(word, 0),
                             .base_register = reg(word, 5),
                             .second_register = pair ? reg(word, 10) : kNoRegister};
  const bool status_is_base =
      store.status_register == store.base_register && store.base_register != kSpOrZero;
  const bool status_is_data = store.status_register == store.data_register ||
                              store.status_register == store.second_register;
  if (status_is_data || status_is_base) return std::nullopt;
  return store;
}

namespace {

/// What an instruction between load and store exclusive may do.
struct Between {
  static constexpr unsigned kNone = 32;
  bool harmless = false;
  unsigned destination = kNone;  ///< The general register, or 31: XZR or SP.
};

/// "Data Processing -- Immediate": op0 in 28:23. The destination is Rd in all of them, except that
/// 30:29 = 11 of the last (AUTIASPPC, FEAT_PAuth_LR) writes the link register.
Between data_immediate(std::uint32_t word) {
  if (field(word, 28, 23) == 0b100111 && field(word, 30, 29) != 0) return {};
  return {true, reg(word, 0)};
}

/// "Data Processing -- Register": op1 in 28, op2 in 24:21.
Between data_register(std::uint32_t word) {
  const Between writes{true, reg(word, 0)};
  // Logical, and add and subtract; conditional select; three sources.
  if (!bit(word, 28) || bit(word, 24)) return writes;
  switch (field(word, 24, 21)) {
    case 0b0010:  // Conditional compare has flags in the place of Rd.
      return {true, Between::kNone};
    case 0b0100:
      return writes;
    case 0b0110:
      // Two sources; of one source those without pointer authentication, which may write x17 or
      // the link register: "Data-processing (1 source)", opcode2 0.
      if (!bit(word, 30) || reg(word, 16) == 0) return writes;
      return {};
    default:
      return {};
  }
}

/// "Conditional branch (immediate)" and "Compare and branch (immediate)": imm19 in 23:5, in words.
Between branch(std::uint32_t word, std::size_t words_to_store) {
  const bool known = (word & 0xFF000010U) == 0x54000000U || (word & 0x7E000000U) == 0x34000000U;
  const bool forward = !bit(word, 23);
  return {known && forward && field(word, 22, 5) > words_to_store, Between::kNone};
}

/// Top-level encodings by op0, bits 28:25: Arm ARM, "A64 instruction set encoding". What is not
/// recognised is not harmless: system instructions may write x16, x17 or x30 (hints of pointer
/// authentication), SIMD&FP ones move to general registers.
Between classify_between(std::uint32_t word, std::size_t words_to_store) {
  constexpr std::uint32_t kNop = 0xD503201FU;
  if (word == kNop) return {true, Between::kNone};
  switch (field(word, 28, 25)) {
    case 0b1000:
    case 0b1001:
      return data_immediate(word);
    case 0b0101:
    case 0b1101:
      return data_register(word);
    case 0b1010:
    case 0b1011:
      return branch(word, words_to_store);
    default:
      return {};
  }
}

/// LDXP, LDAXP: as a store of a pair, with L.
bool is_exclusive_pair_load(std::uint32_t word) { return (word & 0xBFFF0000U) == 0x887F0000U; }

bool is_exclusive_load(std::uint32_t word) {
  return (word & 0x3FFF7C00U) == 0x085F7C00U || is_exclusive_pair_load(word);
}

/// What the load exclusive `word` loaded, if it is the one of `exclusive` and `overwritten`, a bit
/// for each register, leaves it and the base as they were.
std::optional<LoadedRegisters> loaded_by(std::uint32_t word, const ExclusiveStore& exclusive,
                                         std::uint64_t overwritten) {
  const bool pair = is_exclusive_pair_load(word);
  const LoadedRegisters loaded{reg(word, 0), pair ? reg(word, 10) : kNoRegister};
  const auto gone = [&](unsigned number) { return (overwritten >> number & 1) != 0; };
  const auto usable = [&](unsigned number) {
    return !gone(number) && number != kSpOrZero && number != exclusive.base_register &&
           number != exclusive.data_register && number != exclusive.second_register;
  };
  const bool fits = 1U << field(word, 31, 30) == exclusive.size &&
                    reg(word, 5) == exclusive.base_register &&
                    pair == (exclusive.second_register != kNoRegister);
  const bool both = !pair || (usable(loaded.second) && loaded.second != loaded.first);
  if (!fits || gone(exclusive.base_register) || !usable(loaded.first) || !both) {
    return std::nullopt;
  }
  return loaded;
}

}  // namespace

std::optional<LoadedRegisters> loaded_value_registers(std::span<const std::uint32_t> before,
                                                      const ExclusiveStore& exclusive) {
  // Registers that were overwritten after the word that is looked at.
  std::uint64_t overwritten = 0;
  for (std::size_t back = 1; back <= std::min(before.size(), kMostBefore); ++back) {
    const std::uint32_t word = before[before.size() - back];
    if (is_exclusive_load(word)) return loaded_by(word, exclusive, overwritten);
    const Between between = classify_between(word, back);
    if (!between.harmless) return std::nullopt;
    overwritten |= std::uint64_t{1} << between.destination;
  }
  return std::nullopt;
}

Result<StoreOutcome> emulate_exclusive_store(const ExclusiveStore& exclusive,
                                             const LoadedRegisters& loaded,
                                             StoreRegisters& registers, StoreMemory& memory,
                                             const StoreEnvironment& environment) {
  const bool pair = exclusive.second_register != kNoRegister;
  const unsigned bytes = exclusive.size * (pair ? 2 : 1);
  const std::string name = "store exclusive of " + std::to_string(bytes) + " bytes";
  if (const char* why = refusal(registers.pstate, environment.sctlr_el1)) {
    return StoreOutcome{unknown(name, why)};
  }
  const Gva gva{base_of(registers, exclusive.base_register)};
  if (const char* why = refusal(gva, bytes, true)) {
    return StoreOutcome{unknown(name, why)};
  }
  auto before = read_range(memory, gva, bytes);
  if (!before) return before.error();
  Store store{.gva = gva, .before = before.value(), .after = before.value(), .written = false};
  // All 64 bits: a register whose upper ones are not 0 does not come from a shorter load.
  const auto part = [&](auto& all, unsigned number) {
    return std::span(all).subspan(std::size_t{number} * exclusive.size, exclusive.size);
  };
  const auto held = [&](unsigned number, unsigned in) {
    return number_in(part(store.before, number)) == general(registers, in);
  };
  const bool holds = held(0, loaded.first) && (!pair || held(1, loaded.second));
  if (holds) {
    put_number(part(store.after, 0), general(registers, exclusive.data_register));
    if (pair) put_number(part(store.after, 1), general(registers, exclusive.second_register));
    if (const Status status = memory.write(gva, store.after); !status) return status.error();
  }
  store.written = holds;
  set_general(registers, exclusive.status_register, holds ? 0 : 1);
  complete(registers);
  return StoreOutcome{std::move(store)};
}

}  // namespace sealvisor::arch::arm64
