#include "vmm/engine/kvm/x86_64/bus.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "tests/unit/engine/kvm/stopped_guest.h"

namespace sealvisor::engine::kvm::x86_64 {
namespace {

using arch::Gpa;
using testing::Each;
using testing::ElementsAre;

constexpr Gpa kDoorbell{0xfeb00000};
constexpr std::uint64_t kRip = 0xffffffff81000000;

class X86Bus : public StoppedRam {
 protected:
  X86Bus() : StoppedRam(arch::Arch::X86_64) {}

  /// `data` holds count times what one access moves, and gets what the guest reads.
  MachineExit port(std::uint16_t number, bool out, std::uint8_t size, std::uint64_t rip = kRip) {
    const auto count = static_cast<std::uint32_t>(data.size() / size);
    auto exit =
        bus.on_port({number, out, size, count, std::as_writable_bytes(std::span(data))}, rip);
    EXPECT_TRUE(exit.ok());
    return exit.ok() ? std::move(exit).value() : MachineExit{ExitKind::Broken};
  }
  MachineExit out(std::uint16_t number, std::uint8_t size, std::vector<std::uint8_t> bytes,
                  std::uint64_t rip = kRip) {
    data = std::move(bytes);
    return port(number, true, size, rip);
  }
  std::vector<std::uint8_t> in(std::uint16_t number, std::uint8_t size, std::uint32_t times = 1) {
    data.assign(std::size_t{size} * times, 0x11);
    EXPECT_EQ(port(number, false, size).kind, ExitKind::Handled);
    return data;
  }

