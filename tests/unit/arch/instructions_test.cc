#include "arch/instructions.h"

#include <capstone/capstone.h>
#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sealvisor::arch {

void PrintTo(const InstructionFacts& facts, std::ostream* out) {
  *out << "kind " << static_cast<unsigned>(facts.kind) << " reg " << unsigned{facts.reg}
       << (facts.upper ? " upper" : "");
}

namespace {

using Bytes = std::vector<std::uint8_t>;
using FactKind = InstructionFacts::Kind;
using Facts = InstructionFacts;

Bytes word(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8),
          static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 24)};
}

struct X86Row {
  Bytes bytes;
  const char* text;  ///< As GNU as was given it.
  Facts facts;
};

TEST(ClassifyX86, MatchesWhatTheAssemblerMade) {
  const X86Row rows[] = {
      {{0x0F, 0x22, 0xD8}, "mov %rax,%cr3", {FactKind::RootLoad, 0}},
      {{0x0F, 0x22, 0xDF}, "mov %rdi,%cr3", {FactKind::RootLoad, 7}},
      {{0x41, 0x0F, 0x22, 0xD8}, "mov %r8,%cr3", {FactKind::RootLoad, 8}},
      {{0x41, 0x0F, 0x22, 0xDF}, "mov %r15,%cr3", {FactKind::RootLoad, 15}},
      {{0x3E, 0x0F, 0x22, 0xD8}, "ds mov %rax,%cr3", {FactKind::RootLoad, 0}},
      {{0x0F, 0x22, 0xC0}, "mov %rax,%cr0", {FactKind::ControlRegister}},
      {{0x41, 0x0F, 0x22, 0xC4}, "mov %r12,%cr0", {FactKind::ControlRegister}},
      {{0x0F, 0x22, 0xE3}, "mov %rbx,%cr4", {FactKind::ControlRegister}},
      {{0x0F, 0x30}, "wrmsr", {FactKind::ControlRegister}},
      {{0x0F, 0x01, 0xC6}, "wrmsrns", {FactKind::ControlRegister}},
      {{0x0F, 0x01, 0x38}, "invlpg (%rax)", {FactKind::TlbInvalidate}},
      {{0x41, 0x0F, 0x01, 0x7C, 0xCC, 0x10}, "invlpg 0x10(%r12,%rcx,8)", {FactKind::TlbInvalidate}},
      {{0x66, 0x0F, 0x38, 0x82, 0x37}, "invpcid (%rdi),%rsi", {FactKind::TlbInvalidate}},
      {{0x66, 0x45, 0x0F, 0x38, 0x82, 0x08}, "invpcid (%r8),%r9", {FactKind::TlbInvalidate}},
      {{0x0F, 0x01, 0xDF}, "invlpga", {FactKind::TlbInvalidate}},
      {{0x0F, 0x01, 0xFE}, "invlpgb", {FactKind::TlbInvalidate}},
      {{0x0F, 0x22, 0xD0}, "mov %rax,%cr2", {}},
      {{0x44, 0x0F, 0x22, 0xC0}, "mov %rax,%cr8", {}},
      {{0x0F, 0x20, 0xD8}, "mov %cr3,%rax", {}},
      {{0x0F, 0x20, 0xC0}, "mov %cr0,%rax", {}},
      {{0x0F, 0x32}, "rdmsr", {}},
      {{0x0F, 0x01, 0xF8}, "swapgs", {}},
      {{0x0F, 0x01, 0x10}, "lgdt (%rax)", {}},
      {{0x0F, 0x01, 0x18}, "lidt (%rax)", {}},
      {{0x0F, 0x01, 0xE0}, "smsw %eax", {}},
      {{0x0F, 0x01, 0xCA}, "clac", {}},
      {{0x0F, 0x06}, "clts", {}},
      {{0x48, 0x0F, 0x07}, "sysretq", {}},
      {{0x48, 0xCF}, "iretq", {}},
      {{0x90}, "nop", {}},
      {{0x48, 0x89, 0x07}, "mov %rax,(%rdi)", {}},
      {{0xF0, 0x48, 0x0F, 0xB1, 0x17}, "lock cmpxchg %rdx,(%rdi)", {}},
      {{0x66, 0x0F, 0x38, 0x00, 0xD1}, "pshufb %xmm1,%xmm2", {}},
  };
  for (const X86Row& row : rows) {
    EXPECT_EQ(classify(Arch::X86_64, row.bytes), row.facts) << row.text;
    // Bytes of the next instruction behind it change nothing.
    Bytes longer = row.bytes;
    longer.insert(longer.end(), {0x0F, 0x22, 0xD8});
    if (row.bytes.size() > 2) {
      EXPECT_EQ(classify(Arch::X86_64, longer), row.facts) << row.text;
    }
  }
}

