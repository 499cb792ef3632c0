// Encodings are those of GNU as 2.40 for the text beside them.
#include "arch/arm64/stores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>

#include "arch/arm64/bits.h"
#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kMemory = 0x20000;
constexpr std::size_t kMemoryBytes = 0x2000;
constexpr std::uint64_t kBase = 0x20400;   // x2
constexpr std::uint64_t kStack = 0x20800;  // sp
constexpr std::uint64_t kX1 = 0x1122334455667788;
constexpr std::uint64_t kX3 = 0x10;
constexpr std::uint64_t kOld = 0xA5A5A5A5A5A5A5A5;  // What memory holds everywhere.
constexpr std::byte kOldByte{0xA5};
constexpr std::uint64_t kPc = 0xFFFF800080011E00;
constexpr StoreEnvironment kEnvironment{.sctlr_el1 = 0x3054D91D & ~(3ULL << 24), .dczid_el0 = 4};
const Error kAbsent{ExitCode::GuestFailed, "there is no memory"};

class Memory : public StoreMemory {
 public:
  Status read(Gva gva, std::span<std::byte> bytes) override {
    ++reads;
    if (!holds(gva, bytes.size()) || fail_reads) return kAbsent;
    std::copy_n(content.begin() + offset(gva), bytes.size(), bytes.begin());
    return {};
  }
  Status write(Gva gva, std::span<const std::byte> bytes) override {
    ++writes;
    if (!holds(gva, bytes.size()) || fail_writes) return kAbsent;
    std::copy(bytes.begin(), bytes.end(), content.begin() + offset(gva));
    return {};
  }

  Bytes content = Bytes(kMemoryBytes, kOldByte);
  bool fail_reads = false;
  bool fail_writes = false;
  unsigned reads = 0;
  unsigned writes = 0;

 private:
  [[nodiscard]] static bool holds(Gva gva, std::size_t size) {
    return gva.value >= kMemory && gva.value - kMemory <= kMemoryBytes - size;
  }
  [[nodiscard]] static std::ptrdiff_t offset(Gva gva) {
    return static_cast<std::ptrdiff_t>(gva.value - kMemory);
  }
};

