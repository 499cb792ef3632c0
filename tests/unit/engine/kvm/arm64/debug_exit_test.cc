#include "vmm/engine/kvm/arm64/debug_exit.h"

#include <array>

#include <gtest/gtest.h>

#include "tests/unit/engine/kvm/stopped_guest.h"
#include "vmm/engine/kvm/arm64/registers.h"

namespace sealvisor::engine::kvm::arm64 {
namespace {

using arch::Gva;

// Arm ARM DDI 0487, "ESR_ELx": EC 31:26, IL 25.
constexpr std::uint32_t syndrome(std::uint32_t exception_class, std::uint32_t iss = 0) {
  return exception_class << 26 | 1U << 25 | iss;
}
constexpr std::uint32_t kTrap = syndrome(0x3C, 0x5EA1);
constexpr std::uint32_t kOtherBrk = syndrome(0x3C, 0x800);
constexpr std::uint32_t kStep = syndrome(0x32, 0x22);
constexpr std::uint32_t kBreakpoint = syndrome(0x30, 0x22);
constexpr std::uint32_t kWatchpoint = syndrome(0x34, 0x62);

constexpr std::uint64_t kSite = 0xffff800080011e00;
constexpr std::uint64_t kVectors = 0xffff800080010000;
constexpr std::uint64_t kEl1h = 0x3c5;  // interrupts masked
constexpr std::uint64_t kEl1t = 0x3c4;
constexpr std::uint64_t kUser = 0x6000'0000;  // Z, C
constexpr std::uint64_t kPan = 1ULL << 22;

class DebugExit : public testing::Test {
 protected:
  DebugExit() {
    context.sites = sites;
    registers.values = {{kPc, kSite},      {kPstate, kEl1h},     {kElrEl1, 0x401000},
                        {kSpsrEl1, kUser}, {kVbarEl1, kVectors}, {kFarEl1, 0x1111}};
  }
  MachineExit stop(std::uint32_t esr, std::uint64_t far = 0) {
    auto exit = on_debug({esr, far}, context, registers, counters);
    EXPECT_TRUE(exit.ok());
    return exit.ok() ? std::move(exit).value() : MachineExit{ExitKind::Broken};
  }
  std::uint64_t reg(std::uint64_t id) { return registers.get(id).value(); }
  std::uint64_t count(Counted which) { return counters.count_of(which); }
  /// The guest takes the exception itself: from `pc` in mode `from`, by `vector`.
  void expect_handed_back(std::uint64_t pc, std::uint64_t from, std::uint64_t vector,
                          std::uint64_t esr) {
    EXPECT_EQ(reg(kElrEl1), pc);
    EXPECT_EQ(reg(kSpsrEl1), from);
    EXPECT_EQ(reg(kEsrEl1), esr);
    EXPECT_EQ(reg(kPc), kVectors + vector);
    EXPECT_EQ(reg(kPstate) & 0x3df, 0x3c5U) << "EL1h, all masked";
    EXPECT_EQ(count(Counted::GuestDebug), 1U);
  }

