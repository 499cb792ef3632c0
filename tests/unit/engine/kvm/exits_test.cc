#include "vmm/engine/kvm/exits.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

using arch::Gpa;
using testing::HasSubstr;

constexpr Gpa kDoorbell{0xfeb00000};

/// A vCPU that no kernel runs: its shared page only.
class Exits : public testing::Test {
 protected:
  Exits()
      : memory(std::move(memory::GuestMemory::create(arch::Arch::X86_64, 64 << 20)).value()),
        ram(std::move(GuestRam::map(memory)).value()),
        vcpu(make_vcpu()) {}

  static Vcpu make_vcpu() {
    Fd page = std::move(memory_file("a test", 4096, false)).value();
    auto shared = Mapping::map(page, 4096, PROT_READ | PROT_WRITE, "a test");
    return {std::move(page), std::move(shared).value()};
  }
  MachineExit store(std::uint64_t gpa, std::uint32_t bytes, std::uint64_t value) {
    kvm_run& run = vcpu.run();
    run.mmio.phys_addr = gpa;
    run.mmio.len = bytes;
    run.mmio.is_write = 1;
    std::memcpy(run.mmio.data, &value, sizeof run.mmio.data);
    return on_store(run, kDoorbell, ram, counters);
  }

  memory::GuestMemory memory;
  GuestRam ram;
  Vcpu vcpu;
  Kick kick{vcpu};
  Counters counters{};
};

TEST_F(Exits, AStoreToTheDoorbellPageRings) {
  const MachineExit exit = store(kDoorbell.value + 8, 4, 0xffff'ffff'1234'5678);
  EXPECT_EQ(exit.kind, ExitKind::Doorbell);
  EXPECT_EQ(exit.gpa, Gpa{8});
  EXPECT_EQ(exit.size, 4U);
  EXPECT_EQ(exit.value, 0x1234'5678U) << "only what was stored";
  EXPECT_EQ(counter(counters, Counted::Doorbell), 1U);
}

TEST_F(Exits, AStoreToRamIsOneToAReadOnlySlot) {
  const MachineExit exit = store(0x1000, 8, 7);
  EXPECT_EQ(exit.kind, ExitKind::ReadOnly);
  EXPECT_EQ(exit.gpa, Gpa{0x1000});
  EXPECT_EQ(exit.value, 7U);
}

TEST_F(Exits, AStoreElsewhereIsDropped) {
  for (const std::uint64_t gpa :
       {kDoorbell.value - 1, kDoorbell.value + 4096, std::uint64_t{64} << 20}) {
    EXPECT_EQ(store(gpa, 1, 0).kind, ExitKind::Handled) << gpa;
  }
  EXPECT_EQ(counter(counters, Counted::OtherDevice), 3U);
}

TEST_F(Exits, ALengthThatCanNotBeIsCut) { EXPECT_EQ(store(0x1000, 4096, 7).size, 8U); }

TEST_F(Exits, AKickIsTaken) {
  vcpu.run().immediate_exit = 1;
  const auto exit = common_exit(EINTR, vcpu.run(), kick, counters);
  ASSERT_TRUE(exit.has_value() && exit->ok());
  EXPECT_EQ(exit->value().kind, ExitKind::Kicked);
  EXPECT_EQ(vcpu.run().immediate_exit, 0) << "the next KVM_RUN must run";
}

TEST_F(Exits, AFailureOfKvmIsNamed) {
  const auto exit = common_exit(EFAULT, vcpu.run(), kick, counters);
  ASSERT_TRUE(exit.has_value());
  ASSERT_FALSE(exit->ok());
  EXPECT_THAT(exit->error().message, HasSubstr("KVM_RUN: Bad address"));
}

TEST_F(Exits, AVcpuThatCanNotEnterIsNamed) {
  vcpu.run().exit_reason = KVM_EXIT_FAIL_ENTRY;
  vcpu.run().fail_entry.hardware_entry_failure_reason = 0x80000021;
  const auto exit = common_exit(0, vcpu.run(), kick, counters);
  ASSERT_TRUE(exit.has_value() && exit->ok());
  EXPECT_EQ(exit->value().kind, ExitKind::Broken);
  EXPECT_THAT(exit->value().text, HasSubstr("0x80000021"));
}

TEST_F(Exits, WhatIsTheMachinesOwnIsLeftToIt) {
  vcpu.run().exit_reason = KVM_EXIT_MMIO;
  EXPECT_FALSE(common_exit(0, vcpu.run(), kick, counters).has_value());
  vcpu.run().exit_reason = 12345;
  EXPECT_EQ(unknown_exit(vcpu.run()).kind, ExitKind::Broken);
  EXPECT_THAT(unknown_exit(vcpu.run()).text, HasSubstr("12345"));
}

}  // namespace
}  // namespace sealvisor::engine::kvm