Bytes little(std::uint64_t value, std::size_t size) {
  Bytes bytes;
  for (std::size_t i = 0; i < size; ++i) {
    bytes.push_back(i < sizeof value ? static_cast<std::byte>(value >> (8 * i)) : std::byte{});
  }
  return bytes;
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::byte vector_byte(std::size_t number, std::size_t index) {
  return static_cast<std::byte>(number << 4 | index);
}

/// The first bytes of a vector register.
Bytes vector(std::size_t number, std::size_t size) {
  Bytes bytes;
  for (std::size_t i = 0; i < size; ++i) bytes.push_back(vector_byte(number, i));
  return bytes;
}

StoreRegisters registers_at_start() {
  StoreRegisters registers;
  for (std::size_t i = 0; i < 31; ++i) registers.x[i] = i * 0x0101010101010101;
  registers.x[1] = kX1;
  registers.x[2] = kBase;
  registers.x[3] = kX3;
  registers.sp = kStack;
  registers.pc = kPc;
  registers.pstate = kModeEl1h;
  for (std::size_t i = 0; i < 32; ++i) {
    for (std::size_t j = 0; j < 16; ++j) registers.v[i][j] = vector_byte(i, j);
  }
  return registers;
}

constexpr unsigned kSp = 31;
using Values = std::map<unsigned, std::uint64_t>;

void assign(StoreRegisters& registers, const Values& values) {
  for (const auto& [number, value] : values) {
    (number == kSp ? registers.sp : registers.x[number]) = value;
  }
}

struct StoreCase {
  std::uint32_t word = 0;
  const char* text = "";
  std::uint64_t gva = 0;
  Bytes after{};
  Values changed{};    ///< Registers after it, where they are others than before.
  Values given{};      ///< Registers that begin otherwise.
  bool writes = true;  ///< Else `after` is only as long as what was read.
};

// clang-format off
const std::vector<StoreCase>& cases() {
  static const std::vector<StoreCase> kCases = {
    // One general register: unsigned offset.
    {0xF9000441, "str x1, [x2, #8]", kBase + 8, little(kX1, 8)},
    {0xB90FFC41, "str w1, [x2, #4092]", kBase + 4092, little(0x55667788, 4)},
    {0x390007E1, "strb w1, [sp, #1]", kStack + 1, little(0x88, 1)},
    {0x79000443, "strh w3, [x2, #2]", kBase + 2, little(0x10, 2)},
    {0xF9000BFF, "str xzr, [sp, #16]", kStack + 16, little(0, 8)},
    {0xF9000042, "str x2, [x2]", kBase, little(kBase, 8)},
    // Unscaled and unprivileged.
    {0xF81F9041, "stur x1, [x2, #-7]", kBase - 7, little(kX1, 8)},
    {0xB80FF041, "stur w1, [x2, #255]", kBase + 255, little(kX1, 4)},
    {0x38100041, "sturb w1, [x2, #-256]", kBase - 256, little(kX1, 1)},
    {0x78003041, "sturh w1, [x2, #3]", kBase + 3, little(kX1, 2)},
    {0xF81F8841, "sttr x1, [x2, #-8]", kBase - 8, little(kX1, 8)},
    {0xB8008841, "sttr w1, [x2, #8]", kBase + 8, little(kX1, 4)},
    {0x38001841, "sttrb w1, [x2, #1]", kBase + 1, little(kX1, 1)},
    {0x78001841, "sttrh w1, [x2, #1]", kBase + 1, little(kX1, 2)},
    // Post-index and pre-index.
    {0xF81F0441, "str x1, [x2], #-16", kBase, little(kX1, 8), {{2, kBase - 16}}},
    {0xF80107E1, "str x1, [sp], #16", kStack, little(kX1, 8), {{kSp, kStack + 16}}},
    {0xB81FCC41, "str w1, [x2, #-4]!", kBase - 4, little(kX1, 4), {{2, kBase - 4}}},
    {0xF81F0FFE, "str x30, [sp, #-16]!", kStack - 16, little(0x1E1E1E1E1E1E1E1E, 8), {{kSp, kStack - 16}}},
    {0x38001441, "strb w1, [x2], #1", kBase, little(kX1, 1), {{2, kBase + 1}}},
    {0x78002C41, "strh w1, [x2, #2]!", kBase + 2, little(kX1, 2), {{2, kBase + 2}}},
    {0xF800845F, "str xzr, [x2], #8", kBase, little(0, 8), {{2, kBase + 8}}},
    // 31 is SP and XZR, which are two.
    {0xF80107FF, "str xzr, [sp], #16", kStack, little(0, 8), {{kSp, kStack + 16}}},
    // Register offset.
    {0xF8236841, "str x1, [x2, x3]", kBase + 0x10, little(kX1, 8)},
    {0xF8237841, "str x1, [x2, x3, lsl #3]", kBase + 0x80, little(kX1, 8)},
    {0xB8234841, "str w1, [x2, w3, uxtw]", kBase + 4, little(kX1, 4), {}, {{3, 0xFFFFFFFF00000004}}},
    {0xB8235841, "str w1, [x2, w3, uxtw #2]", kBase + 16, little(kX1, 4), {}, {{3, 0xFFFFFFFF00000004}}},
    {0xB8235841, "str w1, [x2, w3, uxtw #2]", 0x20400, little(kX1, 4), {}, {{2, 0x20400 - 0x3FFFFFFFCULL}, {3, 0xFFFFFFFF}}},
    {0xF823D841, "str x1, [x2, w3, sxtw #3]", kBase - 32, little(kX1, 8), {}, {{3, 0x12345678FFFFFFFC}}},
    {0x3823C841, "strb w1, [x2, w3, sxtw]", kBase - 1, little(kX1, 1), {}, {{3, 0xFFFFFFFF}}},
    {0x78237BE1, "strh w1, [sp, x3, lsl #1]", kStack + 0x20, little(kX1, 2)},
    {0xF823E841, "str x1, [x2, x3, sxtx]", kBase - 5, little(kX1, 8), {}, {{3, ~4ULL}}},
    {0xF83F6841, "str x1, [x2, xzr]", kBase, little(kX1, 8)},
    // Pairs.
    {0xA9010C41, "stp x1, x3, [x2, #16]", kBase + 16, little(kX1, 8) + little(kX3, 8)},
    {0x293F0C41, "stp w1, w3, [x2, #-8]", kBase - 8, little(kX1, 4) + little(kX3, 4)},
    {0xA9BE7BFD, "stp x29, x30, [sp, #-32]!", kStack - 32,
     little(0x1D1D1D1D1D1D1D1D, 8) + little(0x1E1E1E1E1E1E1E1E, 8), {{kSp, kStack - 32}}},
    {0xA8810C41, "stp x1, x3, [x2], #16", kBase, little(kX1, 8) + little(kX3, 8), {{2, kBase + 16}}},
    {0xA9007C5F, "stp xzr, xzr, [x2]", kBase, little(0, 16)},
    {0xA8200C41, "stnp x1, x3, [x2, #-512]", kBase - 512, little(kX1, 8) + little(kX3, 8)},
    {0x28008C41, "stnp w1, w3, [x2, #4]", kBase + 4, little(kX1, 4) + little(kX3, 4)},
    // Release.
    {0xC89FFC41, "stlr x1, [x2]", kBase, little(kX1, 8)},
    {0x889FFFE1, "stlr w1, [sp]", kStack, little(kX1, 4)},
    {0x089FFC41, "stlrb w1, [x2]", kBase, little(kX1, 1)},
    {0x489FFC41, "stlrh w1, [x2]", kBase, little(kX1, 2)},
    {0xC89F7C41, "stllr x1, [x2]", kBase, little(kX1, 8)},
    {0x889F7C41, "stllr w1, [x2]", kBase, little(kX1, 4)},
    {0x089F7C41, "stllrb w1, [x2]", kBase, little(kX1, 1)},
    {0x489F7C41, "stllrh w1, [x2]", kBase, little(kX1, 2)},
    // Atomics. Memory is negative as a signed number, x1 is not; its byte and half are.
    {0xF8210043, "ldadd x1, x3, [x2]", kBase, little(0xB6C7D8E9FB0C1D2D, 8), {{3, kOld}}},
    {0xB8A10043, "ldadda w1, w3, [x2]", kBase, little(0xFB0C1D2D, 4), {{3, 0xA5A5A5A5}}},
    {0x38610043, "ldaddlb w1, w3, [x2]", kBase, little(0x2D, 1), {{3, 0xA5}}},
    {0x78E10043, "ldaddalh w1, w3, [x2]", kBase, little(0x1D2D, 2), {{3, 0xA5A5}}},
    {0xF8211043, "ldclr x1, x3, [x2]", kBase, little(0xA48584A1A0818025, 8), {{3, kOld}}},
    {0xF8E12043, "ldeoral x1, x3, [x2]", kBase, little(0xB48796E1F0C3D22D, 8), {{3, kOld}}},
    {0xF82133E3, "ldset x1, x3, [sp]", kStack, little(0xB5A7B7E5F5E7F7AD, 8), {{3, kOld}}},
    {0xF8214043, "ldsmax x1, x3, [x2]", kBase, little(kX1, 8), {{3, kOld}}},
    {0x38214043, "ldsmaxb w1, w3, [x2]", kBase, little(0xA5, 1), {{3, 0xA5}}},
    {0xB8215043, "ldsmin w1, w3, [x2]", kBase, little(0xA5A5A5A5, 4), {{3, 0xA5A5A5A5}}},
    {0x78215043, "ldsminh w1, w3, [x2]", kBase, little(0x8001, 2), {{3, 0xA5A5}}, {{1, 0x8001}}},
    {0xF8216043, "ldumax x1, x3, [x2]", kBase, little(kOld, 8), {{3, kOld}}},
    {0xF8216043, "ldumax x1, x3, [x2]", kBase, little(~0ULL, 8), {{3, kOld}}, {{1, ~0ULL}}},
    {0xB8217043, "ldumin w1, w3, [x2]", kBase, little(0x55667788, 4), {{3, 0xA5A5A5A5}}},
    {0xF821005F, "stadd x1, [x2]", kBase, little(0xB6C7D8E9FB0C1D2D, 8)},
    {0xB861105F, "stclrl w1, [x2]", kBase, little(0xA0818025, 4)},
    {0xF821305F, "stset x1, [x2]", kBase, little(0xB5A7B7E5F5E7F7AD, 8)},
    {0xF8220042, "ldadd x2, x2, [x2]", kBase, little(0xA5A5A5A5A5A7A9A5, 8), {{2, kOld}}},
    {0xF8218043, "swp x1, x3, [x2]", kBase, little(kX1, 8), {{3, kOld}}},
    {0xB8E1805F, "swpal w1, wzr, [x2]", kBase, little(kX1, 4)},
    {0x38218043, "swpb w1, w3, [x2]", kBase, little(kX1, 1), {{3, 0xA5}}},
    {0x783F8043, "swph wzr, w3, [x2]", kBase, little(0, 2), {{3, 0xA5A5}}},
    {0xF8218042, "swp x1, x2, [x2]", kBase, little(kX1, 8), {{2, kOld}}},
    // Compare and swap: the memory is as compared with, or not.
    {0xC8A17C43, "cas x1, x3, [x2]", kBase, little(kX3, 8), {}, {{1, kOld}}},
    {0xC8A17C43, "cas x1, x3, [x2]", kBase, little(kOld, 8), {{1, kOld}}, {}, false},
    {0xC8A17C43, "cas x1, x3, [x2]", kBase, little(kOld, 8), {{1, kOld}}, {{1, kOld ^ 1ULL << 63}}, false},
    {0x88E1FC43, "casal w1, w3, [x2]", kBase, little(kX3, 4), {{1, 0xA5A5A5A5}}, {{1, 0x12345678A5A5A5A5}}},
    {0x08E17C43, "casab w1, w3, [x2]", kBase, little(0xA5, 1), {{1, 0xA5}}, {}, false},
    {0x48A1FC43, "caslh w1, w3, [x2]", kBase, little(kX3, 2), {}, {{1, 0xA5A5}}},
    {0xC8A17FFF, "cas x1, xzr, [sp]", kStack, little(0, 8), {}, {{1, kOld}}},
    {0xC8A27C43, "cas x2, x3, [x2]", kBase, little(kOld, 8), {{2, kOld}}, {}, false},
    {0x48247C46, "casp x4, x5, x6, x7, [x2]", kBase, little(0x0606060606060606, 8) + little(0x0707070707070707, 8),
     {}, {{4, kOld}, {5, kOld}}},
    {0x48247C46, "casp x4, x5, x6, x7, [x2]", kBase, little(kOld, 8) + little(kOld, 8),
     {{5, kOld}}, {{4, kOld}}, false},
    {0x0864FC46, "caspal w4, w5, w6, w7, [x2]", kBase, little(0x06060606, 4) + little(0x07070707, 4),
     {{5, 0xA5A5A5A5}}, {{4, 0xA5A5A5A5}, {5, 0xFFFFFFFFA5A5A5A5}}},
    {0x483E7C46, "casp x30, xzr, x6, x7, [x2]", kBase, little(kOld, 8) + little(kOld, 8),
     {{30, kOld}}, {}, false},
    // SIMD&FP registers.
    {0x3D000441, "str b1, [x2, #1]", kBase + 1, vector(1, 1)},
    {0x7D000441, "str h1, [x2, #2]", kBase + 2, vector(1, 2)},
    {0xBD000441, "str s1, [x2, #4]", kBase + 4, vector(1, 4)},
    {0xFD000441, "str d1, [x2, #8]", kBase + 8, vector(1, 8)},
    {0x3D800441, "str q1, [x2, #16]", kBase + 16, vector(1, 16)},
    {0x3C9FF05F, "stur q31, [x2, #-1]", kBase - 1, vector(31, 16)},
    {0x3C810441, "str q1, [x2], #16", kBase, vector(1, 16), {{2, kBase + 16}}},
    {0xFC010442, "str d2, [x2], #16", kBase, vector(2, 8), {{2, kBase + 16}}},
    {0xFC1F8FE1, "str d1, [sp, #-8]!", kStack - 8, vector(1, 8), {{kSp, kStack - 8}}},
    {0x3CA37841, "str q1, [x2, x3, lsl #4]", kBase + 0x100, vector(1, 16)},
    {0x3C23C841, "str b1, [x2, w3, sxtw]", kBase - 1, vector(1, 1), {}, {{3, 0xFFFFFFFF}}},
    {0x2D008C41, "stp s1, s3, [x2, #4]", kBase + 4, vector(1, 4) + vector(3, 4)},
    {0x6C810C41, "stp d1, d3, [x2], #16", kBase, vector(1, 8) + vector(3, 8), {{2, kBase + 16}}},
    {0xAC810C42, "stp q2, q3, [x2], #32", kBase, vector(2, 16) + vector(3, 16), {{2, kBase + 32}}},
    {0xADBF0FE1, "stp q1, q3, [sp, #-32]!", kStack - 32, vector(1, 16) + vector(3, 16), {{kSp, kStack - 32}}},
    {0xAC010C41, "stnp q1, q3, [x2, #32]", kBase + 32, vector(1, 16) + vector(3, 16)},
    {0x4C007041, "st1 {v1.16b}, [x2]", kBase, vector(1, 16)},
    {0x0C00A05F, "st1 {v31.8b, v0.8b}, [x2]", kBase, vector(31, 8) + vector(0, 8)},
    {0x4C9F6841, "st1 {v1.4s-v3.4s}, [x2], #48", kBase, vector(1, 16) + vector(2, 16) + vector(3, 16),
     {{2, kBase + 48}}},
    {0x0C832C41, "st1 {v1.1d-v4.1d}, [x2], x3", kBase, vector(1, 8) + vector(2, 8) + vector(3, 8) + vector(4, 8),
     {{2, kBase + kX3}}},
    {0x4C9F23E1, "st1 {v1.16b-v4.16b}, [sp], #64", kStack,
     vector(1, 16) + vector(2, 16) + vector(3, 16) + vector(4, 16), {{kSp, kStack + 64}}},
    {0x4C827041, "st1 {v1.16b}, [x2], x2", kBase, vector(1, 16), {{2, 2 * kBase}}},
    // Blocks of 16 words.
    {0xD50B7421, "dc zva, x1", kBase, Bytes(64), {}, {{1, kBase}}},
    {0xD50B7421, "dc zva, x1", kBase, Bytes(64), {}, {{1, kBase + 63}}},
  };
  return kCases;
}
// clang-format on

Result<StoreOutcome> emulate(std::uint32_t word, StoreRegisters& registers, Memory& memory,
                             const StoreEnvironment& environment = kEnvironment) {
  return emulate_store(word, registers, memory, environment);
}

TEST(ArmStores, DoWhatTheInstructionDoes) {
  for (const StoreCase& example : cases()) {
    SCOPED_TRACE(example.text);
    StoreRegisters registers = registers_at_start();
    assign(registers, example.given);
    StoreRegisters expected = registers;
    assign(expected, example.changed);
    expected.pc += 4;
    Memory memory;
    Bytes content = memory.content;
    std::copy(example.after.begin(), example.after.end(),
              content.begin() + static_cast<std::ptrdiff_t>(example.gva - kMemory));
    const auto outcome = emulate(example.word, registers, memory);
    ASSERT_TRUE(outcome) << outcome.error().message;
    const auto* store = std::get_if<Store>(&outcome.value());
    ASSERT_NE(store, nullptr) << std::get<UnknownStore>(outcome.value()).message;
    EXPECT_EQ(*store, (Store{.gva = Gva{example.gva},
                             .before = Bytes(example.after.size(), kOldByte),
                             .after = example.after,
                             .written = example.writes}));
    EXPECT_EQ(registers, expected);
    EXPECT_EQ(memory.content, content);
    EXPECT_EQ(memory.reads, 1U);
    EXPECT_EQ(memory.writes, example.writes ? 1U : 0U);
  }
}

TEST(ArmStores, LeaveRegistersAloneIfMemoryFails) {
  for (const StoreCase& example : cases()) {
    for (const bool reading : {true, false}) {
      if (!reading && !example.writes) continue;
      SCOPED_TRACE(example.text);
      StoreRegisters registers = registers_at_start();
      assign(registers, example.given);
      const StoreRegisters before = registers;
      Memory memory;
      (reading ? memory.fail_reads : memory.fail_writes) = true;
      const Bytes content = memory.content;
      const auto outcome = emulate(example.word, registers, memory);
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.error().message, kAbsent.message);
      EXPECT_EQ(registers, before);
      EXPECT_EQ(memory.content, content);
      EXPECT_EQ(memory.writes, reading ? 0U : 1U);
    }
  }
}