  const std::array<Gva, 3> sites{Gva{0xffff800080000100}, Gva{kSite}, Gva{0xffff8000800f0000}};
  DebugContext context;
  FakeRegisters registers;
  Counters counters{};
};

TEST_F(DebugExit, ATrapAtASiteReturnsToUserMode) {
  EXPECT_EQ(stop(kTrap).kind, ExitKind::UserReturn);
  EXPECT_EQ(reg(kPc), 0x401000U);
  EXPECT_EQ(reg(kPstate), kUser);
  EXPECT_EQ(registers.writes, 2U) << "no other register changes";
  EXPECT_EQ(count(Counted::UserReturn), 1U);
}

TEST_F(DebugExit, ATrapAtASiteReturnsToTheKernel) {
  registers.values[kSpsrEl1] = kEl1h;
  registers.values[kElrEl1] = kSite + 0x1000;
  EXPECT_EQ(stop(kTrap).kind, ExitKind::Handled);
  EXPECT_EQ(reg(kPc), kSite + 0x1000);
  EXPECT_EQ(reg(kPstate), kEl1h);
  EXPECT_EQ(count(Counted::KernelReturn), 1U);
  EXPECT_EQ(count(Counted::UserReturn), 0U);
}

TEST_F(DebugExit, ATrapReturnsTo32BitModeWhereTheCpuHasIt) {
  registers.values[kSpsrEl1] = 0x10;
  context.has_user32 = true;
  EXPECT_EQ(stop(kTrap).kind, ExitKind::UserReturn);
  EXPECT_EQ(reg(kPstate), 0x10U);
}

TEST_F(DebugExit, AnIllegalReturnIsNoneToUserMode) {
  registers.values[kSpsrEl1] = 0x10;  // without 32-bit user mode
  EXPECT_EQ(stop(kTrap).kind, ExitKind::Handled);
  EXPECT_NE(reg(kPstate) & 1ULL << 20, 0U) << "IL";
  EXPECT_EQ(count(Counted::UserReturn), 0U);
}

TEST_F(DebugExit, ATrapOutsideEl1IsUndefined) {
  registers.values[kPstate] = kUser;
  const MachineExit exit = stop(kTrap);
  EXPECT_EQ(exit.kind, ExitKind::Broken);
  EXPECT_EQ(exit.text, "an eret outside EL1");
  EXPECT_EQ(registers.writes, 0U);
}

TEST_F(DebugExit, TheTrapsWordElsewhereIsTheGuests) {
  for (const std::uint64_t pc : {kSite - 4, kSite + 4, std::uint64_t{0x401000}}) {
    counters = {};
    registers.values[kPc] = pc;
    registers.values[kPstate] = kUser;
    EXPECT_EQ(stop(kTrap).kind, ExitKind::Handled);
    expect_handed_back(pc, kUser, 0x400, kTrap);
  }
}

TEST_F(DebugExit, AnotherBrkAtASiteIsTheGuests) {
  EXPECT_EQ(stop(kOtherBrk).kind, ExitKind::Handled);
  expect_handed_back(kSite, kEl1h, 0x200, kOtherBrk);
}

TEST_F(DebugExit, AStepIsOneWhileStepping) {
  context.stepping = true;
  EXPECT_EQ(stop(kStep).kind, ExitKind::Stepped);
  EXPECT_EQ(registers.writes, 0U);
  EXPECT_EQ(count(Counted::Step), 1U);
}

TEST_F(DebugExit, ATrapIsOneWhileSteppingToo) {
  context.stepping = true;
  EXPECT_EQ(stop(kTrap).kind, ExitKind::UserReturn);
  EXPECT_EQ(count(Counted::Step), 0U);
}

TEST_F(DebugExit, AStepOtherwiseIsTheGuests) {
  registers.values[kPstate] = kUser | 1ULL << 21;  // SS: the host's
  EXPECT_EQ(stop(kStep).kind, ExitKind::Handled);
  expect_handed_back(kSite, kUser, 0x400, kStep);
}

TEST_F(DebugExit, ABreakpointOfTheGuestsIsHandedBack) {
  context.stepping = true;
  registers.values[kPstate] = kEl1t;
  EXPECT_EQ(stop(kBreakpoint).kind, ExitKind::Handled);
  expect_handed_back(kSite, kEl1t, 0x000, syndrome(0x31, 0x22));  // of the same level
}

TEST_F(DebugExit, AWatchpointOfTheGuestsIsHandedBackWithItsAddress) {
  registers.values[kPstate] = kUser;
  EXPECT_EQ(stop(kWatchpoint, 0xabcd).kind, ExitKind::Handled);
  expect_handed_back(kSite, kUser, 0x400, kWatchpoint);
  EXPECT_EQ(reg(kFarEl1), 0xabcdU);
  EXPECT_EQ(registers.writes, 6U);
}

TEST_F(DebugExit, WhatTheCpuHasIsInTheModeOfTheHandler) {
  constexpr std::uint64_t kTco = 1ULL << 25;
  constexpr std::uint64_t kAllInt = 1ULL << 13;
  registers.values[kPstate] = kUser;
  EXPECT_EQ(stop(kBreakpoint).kind, ExitKind::Handled);
  EXPECT_EQ(reg(kPstate), kEl1h | kUser | kPan);
  registers.values[kPstate] = kUser;
  context.has_mte = true;
  context.has_nmi = true;
  EXPECT_EQ(stop(kBreakpoint).kind, ExitKind::Handled);
  EXPECT_EQ(reg(kPstate), kEl1h | kUser | kPan | kTco | kAllInt);
}

TEST_F(DebugExit, AModeThatCanNotBeBreaksTheGuest) {
  registers.values[kPstate] = 0x3c9;  // EL2h
  const MachineExit exit = stop(kBreakpoint);
  EXPECT_EQ(exit.kind, ExitKind::Broken);
  EXPECT_EQ(registers.writes, 0U);
}

TEST_F(DebugExit, ARegisterThatTheHostRefusesIsAnError) {
  for (const std::uint64_t id : {kPc, kPstate, kElrEl1, kSpsrEl1}) {
    registers.broken = id;
    EXPECT_FALSE(on_debug({kTrap, 0}, context, registers, counters).ok()) << std::hex << id;
  }
  for (const std::uint64_t id : {kPc, kPstate, kVbarEl1, kSctlrEl1, kEsrEl1, kFarEl1}) {
    registers.broken = id;
    EXPECT_FALSE(on_debug({kBreakpoint, 0}, context, registers, counters).ok()) << std::hex << id;
  }
}

}  // namespace
}  // namespace sealvisor::engine::kvm::arm64
