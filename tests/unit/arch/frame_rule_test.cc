#include "arch/frame_rule.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::arch {
namespace {

using End = FrameRule::End;

constexpr std::uint64_t kFunctionStart = 0xffffffff81000000;

/// One function at kFunctionStart; what lies behind it is another.
class Text final : public CodeReader {
 public:
  explicit Text(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::size_t read(std::uint64_t address, std::span<std::uint8_t> room) const override {
    const std::uint64_t offset = address - kFunctionStart;
    if (offset >= bytes_.size()) return 0;
    const std::size_t size =
        std::min<std::size_t>(room.size(), bytes_.size() - static_cast<std::size_t>(offset));
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), size, room.begin());
    return size;
  }
  bool same_function(std::uint64_t from, std::uint64_t to) const override {
    return from - kFunctionStart < bytes_.size() && to - kFunctionStart < bytes_.size();
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

struct RuleCase {
  std::string name;
  std::vector<std::uint8_t> bytes;
  FrameRule rule;
};

FrameRule returns(Symbolic to, Symbolic sp, Symbolic fp = {Symbolic::Kind::Fp, 0}) {
  return {End::Returns, to, sp, fp};
}

const FrameRule kUnknownRule{};
const FrameRule kLeaves{End::Leaves, {}, {}, {}};

// Encodings: Intel SDM volume 2.
const std::vector<RuleCase>& x86_cases() {
  using Kind = Symbolic::Kind;
  static const std::vector<RuleCase> cases = {
      {"ret", {0xC3}, returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"nop; ret $8 is not C, and pops no less",
       {0x90, 0xC2, 0x08, 0x00},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"pop rbx; pop rbp; ret",
       {0x5B, 0x5D, 0xC3},
       returns({Kind::SpWord, 16}, {Kind::Sp, 24}, {Kind::SpWord, 8})},
      {"lea rsp, [rbp-0x10]; pop rbx; pop r10; pop rbp; lea rsp, [r10-8]; ret: a frame that was "
       "aligned",
       {0x48, 0x8D, 0x65, 0xF0, 0x5B, 0x41, 0x5A, 0x5D, 0x49, 0x8D, 0x62, 0xF8, 0xC3},
       returns({Kind::FpWord, 8}, {Kind::FpWord, -8}, {Kind::FpWord, 0})},
      {"the same, and r10 is another by then",
       {0x48, 0x8D, 0x65, 0xF0, 0x5B, 0x41, 0x5A, 0x5D, 0x4D, 0x89, 0xDA, 0x49, 0x8D, 0x62, 0xF8,
        0xC3},
       kUnknownRule},
      {"add rsp, 0x20; pop r12; ret",
       {0x48, 0x83, 0xC4, 0x20, 0x41, 0x5C, 0xC3},
       returns({Kind::SpWord, 0x28}, {Kind::Sp, 0x30})},
      {"lea rsp, [rsp+0x10]; ret",
       {0x48, 0x8D, 0x64, 0x24, 0x10, 0xC3},
       returns({Kind::SpWord, 0x10}, {Kind::Sp, 0x18})},
      {"leave; ret", {0xC9, 0xC3}, returns({Kind::FpWord, 8}, {Kind::Fp, 16}, {Kind::FpWord, 0})},
      {"and rsp, -16; lea rsp, [rbp-0x10]; pop rbx; pop r12; pop rbp; ret",
       {0x48, 0x83, 0xE4, 0xF0, 0x48, 0x8D, 0x65, 0xF0, 0x5B, 0x41, 0x5C, 0x5D, 0xC3},
       returns({Kind::FpWord, 8}, {Kind::Fp, 16}, {Kind::FpWord, 0})},
      {"push rbp; mov rbp, rsp; pop rbp; ret",
       {0x55, 0x48, 0x89, 0xE5, 0x5D, 0xC3},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"push rax; call; pop rcx; ret",
       {0x50, 0xE8, 0, 0, 0, 0, 0x59, 0xC3},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"je over; ud2; over: ret",
       {0x74, 0x02, 0x0F, 0x0B, 0xC3},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"jmp over; ud2; over: pop rbx; ret",
       {0xEB, 0x02, 0x0F, 0x0B, 0x5B, 0xC3},
       returns({Kind::SpWord, 8}, {Kind::Sp, 16})},
      {"a loop that ends: dec ecx; jne back; ret",
       {0xFF, 0xC9, 0x75, 0xFC, 0xC3},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"tail call: pop rbx; jmp elsewhere",
       {0x5B, 0xE9, 0x00, 0x10, 0x00, 0x00},
       returns({Kind::SpWord, 8}, {Kind::Sp, 16})},
      {"tail call through a register: jmp rax",
       {0xFF, 0xE0},
       returns({Kind::SpWord, 0}, {Kind::Sp, 8})},
      {"a register jump counts last: je over; jmp rax; over: pop rbx; ret",
       {0x74, 0x02, 0xFF, 0xE0, 0x5B, 0xC3},
       returns({Kind::SpWord, 8}, {Kind::Sp, 16})},
      {"iretq", {0x48, 0xCF}, kLeaves},
      {"mov rsp, [rdi]; sysretq", {0x48, 0x8B, 0x27, 0x48, 0x0F, 0x07}, kLeaves},
      {"mov rsp, [rdi]; ret: whose stack", {0x48, 0x8B, 0x27, 0xC3}, kUnknownRule},
      {"and rsp, -16; ret", {0x48, 0x83, 0xE4, 0xF0, 0xC3}, kUnknownRule},
      {"for ever: jmp self", {0xEB, 0xFE}, kUnknownRule},
      {"ud2", {0x0F, 0x0B}, kUnknownRule},
      {"runs out of the function", {0x90, 0x90}, kUnknownRule},
      {"no instruction", {0x06, 0xC3}, kUnknownRule},
  };
  return cases;
}

std::vector<std::uint8_t> words(std::initializer_list<std::uint32_t> list) {
  std::vector<std::uint8_t> bytes;
  for (const std::uint32_t word : list) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::uint8_t>(word >> shift));
    }
  }
  return bytes;
}