TEST(ArmStores, SayWhetherVectorsAreUsed) {
  for (const StoreCase& example : cases()) {
    StoreRegisters registers = registers_at_start();
    assign(registers, example.given);
    registers.v = {};
    Memory memory;
    const auto outcome = emulate(example.word, registers, memory);
    ASSERT_TRUE(outcome) << example.text;
    const bool vectors = std::get<Store>(outcome.value()).after != example.after;
    EXPECT_EQ(uses_vectors(example.word), vectors) << example.text;
  }
  EXPECT_TRUE(uses_vectors(0x3D800441));   // str q1, [x2, #16]
  EXPECT_TRUE(uses_vectors(0x4C007041));   // st1 {v1.16b}, [x2]
  EXPECT_FALSE(uses_vectors(0xD50B7421));  // dc zva, x1
  EXPECT_FALSE(uses_vectors(0xC8A17C43));  // cas x1, x3, [x2]
  EXPECT_FALSE(uses_vectors(0x9E660027));  // fmov x7, d1
}

TEST(ArmStores, EndTheStateOfABranchAndOfAStep) {
  StoreRegisters registers = registers_at_start();
  registers.pstate = kModeEl0 | kConditionFlags | kBranchType | kSoftwareStep;
  Memory memory;
  ASSERT_TRUE(emulate(0xF9000441, registers, memory));  // str x1, [x2, #8]
  EXPECT_EQ(registers.pstate, kModeEl0 | kConditionFlags);
}