TEST(ClassifyX86, CutShortIsNothing) {
  EXPECT_EQ(classify(Arch::X86_64, {}), Facts{});
  const Bytes load = {0x66, 0x41, 0x0F, 0x22, 0xD8};
  for (std::size_t size = 0; size < load.size(); ++size) {
    EXPECT_EQ(classify(Arch::X86_64, std::span(load).first(size)), Facts{}) << size;
  }
  EXPECT_EQ(classify(Arch::X86_64, Bytes(15, 0x66)), Facts{});
  EXPECT_EQ(classify(Arch::X86_64, Bytes(15, 0x41)), Facts{});
}

TEST(ClassifyX86, ModIsIgnoredAndRexMustComeLast) {
  // SDM vol. 2, MOV to control registers: ModRM.mod does not matter.
  EXPECT_EQ(classify(Arch::X86_64, Bytes{0x0F, 0x22, 0x18}), (Facts{FactKind::RootLoad, 0}));
  EXPECT_EQ(classify(Arch::X86_64, Bytes{0x0F, 0x22, 0x5F}), (Facts{FactKind::RootLoad, 7}));
  // A REX prefix that is not last does not count (SDM vol. 2, 2.2.1); one before a legacy prefix
  // starts no instruction that is known here.
  EXPECT_EQ(classify(Arch::X86_64, Bytes{0x41, 0x40, 0x0F, 0x22, 0xD8}),
            (Facts{FactKind::RootLoad, 0}));
}

struct ArmRow {
  std::uint32_t word;
  const char* text;  ///< As GNU as was given it.
  Facts facts;
};

TEST(ClassifyArm, MatchesWhatTheAssemblerMade) {
  const ArmRow rows[] = {
      {0xD5182000, "msr ttbr0_el1, x0", {FactKind::RootLoad, 0, false}},
      {0xD69F03E0, "eret", {FactKind::ExceptionReturn}},
      {0xD69F0BFF, "eretaa", {FactKind::ExceptionReturn}},
      {0xD69F0FFF, "eretab", {FactKind::ExceptionReturn}},
      {0xD518201F, "msr ttbr0_el1, xzr", {FactKind::RootLoad, 31, false}},
      {0xD5182031, "msr ttbr1_el1, x17", {FactKind::RootLoad, 17, true}},
      {0xD5182043, "msr tcr_el1, x3", {FactKind::ControlRegister}},
      {0xD5182064, "msr s3_0_c2_c0_3, x4 (TCR2_EL1)", {FactKind::ControlRegister}},
      {0xD518101E, "msr sctlr_el1, x30", {FactKind::ControlRegister}},
      {0xD508871F, "tlbi vmalle1", {FactKind::TlbInvalidate}},
      {0xD508831F, "tlbi vmalle1is", {FactKind::TlbInvalidate}},
      {0xD5088320, "tlbi vae1is, x0", {FactKind::TlbInvalidate}},
      {0xD5088341, "tlbi aside1is, x1", {FactKind::TlbInvalidate}},
      {0xD50883A2, "tlbi vale1is, x2", {FactKind::TlbInvalidate}},
      {0xD5088223, "tlbi rvae1is, x3", {FactKind::TlbInvalidate}},
      {0xD5088124, "tlbi vae1os, x4", {FactKind::TlbInvalidate}},
      {0xD50C871F, "tlbi alle2", {FactKind::TlbInvalidate}},
      {0xD5089727, "sys #0, C9, C7, #1, x7 (tlbi vae1nxs)", {FactKind::TlbInvalidate}},
      {0xD5488720, "sysp #0, C8, C7, #1 (tlbip vae1)", {FactKind::TlbInvalidate}},
      {0xD50B7420, "dc zva, x0", {FactKind::ZeroBlock, 0}},
      {0xD50B743F, "dc zva, xzr", {FactKind::ZeroBlock, 31}},
      {0xD50B7485, "dc gzva, x5", {FactKind::ZeroBlock, 5}},
      {0xD50B7461, "dc gva, x1", {}},
      {0xD518A201, "msr mair_el1, x1", {}},
      {0xD518C001, "msr vbar_el1, x1", {}},
      {0xD5382000, "mrs x0, ttbr0_el1", {}},
      {0xD5382020, "mrs x0, ttbr1_el1", {}},
      {0xD50342DF, "msr daifset, #2", {}},
      {0xD50B7E20, "dc civac, x0", {}},
      {0xD50B7B21, "dc cvau, x1", {}},
      {0xD50B7522, "ic ivau, x2", {}},
      {0xD508751F, "ic iallu", {}},
      {0xD5087840, "at s1e0r, x0", {}},
      {0xD5033B9F, "dsb ish", {}},
      {0xD5033FDF, "isb", {}},
      {0xD503201F, "nop", {}},
      {0xF9000001, "str x1, [x0]", {}},
  };
  for (const ArmRow& row : rows) {
    EXPECT_EQ(classify(Arch::Arm64, word(row.word)), row.facts) << row.text;
  }
}