// Encodings: Arm ARM DDI 0487, C6.2.
constexpr std::uint32_t kRet = 0xD65F03C0;
constexpr std::uint32_t kPop32 = 0xA8C27BFD;   // ldp x29, x30, [sp], #32
constexpr std::uint32_t kPop16 = 0xA8C17BFD;   // ldp x29, x30, [sp], #16
constexpr std::uint32_t kPush16 = 0xA9BF7BFD;  // stp x29, x30, [sp, #-16]!
constexpr std::uint32_t kMovFp = 0x910003FD;   // mov x29, sp
constexpr std::uint32_t kNop = 0xD503201F;

const std::vector<RuleCase>& arm_cases() {
  using Kind = Symbolic::Kind;
  static const std::vector<RuleCase> cases = {
      {"leaf: ret", words({kRet}), returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"ldp x29, x30, [sp], #32; ret", words({kPop32, kRet}),
       returns({Kind::SpWord, 8}, {Kind::Sp, 32}, {Kind::SpWord, 0})},
      {"ldp x19, x20, [sp, #16]; ldp x29, x30, [sp], #32; ret", words({0xA94153F3, kPop32, kRet}),
       returns({Kind::SpWord, 8}, {Kind::Sp, 32}, {Kind::SpWord, 0})},
      {"ldr x30, [sp], #16; ret", words({0xF84107FE, kRet}),
       returns({Kind::SpWord, 0}, {Kind::Sp, 16})},
      {"ldr x30, [sp, #8]; add sp, sp, #16; ret", words({0xF94007FE, 0x910043FF, kRet}),
       returns({Kind::SpWord, 8}, {Kind::Sp, 16})},
      {"add sp, sp, #1, lsl #12; ldp; ret", words({0x914007FF, kPop16, kRet}),
       returns({Kind::SpWord, 0x1008}, {Kind::Sp, 0x1010}, {Kind::SpWord, 0x1000})},
      {"mov sp, x29; ldp; ret", words({0x910003BF, kPop16, kRet}),
       returns({Kind::FpWord, 8}, {Kind::Fp, 16}, {Kind::FpWord, 0})},
      {"whole frame: push, mov x29, bl, pop, ret",
       words({kPush16, kMovFp, 0x94000000, kPop16, kRet}), returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"pac: paciasp; push; pop; autiasp; ret",
       words({0xD503233F, kPush16, kPop16, 0xD50323BF, kRet}),
       returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"bl without a frame: the way back is lost", words({0x94000000, kRet}), kUnknownRule},
      {"cbz over a brk", words({0xB4000040, 0xD4210000, kRet}),
       returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"tbnz over a brk", words({0x37000040, 0xD4210000, kRet}),
       returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"b.ne over a brk", words({0x54000041, 0xD4210000, kRet}),
       returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"tail call: pop; b elsewhere", words({kPop16, 0x14000100}),
       returns({Kind::SpWord, 8}, {Kind::Sp, 16}, {Kind::SpWord, 0})},
      {"tail call through a register: br x16", words({0xD61F0200}),
       returns({Kind::Lr, 0}, {Kind::Sp, 0})},
      {"eret", words({kNop, 0xD69F03E0}), kLeaves},
      {"for ever: b self", words({0x14000000}), kUnknownRule},
      {"runs out of the function", words({kNop, kNop}), kUnknownRule},
      {"udf", words({0, kRet}), kUnknownRule},
  };
  return cases;
}