/// Expects that nothing is done and that the reason names the word.
void expect_unknown(std::uint32_t word, const char* text, StoreRegisters registers,
                    const std::string& why, const StoreEnvironment& environment = kEnvironment) {
  SCOPED_TRACE(text);
  const StoreRegisters before = registers;
  Memory memory;
  const auto outcome = emulate(word, registers, memory, environment);
  ASSERT_TRUE(outcome) << outcome.error().message;
  const auto* unknown = std::get_if<UnknownStore>(&outcome.value());
  ASSERT_NE(unknown, nullptr);
  char name[16];
  std::snprintf(name, sizeof name, "0x%08x", word);
  EXPECT_NE(unknown->message.find(name), std::string::npos) << unknown->message;
  EXPECT_NE(unknown->message.find(why), std::string::npos) << unknown->message;
  EXPECT_EQ(registers, before);
  EXPECT_EQ(memory.reads + memory.writes, 0U);
}

struct Word {
  std::uint32_t word = 0;
  const char* text = "";
};

TEST(ArmStores, RefuseWhatTheyDoNotKnow) {
  constexpr Word kUnknown[] = {
      // Loads, and what is not a memory access.
      {0xF9400041, "ldr x1, [x2]"},
      {0xA9400C41, "ldp x1, x3, [x2]"},
      {0xB9800041, "ldrsw x1, [x2]"},
      {0xF9800040, "prfm pldl1keep, [x2]"},
      {0xF8BFC041, "ldapr x1, [x2]"},
      {0xC8DFFC41, "ldar x1, [x2]"},
      {0x4C407041, "ld1 {v1.16b}, [x2]"},
      {0xD50B7461, "dc gva, x1"},
      {0xD50B7E21, "dc civac, x1"},
      {0xD503201F, "nop"},
      {0x91000421, "add x1, x1, #1"},
      // Stores that are not done here.
      {0xC8047C41, "stxr w4, x1, [x2]"},
      {0xC804FC41, "stlxr w4, x1, [x2]"},
      {0xC8211441, "stxp w1, x1, x5, [x2]"},
      {0xC8251441, "stxp w5, x1, x5, [x2]"},
      {0x4C008041, "st2 {v1.16b, v2.16b}, [x2]"},
      {0x0D000041, "st1 {v1.b}[0], [x2]"},
      {0xD9008041, "stlur x1, [x2, #8]"},
      {0x69010C41, "stgp x1, x3, [x2, #32]"},
      {0xF83F9041, "st64b x1, [x2]"},
      // Writeback to what is stored.
      {0xF8010442, "str x2, [x2], #16"},
      {0xB8004C42, "str w2, [x2, #4]!"},
      {0x38001442, "strb w2, [x2], #1"},
      {0xA9810C42, "stp x2, x3, [x2, #16]!"},
      {0xA8810841, "stp x1, x2, [x2], #16"},
      {0x28820843, "stp w3, w2, [x2], #16"},
      // Unallocated, or with bits that should be one.
      {0x48257C46, "casp of x5"},
      {0x48247C47, "casp with x7"},
      {0xC8A17843, "cas with Rt2 30"},
      {0xC881FC41, "stlr with Rs 1"},
      {0xC89FF841, "stlr with Rt2 30"},
      {0xE9010C41, "stp with opc 3"},
      {0xED010C41, "stp of vectors with opc 3"},
      {0xF8230841, "str with option 0"},
      {0xF823A841, "str with option 5"},
      {0x7D800441, "str of vectors with size 1 and opc 2"},
      {0x3C010841, "sttr of vectors"},
      {0x3C210041, "atomic of vectors"},
      {0x4C017041, "st1 with Rm 1, not post-indexed"},
      {0x4C207041, "st1 with bit 21"},
      {0x00000000, "udf #0"},
      {0xFFFFFFFF, "all ones"},
  };
  for (const Word& word : kUnknown) {
    expect_unknown(word.word, word.text, registers_at_start(), "not a store that is done here");
  }
}

