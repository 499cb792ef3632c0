#include "arch/arm64/user_returns.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {
namespace {

using Target = EretResult::Target;

constexpr std::uint64_t kFirst = 0xFFFF'8000'8001'1E00;

std::vector<std::byte> text_of(std::initializer_list<std::uint32_t> words) {
  std::vector<std::byte> text;
  for (const std::uint32_t word : words) {
    for (unsigned i = 0; i < 4; ++i) text.push_back(static_cast<std::byte>(word >> (8 * i)));
  }
  return text;
}

TEST(UserReturnTrap, IsABrkWithItsOwnImmediate) {
  EXPECT_EQ(kTrapWord, 0xD42BD420U);  // brk #0x5ea1
  EXPECT_TRUE(is_trap(0xF200'5EA1));  // EC 0x3c, IL
  EXPECT_FALSE(is_trap(0xF200'5EA0));
  EXPECT_FALSE(is_trap(0xF200'0004));  // kprobes
  EXPECT_FALSE(is_trap(0xE200'5EA1));  // EC 0x38, BKPT of AArch32
  EXPECT_FALSE(is_trap(0xCA00'5EA1));  // EC 0x32, step
}

TEST(FindUserReturns, FindsEveryEret) {
  const auto text = text_of({
      0xF9407BFE,  // ldr x30, [sp, #240]
      0x910543FF,  // add sp, sp, #0x150
      0xD503201F,  // nop
      0xD69F03E0,  // eret
      0xD503379F,  // dsb nsh
      0xD5033FDF,  // isb
      0xD538601D,  // mrs x29, far_el1
      0xD69F03E0,  // eret
      0xD69F0BFF,  // eretaa
      0xD69F0FFF,  // eretab
      0xD65F03C0,  // ret
      0xD6BF03E0,  // drps
      0xD61F03A0,  // br x29
      0xD42BD420,  // our own trap
      0xD69F03E1,  // unallocated
  });
  const UserReturns found = find_user_returns(text, Gva{kFirst});
  EXPECT_EQ(found, (UserReturns{.sites = {Gva{kFirst + 12}, Gva{kFirst + 28}},
                                .authenticated = {Gva{kFirst + 32}, Gva{kFirst + 36}}}));
}

TEST(FindUserReturns, LooksAtWholeWordsOnly) {
  auto text = text_of({0xD69F03E0});
  EXPECT_EQ(find_user_returns(text, Gva{kFirst}).sites, (std::vector<Gva>{Gva{kFirst}}));
  for (std::size_t cut = 3; cut > 0; --cut) {
    EXPECT_EQ(find_user_returns(std::span(text).first(cut), Gva{kFirst}), UserReturns{}) << cut;
  }
  EXPECT_EQ(find_user_returns({}, Gva{kFirst}), UserReturns{});
  // An eret two bytes off is none.
  text.insert(text.begin(), {std::byte{0x1F}, std::byte{0x20}});
  EXPECT_EQ(find_user_returns(text, Gva{kFirst}), UserReturns{});
}

TEST(FindUserReturns, GivesUpAtTooMany) {
  const auto text = text_of({0xD69F03E0, 0xD69F0BFF, 0xD69F03E0});
  EXPECT_FALSE(find_user_returns(text, Gva{kFirst}, 3).too_many);
  EXPECT_TRUE(find_user_returns(text, Gva{kFirst}, 2).too_many);
}

EretResult eret(std::uint64_t elr, std::uint64_t spsr, std::uint64_t pstate = 0x3C5) {
  return emulate_eret({.pstate = pstate, .elr_el1 = elr, .spsr_el1 = spsr, .has_user32 = true});
}

TEST(EmulateEret, ReturnsToUserMode) {
  // N, Z, C, V, TCO, DIT, PAN, SSBS and BTYPE come from SPSR_EL1 as they are.
  for (const std::uint64_t flags : {0x0ULL, 0x8000'0000ULL, 0xF3C0'1C00ULL, 0x6000'1000ULL}) {
    EXPECT_EQ(eret(0x40'1234, flags), (EretResult{Target::User, 0x40'1234, flags}));
  }
  // From EL1t too. What PSTATE was does not matter.
  EXPECT_EQ(eret(0x40'1234, 0x6000'0000, 0xF000'0204),
            (EretResult{Target::User, 0x40'1234, 0x6000'0000}));
  // A tagged address stays: KVM's own return cuts it.
  EXPECT_EQ(eret(0x5A00'0000'0040'1235, 0), (EretResult{Target::User, 0x5A00'0000'0040'1235, 0}));
  // A saved IL is returned to, and is an exception at EL0.
  EXPECT_EQ(eret(0x40'1234, kIllegal), (EretResult{Target::User, 0x40'1234, kIllegal}));
}

TEST(EmulateEret, ReturnsToTheKernel) {
  EXPECT_EQ(eret(0xFFFF'8000'8001'2345, 0x6040'0005),
            (EretResult{Target::Kernel, 0xFFFF'8000'8001'2345, 0x6040'0005}));
  EXPECT_EQ(eret(0xFFFF'8000'8001'2344, 0x3C4),
            (EretResult{Target::Kernel, 0xFFFF'8000'8001'2344, 0x3C4}));
}

TEST(EmulateEret, DropsTheSingleStepThatKvmSuppresses) {
  EXPECT_EQ(eret(0x40'1234, kSoftwareStep | 0x8000'0000),
            (EretResult{Target::User, 0x40'1234, 0x8000'0000}));
}

TEST(EmulateEret, ReturnsToAArch32) {
  // A32: 4 bytes; T32: 2. 32 bits of the address.
  EXPECT_EQ(eret(0x1234'5678'0001'0003, 0x6000'0010),
            (EretResult{Target::User, 0x1'0000, 0x6000'0010}));
  EXPECT_EQ(eret(0x1'0003, 0x6000'0030), (EretResult{Target::User, 0x1'0002, 0x6000'0030}));
}

TEST(EmulateEret, RefusesIllegalReturnsAsTheCpuDoes) {
  // Every mode but EL0t, EL1t, EL1h and AArch32 User: EL2, EL3, EL0 with SP_EL0's bit set, the
  // reserved ones, and AArch32 modes of a kernel. Arm ARM, "Illegal exception returns".
  for (std::uint64_t mode = 0; mode < 0x20; ++mode) {
    const EretResult result = eret(0x8000, 0x9000'0000 | 0x40'0080 | mode, 0x6000'0000 | 0x3C5);
    if (mode == 0x0 || mode == 0x10) {
      EXPECT_EQ(result.target, Target::User) << mode;
    } else if (mode == 0x4 || mode == 0x5) {
      EXPECT_EQ(result.target, Target::Kernel) << mode;
    } else {
      // Flags, PAN and DAIF are the saved ones; the mode is the one it was in; IL is set.
      EXPECT_EQ(result, (EretResult{Target::Illegal, 0x8000, 0x9050'0085})) << mode;
    }
  }
  EXPECT_EQ(
      emulate_eret({.pstate = 0x3C5, .elr_el1 = 0x1'0000, .spsr_el1 = 0x10, .has_user32 = false}),
      (EretResult{Target::Illegal, 0x1'0000, 0x10'0005}));
  // From EL1t it stays at EL1t; the step bit is dropped.
  EXPECT_EQ(eret(0x8000, 0x20'0009, 0x20'03C4), (EretResult{Target::Illegal, 0x8000, 0x10'0004}));
}

TEST(EmulateEret, IsNoInstructionElsewhere) {
  for (const std::uint64_t pstate : {0x0ULL, 0x10ULL, 0x30ULL, 0x3C9ULL, 0x3CDULL, 0x1D3ULL}) {
    EXPECT_EQ(eret(0x8000, 0x5, pstate), EretResult{}) << pstate;
  }
}

}  // namespace
}  // namespace sealvisor::arch::arm64
