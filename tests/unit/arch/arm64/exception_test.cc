#include "arch/arm64/exception.h"

#include <gtest/gtest.h>

#include "arch/arm64/pstate.h"

namespace sealvisor::arch::arm64 {
namespace {

constexpr std::uint64_t kVbar = 0xFFFF'8000'8001'0800;
/// As Linux sets it on a CPU with PAN: SPAN clear.
constexpr std::uint64_t kSctlr = 0x3054'D91D & ~(1ULL << 23);
constexpr std::uint64_t kBrk = 0xF200'0000;  // EC 0x3c, IL

ExceptionState brk_at(std::uint64_t pc, std::uint64_t pstate, std::uint64_t immediate = 0) {
  return {
      .pc = pc, .pstate = pstate, .vbar_el1 = kVbar, .sctlr_el1 = kSctlr, .esr = kBrk | immediate};
}

ExceptionEntry entered(const ExceptionState& state) {
  const auto entry = enter_exception(state);
  EXPECT_TRUE(entry) << (entry ? "" : entry.error().message);
  return entry ? entry.value() : ExceptionEntry{};
}

TEST(ArmException, GoesToTheVectorOfItsSource) {
  EXPECT_EQ(entered(brk_at(0x40'1000, 0x6000'0000, 0x3E8)),
            (ExceptionEntry{.pc = kVbar + 0x400,
                            .pstate = 0x6040'03C5,
                            .elr_el1 = 0x40'1000,
                            .spsr_el1 = 0x6000'0000,
                            .esr_el1 = 0xF200'03E8}));
  EXPECT_EQ(entered(brk_at(0xFFFF'8000'8002'0000, 0x2040'0005, 0x800)),
            (ExceptionEntry{.pc = kVbar + 0x200,
                            .pstate = 0x2040'03C5,
                            .elr_el1 = 0xFFFF'8000'8002'0000,
                            .spsr_el1 = 0x2040'0005,
                            .esr_el1 = 0xF200'0800}));
  EXPECT_EQ(entered(brk_at(0xFFFF'8000'8002'0000, 0x2040'0004, 4)),
            (ExceptionEntry{.pc = kVbar,
                            .pstate = 0x2040'03C5,
                            .elr_el1 = 0xFFFF'8000'8002'0000,
                            .spsr_el1 = 0x2040'0004,
                            .esr_el1 = 0xF200'0004}));
}

TEST(ArmException, KeepsNothingOfAArch32ButFlagsPanAndDit) {
  // Flags, Q, IT, DIT, SSBS (bit 23), GE, E, A, T and User mode; a 2-byte bkpt #1.
  ExceptionState state = brk_at(0x1'0002, 0xAD8F'FF30);
  state.esr = 0xE000'0001;
  EXPECT_EQ(entered(state), (ExceptionEntry{.pc = kVbar + 0x600,
                                            .pstate = 0xA140'03C5,
                                            .elr_el1 = 0x1'0002,
                                            .spsr_el1 = 0xAD8F'FF30,
                                            .esr_el1 = 0xE000'0001}));
}

TEST(ArmException, SetsPstateAsSctlrSays) {
  ExceptionState state = brk_at(0x1000, 0x5);
  EXPECT_EQ(entered(state).pstate, 0x0040'03C5U);  // SPAN 0: PAN set
  state.sctlr_el1 = 1ULL << 23;
  EXPECT_EQ(entered(state).pstate, 0x3C5U);  // SPAN 1: PAN as it was
  state.pstate = 0x0040'0005;
  EXPECT_EQ(entered(state).pstate, 0x0040'03C5U);
  state.pstate = 0x5;
  state.sctlr_el1 = 1ULL << 23 | 1ULL << 44;
  EXPECT_EQ(entered(state).pstate, 0x13C5U);  // DSSBS 1: SSBS set
  // Whatever SSBS was.
  state.pstate = 0x1005;
  state.sctlr_el1 = 1ULL << 23;
  EXPECT_EQ(entered(state).pstate, 0x3C5U);
}

TEST(ArmException, SetsWhatTheCpuHas) {
  ExceptionState state = brk_at(0x1000, 0x5);
  state.has_mte = true;
  EXPECT_EQ(entered(state).pstate, 0x0240'03C5U);
  state.has_nmi = true;
  EXPECT_EQ(entered(state).pstate, 0x0240'23C5U);
  state.sctlr_el1 |= 1ULL << 62;  // SPINTMASK 1: ALLINT clear
  EXPECT_EQ(entered(state).pstate, 0x0240'03C5U);
}

TEST(ArmException, ClearsIlStepUaoAndBranchType) {
  EXPECT_EQ(entered(brk_at(0x1000, kIllegal | kSoftwareStep | kUserAccessOverride | kBranchType |
                                       kDataIndependent | 0xF000'0005)),
            (ExceptionEntry{.pc = kVbar + 0x200,
                            .pstate = 0xF140'03C5,
                            .elr_el1 = 0x1000,
                            // All that it was, but for the step, which is the host's.
                            .spsr_el1 = 0xF190'0C05,
                            .esr_el1 = kBrk}));
}

TEST(ArmException, TellsEl1WhereItCameFrom) {
  struct Case {
    std::uint64_t kvm, from_el0, from_el1;
  };
  // Hardware breakpoint, step, watchpoint (with WnR in its ISS), undefined, brk.
  for (const Case& c :
       {Case{0xC200'0022, 0xC200'0022, 0xC600'0022}, Case{0xCA00'0022, 0xCA00'0022, 0xCE00'0022},
        Case{0xD200'0062, 0xD200'0062, 0xD600'0062},
        Case{kUndefinedSyndrome, 0x0200'0000, 0x0200'0000},
        Case{0xF200'0000, 0xF200'0000, 0xF200'0000}}) {
    ExceptionState state = brk_at(0x1000, 0);
    state.esr = c.kvm;
    EXPECT_EQ(entered(state).esr_el1, c.from_el0);
    state.pstate = 5;
    EXPECT_EQ(entered(state).esr_el1, c.from_el1);
    state.pstate = 4;
    EXPECT_EQ(entered(state).esr_el1, c.from_el1);
  }
  EXPECT_EQ(class_of(0xC600'0022), ExceptionClass::BreakpointSame);
  EXPECT_EQ(class_of(0xCE00'0022), ExceptionClass::StepSame);
  EXPECT_EQ(class_of(0xD600'0062), ExceptionClass::WatchpointSame);
  EXPECT_EQ(class_of(0xE000'0001), ExceptionClass::Bkpt32);
  EXPECT_EQ(class_of(kBrk), ExceptionClass::Brk64);
}

TEST(ArmException, IgnoresWhatVbarHasBelowItsTable) {
  ExceptionState state = brk_at(0x1000, 0);
  state.vbar_el1 = kVbar | 0x7FF;
  EXPECT_EQ(entered(state).pc, kVbar + 0x400);
  state.vbar_el1 = 0;
  EXPECT_EQ(entered(state).pc, 0x400U);
}

TEST(ArmException, RefusesAModeThatCannotBe) {
  for (const std::uint64_t mode :
       {1U, 2U, 3U, 6U, 8U, 9U, 0xCU, 0xDU, 0xFU, 0x11U, 0x13U, 0x1AU, 0x1FU}) {
    const auto entry = enter_exception(brk_at(0x1000, 0x3C0 | mode));
    ASSERT_FALSE(entry) << mode;
    EXPECT_EQ(entry.error().code, ExitCode::GuestFailed);
  }
  EXPECT_EQ(enter_exception(brk_at(0x1000, 0x3C9)).error().message,
            "vCPU: has pstate 0x3c9, expected a mode of EL0 or EL1");
}

}  // namespace
}  // namespace sealvisor::arch::arm64