TEST(ArmStores, RefuseOrderedAccessesThatAreNotAligned) {
  constexpr Word kOrdered[] = {
      {0xC89FFC41, "stlr x1, [x2]"},
      {0x889F7C41, "stllr w1, [x2]"},
      {0xF8210043, "ldadd x1, x3, [x2]"},
      {0xB8A10043, "ldadda w1, w3, [x2]"},
      {0x78215043, "ldsminh w1, w3, [x2]"},
      {0xF8218043, "swp x1, x3, [x2]"},
      {0xC8A17C43, "cas x1, x3, [x2]"},
      {0x48A1FC43, "caslh w1, w3, [x2]"},
      {0x48247C46, "casp x4, x5, x6, x7, [x2]"},
      {0x0864FC46, "caspal w4, w5, w6, w7, [x2]"},
  };
  for (const Word& word : kOrdered) {
    StoreRegisters registers = registers_at_start();
    registers.x[2] = kBase + 1;
    expect_unknown(word.word, word.text, registers, "not a multiple of its size");
  }
  // A pair of X is one access of 16 bytes, a pair of W one of 8.
  StoreRegisters registers = registers_at_start();
  registers.x[2] = kBase + 8;
  expect_unknown(0x48247C46, "casp x4, x5, x6, x7, [x2]", registers, "not a multiple of its size");
  Memory memory;
  const auto outcome = emulate(0x0864FC46, registers, memory);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(std::holds_alternative<Store>(outcome.value()));
}

TEST(ArmStores, RefuseRangesThatWrap) {
  StoreRegisters registers = registers_at_start();
  registers.x[2] = ~0ULL - 6;
  registers.x[3] = 0;
  expect_unknown(0xF8236841, "str x1, [x2, x3]", registers, "wraps");
  // The last byte is there to be asked for.
  registers.x[2] = ~0ULL - 15;
  registers.x[3] = 8;
  Memory memory;
  EXPECT_FALSE(emulate(0xF8236841, registers, memory));
  EXPECT_EQ(memory.reads, 1U);
}

