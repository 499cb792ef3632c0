#include "vmm/engine/kvm/arm64/bus.h"

#include <gmock/gmock.h>

#include "tests/unit/engine/kvm/stopped_guest.h"

namespace sealvisor::engine::kvm::arm64 {
namespace {

using arch::Gpa;
using testing::ElementsAre;

constexpr Gpa kDoorbell{0x0b000000};
constexpr std::uint32_t kIrq = 0x01000021;
// DDI 0183G, table 3-1.
constexpr std::uint64_t kData = 0x000;
constexpr std::uint64_t kFlags = 0x018;
constexpr std::uint64_t kBaud = 0x024;
constexpr std::uint64_t kControl = 0x030;
constexpr std::uint64_t kMask = 0x038;

class ArmBus : public StoppedRam {
 protected:
  ArmBus() : StoppedRam(arch::Arch::Arm64) {}

  MachineExit done(kvm_run& run) {
    auto exit = bus.on_mmio(run);
    EXPECT_TRUE(exit.ok());
    return exit.ok() ? std::move(exit).value() : MachineExit{ExitKind::Broken};
  }
  void write(std::uint64_t offset, std::uint32_t bytes, std::uint64_t value) {
    kvm_run run = access(kUart.gpa.value + offset, bytes, true, value);
    EXPECT_EQ(done(run).kind, ExitKind::Handled);
  }
  std::uint64_t read(std::uint64_t offset, std::uint32_t bytes) {
    kvm_run run = access(kUart.gpa.value + offset, bytes, false, ~std::uint64_t{0});
    EXPECT_EQ(done(run).kind, ExitKind::Handled);
    return answer(run);
  }

  Bus bus{lines, kIrq, ram, counters, kDoorbell};
};

TEST_F(ArmBus, SendsWhatTheUartGetsInAnyWidth) {
  write(kData, 1, 'a');
  write(kData, 2, 'b');
  write(kData, 4, 'c');
  write(kData, 8, 'd');
  EXPECT_EQ(bus.take_console(), "abcd");
  EXPECT_EQ(count(Counted::Serial), 4U);
}

TEST_F(ArmBus, TakesNoMoreBytesThanWereStored) {
  write(kBaud, 1, 0x1234);
  EXPECT_EQ(read(kBaud, 2), 0x34U);
  write(kBaud, 2, 0xff1234);
  EXPECT_EQ(read(kBaud, 4), 0x1234U);
  write(kBaud, 4096, 0x4321);  // a length that can't be
  EXPECT_EQ(read(kBaud, 8), 0x4321U);
}

TEST_F(ArmBus, AnswersWithNothingAboveTheRegister) {
  EXPECT_EQ(read(kFlags, 4), 0x97U) << "FIFOs empty; CTS, DSR, DCD";
  EXPECT_EQ(read(0xffc, 8) >> 32, 0U) << "the last register of the block";
}

TEST_F(ArmBus, RaisesTheUartsInterrupt) {
  write(kControl, 4, 0x301);
  write(kMask, 4, 0x50);  // receive, receive timeout
  ASSERT_TRUE(bus.type("x").ok());
  EXPECT_EQ(read(kData, 4), std::uint64_t{'x'});
  EXPECT_THAT(lines.changes, ElementsAre(std::pair(kIrq, true), std::pair(kIrq, false)));
}

TEST_F(ArmBus, AnInterruptThatKvmRefusesEndsTheRun) {
  write(kControl, 4, 0x301);
  ASSERT_TRUE(bus.type("x").ok());
  lines.fails = true;
  kvm_run run = access(kUart.gpa.value + kMask, 4, true, 0x50);
  EXPECT_FALSE(bus.on_mmio(run).ok());
}

TEST_F(ArmBus, AStoreToTheDoorbellRings) {
  kvm_run run = access(kDoorbell.value + 16, 8, true, 0x1234);
  const MachineExit exit = done(run);
  EXPECT_EQ(exit.kind, ExitKind::Doorbell);
  EXPECT_EQ(exit.gpa, Gpa{16});
  EXPECT_EQ(exit.value, 0x1234U);
}

TEST_F(ArmBus, AStoreToAReadOnlyFrameIsLeftToTheCaller) {
  kvm_run run = access(frame(4).slot(2).value, 4, true, 7);
  const MachineExit exit = done(run);
  EXPECT_EQ(exit.kind, ExitKind::ReadOnly);
  EXPECT_EQ(exit.gpa, frame(4).slot(2));
  EXPECT_EQ(exit.size, 4);
}

TEST_F(ArmBus, WhereNothingIsStoresGoNowhereAndLoadsFindZero) {
  for (const std::uint64_t gpa : {kUart.gpa.value - 1, kUart.gpa.value + kUart.bytes}) {
    kvm_run store = access(gpa, 4, true, 'x');
    EXPECT_EQ(done(store).kind, ExitKind::Handled);
    kvm_run load = access(gpa, 4, false, ~std::uint64_t{0});
    EXPECT_EQ(done(load).kind, ExitKind::Handled);
    EXPECT_EQ(answer(load), 0U);
  }
  EXPECT_EQ(bus.take_console(), "");
  EXPECT_EQ(count(Counted::OtherDevice), 4U);
}

}  // namespace
}  // namespace sealvisor::engine::kvm::arm64