TEST(ClassifyArm, CutShortIsNothing) {
  const Bytes load = word(0xD5182000);
  for (std::size_t size = 0; size < load.size(); ++size) {
    EXPECT_EQ(classify(Arch::Arm64, std::span(load).first(size)), Facts{}) << size;
  }
}

std::string text_of(std::uint32_t value) { return disassemble(Arch::Arm64, word(value), 0x1000); }
std::string text_of(const Bytes& bytes) { return disassemble(Arch::X86_64, bytes, 0x1000); }

/// What Capstone says about stores: an oracle that is not ours.
class StoreOracle {
 public:
  explicit StoreOracle(Arch arch) : arch_(arch) {
    const bool x86 = arch == Arch::X86_64;
    EXPECT_EQ(cs_open(x86 ? CS_ARCH_X86 : CS_ARCH_ARM64, x86 ? CS_MODE_64 : CS_MODE_ARM, &handle_),
              CS_ERR_OK);
    EXPECT_EQ(cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON), CS_ERR_OK);
  }
  StoreOracle(const StoreOracle&) = delete;
  StoreOracle& operator=(const StoreOracle&) = delete;
  ~StoreOracle() { cs_close(&handle_); }

  enum class Answer { Unknown, Stores, DoesNot };
  Answer ask(std::span<const std::uint8_t> bytes) {
    cs_insn* found = nullptr;
    const std::size_t count = cs_disasm(handle_, bytes.data(), bytes.size(), 0x1000, 1, &found);
    if (count == 0) return Answer::Unknown;
    text_ = std::string(found->mnemonic) + " " + found->op_str;
    const bool stores = arch_ == Arch::X86_64 ? stores_x86(*found) : stores_arm64(text_);
    cs_free(found, count);
    return stores ? Answer::Stores : Answer::DoesNot;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  static bool stores_x86(const cs_insn& insn) {
    const std::string_view name = insn.mnemonic;
    // These write the stack, which is no operand of theirs.
    for (const char* implicit : {"push", "call", "enter", "int", "lcall"}) {
      if (name.starts_with(implicit)) return true;
    }
    const cs_x86& x86 = insn.detail->x86;
    for (std::uint8_t i = 0; i < x86.op_count; ++i) {
      const cs_x86_op& operand = x86.operands[i];
      if (operand.type == X86_OP_MEM && (operand.access & CS_AC_WRITE) != 0) return true;
    }
    return false;
  }
  static bool stores_arm64(std::string_view name) {
    // Capstone 4 does not tell how arm64 memory operands are used; names of stores and of atomics
    // do (Arm ARM, "A64 base instruction descriptions").
    for (const char* start : {"st", "ldadd", "ldclr", "ldeor", "ldset", "ldsmax", "ldsmin",
                              "ldumax", "ldumin", "swp", "cas", "dc "}) {
      if (name.starts_with(start)) return true;
    }
    return false;
  }

  Arch arch_;
  csh handle_ = 0;
  std::string text_;
};