TEST(ArmStores, RefuseBigEndianAndAArch32) {
  StoreRegisters kernel = registers_at_start();
  StoreRegisters user = kernel;
  user.pstate = kModeEl0;
  const StoreEnvironment kernel_big{.sctlr_el1 = kSctlrBigEndian, .dczid_el0 = 4};
  const StoreEnvironment user_big{.sctlr_el1 = kSctlrUserBigEndian, .dczid_el0 = 4};
  expect_unknown(0xF9000441, "str x1, [x2, #8]", kernel, "big-endian", kernel_big);
  expect_unknown(0xF9000441, "str x1, [x2, #8]", user, "big-endian", user_big);
  Memory memory;
  for (const bool at_user : {false, true}) {
    StoreRegisters registers = at_user ? user : kernel;
    const auto outcome = emulate(0xF9000441, registers, memory, at_user ? kernel_big : user_big);
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(std::holds_alternative<Store>(outcome.value())) << at_user;
  }
  user.pstate = kModeUser32;
  expect_unknown(0xF9000441, "str x1, [x2, #8]", user, "AArch32");
}

TEST(ArmStores, ZeroBlocksAsDczidSays) {
  for (std::uint64_t power = 0; power < 32; ++power) {
    StoreRegisters registers = registers_at_start();
    registers.x[1] = kMemory + 0x1000 + 5;
    const StoreEnvironment environment{.sctlr_el1 = 0, .dczid_el0 = power};
    if (power > 9) {
      expect_unknown(0xD50B7421, "dc zva, x1", registers, "not a store", environment);
      continue;
    }
    Memory memory;
    const auto outcome = emulate(0xD50B7421, registers, memory, environment);
    ASSERT_TRUE(outcome) << power;
    const std::size_t size = 4U << power;
    const std::uint64_t gva = (kMemory + 0x1005) & ~(size - 1);
    const auto& store = std::get<Store>(outcome.value());
    EXPECT_EQ(store.gva, Gva{gva}) << power;
    EXPECT_EQ(store.after, Bytes(size)) << power;
  }
  // XZR is address 0, where this guest has nothing.
  StoreRegisters registers = registers_at_start();
  Memory memory;
  EXPECT_FALSE(emulate(0xD50B743F, registers, memory));
}

/// Words of which one in two is in the encodings of loads and stores.
std::uint32_t random_word(std::mt19937_64& random) {
  const auto word = static_cast<std::uint32_t>(random());
  return (random() & 1) != 0 ? (word & ~0x02000000U) | 0x08000000U : word;
}

StoreRegisters random_registers(std::mt19937_64& random) {
  StoreRegisters registers = registers_at_start();
  for (std::uint64_t& value : registers.x) {
    value = (random() & 3) == 0 ? random() : kMemory + random() % kMemoryBytes;
  }
  registers.sp = kMemory + random() % kMemoryBytes;
  return registers;
}