void expect_rules(Arch arch, const std::vector<RuleCase>& cases) {
  for (const RuleCase& one : cases) {
    const FrameRule rule = frame_rule(arch, Text(one.bytes), kFunctionStart);
    EXPECT_EQ(rule.end, one.rule.end) << one.name;
    EXPECT_EQ(rule.returns_to, one.rule.returns_to) << one.name;
    EXPECT_EQ(rule.sp, one.rule.sp) << one.name;
    if (one.rule.end == End::Returns) {
      EXPECT_EQ(rule.fp, one.rule.fp) << one.name;
    }
  }
}

TEST(FrameRule, OfX86) { expect_rules(Arch::X86_64, x86_cases()); }

TEST(FrameRule, OfArm64) { expect_rules(Arch::Arm64, arm_cases()); }

TEST(FrameRule, IsBoundedWhateverTheTextIs) {
  // As long a way as there is: no-operations without end.
  const std::vector<std::uint8_t> nops(kMostFrameSteps * 2, 0x90);
  EXPECT_EQ(frame_rule(Arch::X86_64, Text(nops), kFunctionStart), kUnknownRule);
  // Branches that all lead to each other.
  std::vector<std::uint8_t> branches;
  for (int i = 0; i < 1000; ++i) branches.insert(branches.end(), {0x74, 0x00});
  EXPECT_EQ(frame_rule(Arch::X86_64, Text(branches), kFunctionStart), kUnknownRule);
}

TEST(FollowsCall, KnowsEachFormOfACall) {
  const auto after = [](Arch arch, std::vector<std::uint8_t> bytes) {
    // Something in front, so that there is enough to read.
    std::vector<std::uint8_t> all(8, arch == Arch::X86_64 ? 0x90 : 0x1F);
    all.insert(all.end(), bytes.begin(), bytes.end());
    const std::uint64_t end = kFunctionStart + all.size();
    all.insert(all.end(), 4, 0x90);
    return follows_call(arch, Text(all), end);
  };
  EXPECT_TRUE(after(Arch::X86_64, {0xE8, 1, 2, 3, 4}));
  EXPECT_TRUE(after(Arch::X86_64, {0xFF, 0xD0})) << "call rax";
  EXPECT_TRUE(after(Arch::X86_64, {0x41, 0xFF, 0xD3})) << "call r11";
  EXPECT_TRUE(after(Arch::X86_64, {0xFF, 0x15, 1, 2, 3, 4})) << "call [rip+x]";
  EXPECT_TRUE(after(Arch::X86_64, {0xFF, 0x54, 0x24, 0x08})) << "call [rsp+8]";
  EXPECT_TRUE(after(Arch::X86_64, {0xFF, 0x90, 1, 2, 3, 4})) << "call [rax+x]";
  EXPECT_FALSE(after(Arch::X86_64, {0xE9, 1, 2, 3, 4})) << "jmp";
  EXPECT_FALSE(after(Arch::X86_64, {0xFF, 0xE0})) << "jmp rax";
  EXPECT_FALSE(after(Arch::X86_64, {0x90, 0x90})) << "nothing";
  EXPECT_TRUE(after(Arch::Arm64, words({0x94000000}))) << "bl";
  EXPECT_TRUE(after(Arch::Arm64, words({0xD63F0200}))) << "blr x16";
  EXPECT_FALSE(after(Arch::Arm64, words({0x14000000}))) << "b";
  EXPECT_FALSE(after(Arch::Arm64, words({kRet}))) << "ret";
  EXPECT_FALSE(follows_call(Arch::X86_64, Text({}), 4)) << "no text there";
}

}  // namespace
}  // namespace sealvisor::arch