  Bus bus{lines, ram, guard, counters, kDoorbell};
  std::vector<std::uint8_t> data;
};

TEST_F(X86Bus, SendsWhatTheSerialPortGets) {
  EXPECT_EQ(out(0x3f8, 1, {'a'}).kind, ExitKind::Handled);
  // Of a wider access the register takes the first byte; each of a repeated one counts.
  EXPECT_EQ(out(0x3f8, 2, {'b', 'x'}).kind, ExitKind::Handled);
  EXPECT_EQ(out(0x3f8, 4, {'c', 'x', 'x', 'x', 'd', 'x', 'x', 'x'}).kind, ExitKind::Handled);
  EXPECT_EQ(out(0x3f8, 1, {'e', 'f', 'g'}).kind, ExitKind::Handled);
  EXPECT_EQ(bus.take_console(), "abcdefg");
  EXPECT_EQ(count(Counted::Serial), 4U);
  EXPECT_EQ(count(Counted::OtherDevice), 0U);
}

TEST_F(X86Bus, ReadsTheSerialPort) {
  // LSR after reset: transmitter empty.
  EXPECT_THAT(in(0x3fd, 1), ElementsAre(0x60));
  EXPECT_THAT(in(0x3fd, 2), ElementsAre(0x60, 0xff)) << "beside the register the bus is empty";
  EXPECT_THAT(in(0x3fd, 4, 2), ElementsAre(0x60, 0xff, 0xff, 0xff, 0x60, 0xff, 0xff, 0xff));
  EXPECT_EQ(count(Counted::Serial), 3U);
}

TEST_F(X86Bus, HasEightSerialPorts) {
  out(0x3ff, 1, {0x5a});  // scratch
  EXPECT_THAT(in(0x3ff, 1), ElementsAre(0x5a));
  EXPECT_THAT(in(0x400, 1), ElementsAre(0xff));
  EXPECT_THAT(in(0x3f7, 1), ElementsAre(0xff));
  EXPECT_EQ(count(Counted::OtherDevice), 2U);
}

TEST_F(X86Bus, GivesWhatIsTypedByteByByte) {
  ASSERT_TRUE(bus.type("xy").ok());  // no FIFO: one byte fits, the other waits
  EXPECT_THAT(in(0x3f8, 1, 2), ElementsAre('x', 0)) << "what waits comes between accesses";
  EXPECT_THAT(in(0x3f8, 1), ElementsAre('y'));
}

TEST_F(X86Bus, RaisesTheSerialInterrupt) {
  out(0x3fc, 1, {0x08});  // OUT2
  out(0x3f9, 1, {0x01});  // received data
  ASSERT_TRUE(bus.type("x").ok());
  EXPECT_THAT(in(0x3f8, 1), ElementsAre('x'));
  EXPECT_THAT(lines.changes, ElementsAre(std::pair(4U, true), std::pair(4U, false)));
}

TEST_F(X86Bus, AnInterruptThatKvmRefusesEndsTheRun) {
  out(0x3fc, 1, {0x08});
  out(0x3f9, 1, {0x01});
  lines.fails = true;
  EXPECT_FALSE(bus.type("x").ok());
}

TEST_F(X86Bus, ATrapCountsWhereItWasPlanted) {
  bus.set_planted({kRip + 0x100, kRip});
  for (const std::uint64_t rip : {kRip, kRip + 2, kRip + 0x100, kRip + 0x102}) {
    EXPECT_EQ(out(kTrapPort, 1, {0}, rip).kind, ExitKind::UserReturn) << std::hex << rip;
  }
  EXPECT_EQ(count(Counted::UserReturn), 4U);
  for (const std::uint64_t rip : {kRip - 1, kRip + 3, kRip + 0xff, kRip + 0x103, ~0UL, 0UL}) {
    EXPECT_EQ(out(kTrapPort, 1, {0}, rip).kind, ExitKind::Handled) << std::hex << rip;
  }
  EXPECT_EQ(count(Counted::UserReturn), 4U);
  EXPECT_EQ(count(Counted::OtherDevice), 6U);
}

TEST_F(X86Bus, OnlyAnOutToTheTrapPortIsATrap) {
  bus.set_planted({kRip});
  EXPECT_THAT(in(kTrapPort, 1), ElementsAre(0xff));
  EXPECT_EQ(out(kTrapPort + 1, 1, {0}).kind, ExitKind::Handled);
  EXPECT_EQ(count(Counted::UserReturn), 0U);
}

TEST_F(X86Bus, WithoutTrapsNoneCounts) { EXPECT_FALSE(is_planted({}, kRip)); }

TEST_F(X86Bus, TheKeyboardControllerResets) {
  EXPECT_EQ(out(0x64, 1, {0xd1}).kind, ExitKind::Handled) << "another command";
  EXPECT_EQ(out(0x60, 1, {0xfe}).kind, ExitKind::Handled) << "its data port";
  const MachineExit exit = out(0x64, 1, {0xfe});
  EXPECT_EQ(exit.kind, ExitKind::Reset);
  EXPECT_EQ(exit.text, "keyboard controller");
}

TEST_F(X86Bus, KeyboardAndClockReadAsZero) {
  for (const int number : {0x64, 0x70, 0x71}) {
    EXPECT_THAT(in(static_cast<std::uint16_t>(number), 1), ElementsAre(0)) << number;
  }
}

TEST_F(X86Bus, AnEmptyBusReadsAsOnes) {
  EXPECT_THAT(in(0x2f8, 1), ElementsAre(0xff));
  EXPECT_THAT(in(0xcf8, 2, 3), Each(0xff));
  EXPECT_THAT(in(0xffff, 4), Each(0xff));
  EXPECT_EQ(out(0xcf8, 4, {1, 2, 3, 4}).kind, ExitKind::Handled);
  EXPECT_EQ(count(Counted::OtherDevice), 4U);
}

TEST_F(X86Bus, AStoreToTheDoorbellRings) {
  kvm_run run = access(kDoorbell.value + 8, 4, true, 0x1234);
  const MachineExit exit = bus.on_mmio(run, kRip);
  EXPECT_EQ(exit.kind, ExitKind::Doorbell);
  EXPECT_EQ(exit.gpa, Gpa{8});
  EXPECT_EQ(exit.value, 0x1234U);
}

TEST_F(X86Bus, AStoreToAGuardedFrameIsDoneAndTold) {
  const arch::Frame on[] = {frame(3)};
  ASSERT_TRUE(guard.change(on, {}).ok());
  put(frame(3).slot(1), ~std::uint64_t{0});
  kvm_run run = access(frame(3).slot(1).value + 2, 2, true, 0x1234);
  const MachineExit exit = bus.on_mmio(run, kRip);
  EXPECT_EQ(exit.kind, ExitKind::Stored);
  EXPECT_EQ(exit.pc, kRip);
  EXPECT_FALSE(exit.stepped);
  EXPECT_THAT(exit.stores, ElementsAre(Stored{Gpa{frame(3).slot(1).value + 2}, 2}));
  EXPECT_EQ(at(frame(3).slot(1)), 0xffff'ffff'1234'ffffU);
  EXPECT_EQ(count(Counted::GuardedStore), 1U);
}

TEST_F(X86Bus, AStoreToAReadOnlyFrameIsLeftToTheCaller) {
  kvm_run run = access(frame(4).slot(0).value, 8, true, 7);
  const MachineExit exit = bus.on_mmio(run, kRip);
  EXPECT_EQ(exit.kind, ExitKind::ReadOnly);
  EXPECT_EQ(exit.gpa, frame(4).slot(0));
  EXPECT_EQ(at(frame(4).slot(0)), 0U) << "not done yet";
}

TEST_F(X86Bus, WhereNothingIsStoresGoNowhereAndLoadsFindOnes) {
  kvm_run store = access(0xf0000000, 4, true, 7);
  EXPECT_EQ(bus.on_mmio(store, kRip).kind, ExitKind::Handled);
  kvm_run load = access(kDoorbell.value, 4, false, 0);
  EXPECT_EQ(bus.on_mmio(load, kRip).kind, ExitKind::Handled);
  EXPECT_EQ(answer(load), ~std::uint64_t{0});
  EXPECT_EQ(count(Counted::OtherDevice), 2U);
}

class PortAccesses : public testing::Test {
 protected:
  std::optional<PortAccess> decode(std::uint8_t size, std::uint32_t times, std::uint64_t offset) {
    kvm_run run{};
    run.io.direction = KVM_EXIT_IO_OUT;
    run.io.port = 0x3f8;
    run.io.size = size;
    run.io.count = times;
    run.io.data_offset = offset;
    return port_access(run, shared);
  }
  std::array<std::byte, 8192> shared{};
};

TEST_F(PortAccesses, HaveTheirDataInTheSharedPages) {
  const auto access = decode(2, 3, 4096);
  ASSERT_TRUE(access.has_value());
  EXPECT_EQ(access->port, 0x3f8);
  EXPECT_TRUE(access->out);
  EXPECT_EQ(access->size, 2);
  EXPECT_EQ(access->count, 3U);
  EXPECT_EQ(access->data.data(), shared.data() + 4096);
  EXPECT_EQ(access->data.size(), 6U);
}

TEST_F(PortAccesses, AreRefusedWhereTheDataIsNotThere) {
  EXPECT_TRUE(decode(4, 1, 8188).has_value()) << "the last place";
  EXPECT_TRUE(decode(4, 2048, 0).has_value()) << "all of it";
  EXPECT_FALSE(decode(4, 1, 8189).has_value());
  EXPECT_FALSE(decode(4, 1, 8192).has_value());
  EXPECT_FALSE(decode(4, 1, ~std::uint64_t{0}).has_value()) << "wraps";
  EXPECT_FALSE(decode(4, 2049, 0).has_value());
  EXPECT_FALSE(decode(4, ~std::uint32_t{0}, 4096).has_value());
  EXPECT_FALSE(decode(1, 0, 4096).has_value()) << "nothing to move";
  EXPECT_FALSE(decode(0, 1, 4096).has_value());
}

}  // namespace
}  // namespace sealvisor::engine::kvm::x86_64