TEST(ArmStores, TakeAnyWord) {
  std::mt19937_64 random(20240611);
  unsigned done = 0;
  for (unsigned i = 0; i < 200'000; ++i) {
    const std::uint32_t word = random_word(random);
    StoreRegisters registers = random_registers(random);
    const StoreRegisters before = registers;
    Memory memory;
    const auto outcome = emulate(word, registers, memory);
    const Store* store = outcome ? std::get_if<Store>(&outcome.value()) : nullptr;
    if (store == nullptr) {
      ASSERT_EQ(registers, before) << std::hex << word;
      ASSERT_EQ(memory.writes, 0U) << std::hex << word;
      continue;
    }
    ++done;
    ASSERT_EQ(registers.pc, before.pc + 4);
    ASSERT_EQ(registers.v, before.v);
    ASSERT_EQ(store->before.size(), store->after.size());
    ASSERT_EQ(store->written, memory.writes == 1);
    // Without vectors the result is the same.
    StoreRegisters without = before;
    if (!uses_vectors(word)) without.v = {};
    Memory other;
    ASSERT_TRUE(emulate(word, without, other));
    ASSERT_EQ(other.content, memory.content) << std::hex << word;
  }
  EXPECT_GT(done, 5'000U);
}

TEST(ArmExclusives, AreDecoded) {
  const auto decoded = [](std::uint32_t word) { return decode_exclusive_store(word); };
  EXPECT_EQ(decoded(0xC8047C41), (ExclusiveStore{8, 4, 1, 2}));     // stxr w4, x1, [x2]
  EXPECT_EQ(decoded(0xC804FC41), (ExclusiveStore{8, 4, 1, 2}));     // stlxr w4, x1, [x2]
  EXPECT_EQ(decoded(0x8804FFE1), (ExclusiveStore{4, 4, 1, 31}));    // stlxr w4, w1, [sp]
  EXPECT_EQ(decoded(0x48047C41), (ExclusiveStore{2, 4, 1, 2}));     // stxrh w4, w1, [x2]
  EXPECT_EQ(decoded(0x0804FC5F), (ExclusiveStore{1, 4, 31, 2}));    // stlxrb w4, wzr, [x2]
  EXPECT_EQ(decoded(0xC81F7FE1), (ExclusiveStore{8, 31, 1, 31}));   // stxr wzr, x1, [sp]
  EXPECT_EQ(decoded(0xC8241447), (ExclusiveStore{8, 4, 7, 2, 5}));  // stxp w4, x7, x5, [x2]
  EXPECT_EQ(decoded(0x88249447), (ExclusiveStore{4, 4, 7, 2, 5}));  // stlxp w4, w7, w5, [x2]
  constexpr Word kOthers[] = {
      {0xC8017C41, "stxr w1, x1, [x2]"},     {0xC8027C41, "stxr w2, x1, [x2]"},
      {0xC8211441, "stxp w1, x1, x5, [x2]"}, {0xC8251441, "stxp w5, x1, x5, [x2]"},
      {0xC85F7C41, "ldxr x1, [x2]"},         {0xC89FFC41, "stlr x1, [x2]"},
      {0xC8A17C43, "cas x1, x3, [x2]"},      {0xC8047841, "stxr with Rt2 30"},
      {0xF9000441, "str x1, [x2, #8]"},
  };
  for (const Word& word : kOthers) EXPECT_EQ(decoded(word.word), std::nullopt) << word.text;
}

constexpr std::uint32_t kLoad = 0xC85F7C41;  // ldxr x1, [x2]
constexpr std::uint32_t kNop = 0xD503201F;
/// stxr w4, x7, [x2]
constexpr ExclusiveStore kExclusive{8, 4, 7, 2};
/// stxp w4, x7, x5, [x2]
constexpr ExclusiveStore kPair{8, 4, 7, 2, 5};
constexpr LoadedRegisters kLoaded{1};

struct Before {
  const char* text = "";
  std::vector<std::uint32_t> words;
  std::optional<LoadedRegisters> loaded = std::nullopt;
  ExclusiveStore store = kExclusive;
};

TEST(ArmExclusives, FindWhatTheLoadLeft) {
  const Before kBefore[] = {
      {"ldxr x1, [x2]", {kLoad}, kLoaded},
      {"ldaxr x1, [x2]", {0xC85FFC41}, kLoaded},
      {"ldaxr w1, [x2]", {0x885FFC41}, kLoaded, {4, 4, 7, 2}},
      {"ldxrb w1, [x2]", {0x085F7C41}, kLoaded, {1, 4, 7, 2}},
      {"ldaxrh w1, [x2]", {0x485FFC41}, kLoaded, {2, 4, 7, 2}},
      {"ldxr x1, [sp]", {0xC85F7FE1}, kLoaded, {8, 4, 7, 31}},
      {"to be xzr", {kLoad}, kLoaded, {8, 4, 31, 2}},
      {"status in the loaded register", {kLoad}, kLoaded, {8, 1, 7, 2}},
      {"cmpxchg: eor x5, x1, x6; cbnz x5, .+8", {kLoad, 0xCA060025, 0xB5000045}, kLoaded},
      {"cmp x1, x6; b.ne .+12", {kLoad, 0xEB06003F, 0x54000061}, kLoaded},
      {"mov x7, x1", {kLoad, 0xAA0103E7}, kLoaded},
      {"csel x7, x1, x6, eq", {kLoad, 0x9A860027}, kLoaded},
      {"ccmp x1, x6, #1, eq", {kLoad, 0xFA460021}, kLoaded},
      {"madd x7, x1, x6, x5", {kLoad, 0x9B061427}, kLoaded},
      {"ubfx x7, x6, #1, #3", {kLoad, 0xD3410CC7}, kLoaded},
      {"extr x7, x6, x5, #3", {kLoad, 0x93C50CC7}, kLoaded},
      {"adr x7, .+4", {kLoad, 0x10000027}, kLoaded},
      {"sub x7, sp, #16", {kLoad, 0xD10043E7}, kLoaded},
      {"lsl x7, x6, x5", {kLoad, 0x9AC520C7}, kLoaded},
      {"rev x7, x6", {kLoad, 0xDAC00CC7}, kLoaded},
      {"the nearest of two", {0xC85F7C43, kLoad}, kLoaded},
      {"7 between", {kLoad, kNop, kNop, kNop, kNop, kNop, kNop, kNop}, kLoaded},
      {"longer than needed", {0xF9400041, kLoad, kNop}, kLoaded},
      {"ldxp x1, x3, [x2]", {0xC87F0C41}, LoadedRegisters{1, 3}, kPair},
      {"ldaxp; mov x7, x3", {0xC87F8C41, 0xAA0303E7}, LoadedRegisters{1, 3}, kPair},
      // None.
      {"nothing", {}},
      {"a pair's load, one's store", {0xC87F0C41}},
      {"one's load, a pair's store", {kLoad}, std::nullopt, kPair},
      {"ldxp w1, w3, [x2]", {0x887F0C41}, std::nullopt, kPair},
      {"ldxp, and x3 is stored", {0xC87F0C41}, std::nullopt, {8, 4, 7, 2, 3}},
      {"ldxp; mov x3, x6", {0xC87F0C41, 0xAA0603E3}, std::nullopt, kPair},
      {"8 between", {kLoad, kNop, kNop, kNop, kNop, kNop, kNop, kNop, kNop}},
      {"no load", {kNop, kNop}},
      {"ldxrb w1, [x2]", {0x085F7C41}},
      {"ldaxr w1, [x2]", {0x885FFC41}},
      {"ldxr x1, [sp]", {0xC85F7FE1}},
      {"ldxp x1, x3, [x2]", {0xC87F0C41}},
      {"another's load is nearer", {kLoad, 0xC85F7FE1}},
      {"ldxr x2, [x2]", {0xC85F7C42}},
      {"ldxr xzr, [x2]", {0xC85F7C5F}},
      {"the loaded is stored", {kLoad}, std::nullopt, {8, 4, 1, 2}},
      {"add x1, x1, #1", {kLoad, 0x91000421}},
      {"mov x1, #5", {kLoad, 0xD28000A1}},
      {"eor w1, w5, w6", {kLoad, 0x4A0600A1}},
      {"mov x2, x6", {kLoad, 0xAA0603E2}},
      {"add sp, sp, #16", {0xC85F7FE1, 0x910043FF}, std::nullopt, {8, 4, 7, 31}},
      {"cbnz x5, .+4", {kLoad, 0xB5000025}},
      {"cbnz x5 to the instruction before the store", {kLoad, 0xB5000025, kNop}},
      {"cbnz x5 to the store", {kLoad, 0xB5000045, kNop}},
      {"b.ne .+12 two before the store", {kLoad, 0x54000061, kNop}, kLoaded},
      {"cbz w5, .-8", {kLoad, 0x34FFFFC5}},
      {"b.eq .-8", {kLoad, 0x54FFFFC0}},
      {"b .+8", {kLoad, 0x14000002}},
      {"tbz w1, #3, .+8", {kLoad, 0x36180041}},
      {"str x1, [x2, #8]", {kLoad, 0xF9000441}},
      {"ldr x7, [x6]", {kLoad, 0xF94000C7}},
      {"stxr w4, x1, [x2]", {kLoad, 0xC8047C41}},
      {"clrex", {kLoad, 0xD5033F5F}},
      {"dmb ish", {kLoad, 0xD5033BBF}},
      {"isb", {kLoad, 0xD5033FDF}},
      {"paciasp", {kLoad, 0xD503233F}},
      {"autia1716", {kLoad, 0xD503219F}},
      {"pacia x1, x2", {kLoad, 0xDAC10041}},
      {"fmov x7, d1", {kLoad, 0x9E660027}},
      {"autiasppc, which writes x30", {0xC85F7C5E, 0xF380001F}},
      {"udf #0", {kLoad, 0}},
  };
  for (const Before& before : kBefore) {
    EXPECT_EQ(loaded_value_registers(before.words, before.store), before.loaded) << before.text;
  }
}

TEST(ArmExclusives, TakeAnyWordsBefore) {
  std::mt19937_64 random(20240612);
  for (unsigned i = 0; i < 200'000; ++i) {
    const std::uint32_t words[] = {kLoad, random_word(random), random_word(random)};
    const auto loaded = loaded_value_registers(words, kExclusive);
    if (loaded) {
      ASSERT_LT(loaded->first, 31U);
    }
    if (const auto store = decode_exclusive_store(random_word(random))) {
      ASSERT_LE(store->size, 8U);
    }
  }
}

struct Attempt {
  StoreRegisters registers = registers_at_start();
  Memory memory{};
  LoadedRegisters loaded = kLoaded;

  Result<StoreOutcome> make(const ExclusiveStore& exclusive) {
    return emulate_exclusive_store(exclusive, loaded, registers, memory, kEnvironment);
  }
};

TEST(ArmExclusives, StoreIfMemoryHoldsWhatWasLoaded) {
  for (const unsigned size : {1U, 2U, 4U, 8U}) {
    Attempt attempt;
    attempt.registers.x[1] = size == 8 ? kOld : kOld & ((1ULL << (8 * size)) - 1);
    StoreRegisters expected = attempt.registers;
    expected.x[4] = 0;
    expected.pc += 4;
    const auto outcome = attempt.make({size, 4, 7, 2});
    ASSERT_TRUE(outcome);
    const Store store{.gva = Gva{kBase},
                      .before = little(kOld, size),
                      .after = little(0x0707070707070707, size),
                      .written = true};
    EXPECT_EQ(std::get<Store>(outcome.value()), store) << size;
    EXPECT_EQ(attempt.registers, expected) << size;
    EXPECT_EQ(attempt.memory.content[kBase - kMemory], std::byte{7});
    EXPECT_EQ(attempt.memory.content[kBase - kMemory + size], kOldByte);
  }
}

TEST(ArmExclusives, FailIfMemoryHoldsAnother) {
  // The second register can't come from a load of 4 bytes.
  for (const auto& [size, value] : {std::pair{8U, kOld ^ 1}, {4U, kOld}, {1U, std::uint64_t{0}}}) {
    Attempt attempt;
    attempt.registers.x[1] = value;
    StoreRegisters expected = attempt.registers;
    expected.x[4] = 1;
    expected.pc += 4;
    const auto outcome = attempt.make({size, 4, 7, 2});
    ASSERT_TRUE(outcome);
    const auto& store = std::get<Store>(outcome.value());
    EXPECT_FALSE(store.written);
    EXPECT_EQ(store.after, store.before);
    EXPECT_EQ(attempt.registers, expected);
    EXPECT_EQ(attempt.memory.writes, 0U);
  }
}

TEST(ArmExclusives, StoreAPairIfMemoryHoldsBoth) {
  for (const std::uint64_t second : {kOld, kOld ^ 1}) {
    Attempt attempt;
    attempt.loaded = {1, 3};
    attempt.registers.x[1] = kOld;
    attempt.registers.x[3] = second;
    const auto outcome = attempt.make(kPair);
    ASSERT_TRUE(outcome);
    const auto& store = std::get<Store>(outcome.value());
    EXPECT_EQ(store.before.size(), 16U);
    EXPECT_EQ(store.written, second == kOld);
    EXPECT_EQ(attempt.registers.x[4], second == kOld ? 0U : 1U);
    if (store.written) {
      EXPECT_EQ(store.after[0], std::byte{7});
      EXPECT_EQ(store.after[8], std::byte{5});
    }
  }
}

TEST(ArmExclusives, RefuseAndFailAsOthersDo) {
  const ExclusiveStore exclusive{8, 4, 7, 2};
  Attempt misaligned;
  misaligned.registers.x[2] += 4;
  const auto refused = misaligned.make(exclusive);
  ASSERT_TRUE(refused);
  EXPECT_EQ(std::get<UnknownStore>(refused.value()).message,
            "arm64 store emulation: store exclusive of 8 bytes: its address is not a multiple of "
            "its size");
  Attempt other;
  other.registers.pstate = kModeUser32;
  const auto narrow = other.make(exclusive);
  ASSERT_TRUE(narrow);
  EXPECT_TRUE(std::holds_alternative<UnknownStore>(narrow.value()));
  for (const bool reading : {true, false}) {
    Attempt attempt;
    attempt.registers.x[1] = kOld;
    (reading ? attempt.memory.fail_reads : attempt.memory.fail_writes) = true;
    const StoreRegisters before = attempt.registers;
    EXPECT_FALSE(attempt.make(exclusive));
    EXPECT_EQ(attempt.registers, before);
  }
}

}  // namespace
}  // namespace sealvisor::arch::arm64