TEST(NeverStores, CapstoneKnowsNoStoreAmongThem) {
  for (const Arch arch : kAllArchs) {
    StoreOracle oracle(arch);
    std::mt19937_64 random(1);
    unsigned never = 0;
    unsigned stores = 0;
    for (int i = 0; i < 400'000; ++i) {
      Bytes bytes(arch == Arch::X86_64 ? 15 : 4);
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
      // Half of them with the prefixes that Linux's code has most.
      if (arch == Arch::X86_64 && i % 2 == 0) {
        bytes[0] = 0x48;
        if (i % 4 == 0) bytes[1] = 0x0F;
      }
      // Half of them in the space of loads and stores, op0 = x1x0.
      if (arch == Arch::Arm64 && i % 2 == 0) {
        bytes[3] = static_cast<std::uint8_t>((bytes[3] | 0x08) & ~0x02);
      }
      const auto answer = oracle.ask(bytes);
      const bool surely = never_stores(arch, bytes);
      if (answer == StoreOracle::Answer::Stores) ++stores;
      if (!surely || answer == StoreOracle::Answer::Unknown) continue;
      ++never;
      ASSERT_EQ(answer, StoreOracle::Answer::DoesNot) << oracle.text();
    }
    EXPECT_GT(never, 50'000U) << name_of(arch);
    EXPECT_GT(stores, 20'000U) << name_of(arch) << ": else the oracle shows nothing";
  }
}

TEST(NeverStores, NamesWhatKernelsRunMost) {
  const Bytes x86_never[] = {
      {0x48, 0x8B, 0x07},        // mov (%rdi),%rax
      {0x48, 0x89, 0xC7},        // mov %rax,%rdi
      {0x48, 0x39, 0x07},        // cmp %rax,(%rdi)
      {0x75, 0x10},              // jne
      {0x0F, 0x84, 0, 0, 0, 0},  // je
      {0xF3, 0x0F, 0x1E, 0xFA},  // endbr64
      {0x41, 0x5C},              // pop %r12
      {0xC3},                    // ret
  };
  for (const Bytes& bytes : x86_never) EXPECT_TRUE(never_stores(Arch::X86_64, bytes)) << bytes[0];
  const Bytes x86_perhaps[] = {
      {0x48, 0x89, 0x07},              // mov %rax,(%rdi)
      {0x50},                          // push %rax
      {0xE8, 0, 0, 0, 0},              // call
      {0xFF, 0xD0},                    // call *%rax
      {0xC7, 0x07, 0, 0, 0, 0},        // movl $0,(%rdi)
      {0xF3, 0x48, 0xAB},              // rep stos
      {0xF0, 0x48, 0x0F, 0xB1, 0x17},  // lock cmpxchg
      {0x0F, 0x11, 0x07},              // movups %xmm0,(%rdi)
      {0xC4, 0xE2, 0x7D, 0x2E, 0x07},  // vmaskmov: VEX
      {0x8F, 0x07},                    // pop (%rdi)
      {0x0F, 0xC7, 0x0F},              // cmpxchg8b
      {0x48},                          // cut short
      {0x0F},
      {},
  };
  for (const Bytes& bytes : x86_perhaps) EXPECT_FALSE(never_stores(Arch::X86_64, bytes));
  for (const std::uint32_t never : {0xF9400000U,     // ldr x0, [x0]
                                    0xA9407BFDU,     // ldp x29, x30, [sp]
                                    0x91000400U,     // add x0, x0, #1
                                    0xF8616800U,     // ldr x0, [x0, x1]
                                    0x54000000U}) {  // b.eq
    EXPECT_TRUE(never_stores(Arch::Arm64, word(never))) << std::hex << never;
  }
  for (const std::uint32_t perhaps : {0xF9000000U,     // str x0, [x0]
                                      0xA9007BFDU,     // stp x29, x30, [sp]
                                      0xF8210000U,     // ldadd x1, x0, [x0]
                                      0xC8017C00U,     // stxr w1, x0, [x0]
                                      0xD50B7420U,     // dc zva, x0
                                      0xE5804000U,     // SVE str p0, [x0]
                                      0x1D001000U}) {  // cpyfp: op0 1110, memory copy
    EXPECT_FALSE(never_stores(Arch::Arm64, word(perhaps))) << std::hex << perhaps;
  }
  EXPECT_FALSE(never_stores(Arch::Arm64, Bytes{0, 0, 0x40}));
}

TEST(DisassembleArm, ByCapstone) {
  EXPECT_EQ(text_of(0xF9000001), "str x1, [x0]");
  EXPECT_EQ(text_of(0xA9000801), "stp x1, x2, [x0]");
  EXPECT_EQ(text_of(0xC8027C01), "stxr w2, x1, [x0]");
  EXPECT_EQ(text_of(0xC89FFC01), "stlr x1, [x0]");
  EXPECT_EQ(text_of(0xD69F03E0), "eret");
  EXPECT_EQ(text_of(0xD5182000), "msr ttbr0_el1, x0");
  EXPECT_EQ(text_of(0x94000008), "bl #0x1020");
}

TEST(DisassembleArm, WhatCapstone4Lacks) {
  const std::pair<std::uint32_t, const char*> rows[] = {
      {0xC8A07C41, "cas x0, x1, [x2]"},
      {0x88E37FE4, "casa w3, w4, [sp]"},
      {0xC8A0FC41, "casl x0, x1, [x2]"},
      {0xC8F4FED5, "casal x20, x21, [x22]"},
      {0x08E17C62, "casab w1, w2, [x3]"},
      {0x48A1FC62, "caslh w1, w2, [x3]"},
      {0x48207C82, "casp x0, x1, x2, x3, [x4]"},
      {0x0864FFE6, "caspal w4, w5, w6, w7, [sp]"},
      {0xF8208041, "swp x0, x1, [x2]"},
      {0xF8FF8041, "swpal xzr, x1, [x2]"},
      {0x38368023, "swpb w22, w3, [x1]"},
      {0x786480C0, "swplh w4, w0, [x6]"},
      {0xF8200041, "ldadd x0, x1, [x2]"},
      {0xB8E003E1, "ldaddal w0, w1, [sp]"},
      {0xF8A310A4, "ldclra x3, x4, [x5]"},
      {0xF86320A4, "ldeorl x3, x4, [x5]"},
      {0xF829316A, "ldset x9, x10, [x11]"},
      {0x38214062, "ldsmaxb w1, w2, [x3]"},
      {0x78215062, "ldsminh w1, w2, [x3]"},
      {0xF8E16062, "ldumaxal x1, x2, [x3]"},
      {0xB8E17062, "lduminal w1, w2, [x3]"},
      {0xB820003F, "stadd w0, [x1]"},
      {0xF860103F, "stclrl x0, [x1]"},
      {0x7823309F, "stseth w3, [x4]"},
      {0xF8A0003F, "ldadda x0, xzr, [x1]"},
      {0xF8BFC020, "ldapr x0, [x1]"},
      {0x38BFC3E0, "ldaprb w0, [sp]"},
      {0x78BFC083, "ldaprh w3, [x4]"},
      {0xF8400820, "ldtr x0, [x1]"},
      {0xB85F8862, "ldtr w2, [x3, #-8]"},
      {0x38400821, "ldtrb w1, [x1]"},
      {0x784FFBE2, "ldtrh w2, [sp, #0xff]"},
      {0xB89008C5, "ldtrsw x5, [x6, #-0x100]"},
  };
  for (const auto& [value, text] : rows) EXPECT_EQ(text_of(value), text) << std::hex << value;
}

TEST(DisassembleArm, TheRestIsANumber) {
  EXPECT_EQ(text_of(0x48217C82), ".inst 0x48217c82") << "casp of an odd register";
  EXPECT_EQ(text_of(0x38209041), ".inst 0x38209041") << "no such atomic";
  EXPECT_EQ(disassemble(Arch::Arm64, Bytes{0x01, 0x02}, 0), ".byte 01 02");
  EXPECT_EQ(disassemble(Arch::Arm64, {}, 0), "");
}

TEST(DisassembleX86, ByCapstone) {
  EXPECT_EQ(text_of(Bytes{0x48, 0x89, 0x07}), "mov qword ptr [rdi], rax");
  EXPECT_EQ(text_of(Bytes{0x48, 0x87, 0x07}), "xchg qword ptr [rdi], rax");
  EXPECT_EQ(text_of(Bytes{0xF0, 0x48, 0x0F, 0xB1, 0x17}), "lock cmpxchg qword ptr [rdi], rdx");
  EXPECT_EQ(text_of(Bytes{0xF0, 0x48, 0x0F, 0xC7, 0x0F}), "lock cmpxchg16b xmmword ptr [rdi]");
  EXPECT_EQ(text_of(Bytes{0xF3, 0x48, 0xAB}), "rep stosq qword ptr [rdi], rax");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x11, 0x07}), "movups xmmword ptr [rdi], xmm0");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x22, 0xDF}), "mov cr3, rdi");
  EXPECT_EQ(text_of(Bytes{0x48, 0xCF}), "iretq");
  EXPECT_EQ(text_of(Bytes{0xE8, 0x1B, 0x00, 0x00, 0x00}), "call 0x1020");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x01, 0xCA}), "clac");
}

TEST(DisassembleX86, WhatCapstone4LacksOrMistakes) {
  EXPECT_EQ(text_of(Bytes{0xF3, 0x0F, 0x01, 0xCA}), "eretu");
  EXPECT_EQ(text_of(Bytes{0xF2, 0x0F, 0x01, 0xCA}), "erets");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x01, 0xC6}), "wrmsrns");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x01, 0xE8}), "serialize");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x01, 0xEE}), "rdpkru");
  EXPECT_EQ(text_of(Bytes{0x0F, 0x01, 0xEF}), "wrpkru");
  EXPECT_EQ(text_of(Bytes{0x07}), ".byte 07");
  EXPECT_EQ(text_of(Bytes{}), "");
}

}  // namespace
}  // namespace sealvisor::arch
