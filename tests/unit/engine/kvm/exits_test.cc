#include "vmm/engine/kvm/exits.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
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
  Counters counters;
};

TEST_F(Exits, AStoreToTheDoorbellPageRings) {
  const MachineExit exit = store(kDoorbell.value + 8, 4, 0xffff'ffff'1234'5678);
  EXPECT_EQ(exit.kind, ExitKind::Doorbell);
  EXPECT_EQ(exit.gpa, Gpa{8});
  EXPECT_EQ(exit.size, 4U);
  EXPECT_EQ(exit.value, 0x1234'5678U) << "only what was stored";
  EXPECT_EQ(counters.count_of(Counted::Doorbell), 1U);
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
  EXPECT_EQ(counters.count_of(Counted::OtherDevice), 3U);
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
}

TEST_F(Exits, AnInterruptedRunIsNone) {
  vcpu.run().exit_reason = KVM_EXIT_INTR;
  const auto exit = common_exit(0, vcpu.run(), kick, counters);
  ASSERT_TRUE(exit.has_value() && exit->ok());
  EXPECT_EQ(exit->value().kind, ExitKind::Handled);
}

struct Final {
  const char* name;
  std::uint32_t reason;
  void (*fill)(kvm_run& run);
  ExitKind kind;
  const char* text;
};

class FinalExits : public testing::TestWithParam<Final> {};

INSTANTIATE_TEST_SUITE_P(
    All, FinalExits,
    testing::Values(
        Final{"Shutdown", KVM_EXIT_SHUTDOWN, [](kvm_run&) {}, ExitKind::Broken, "triple fault"},
        Final{"Emulation", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) { run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION; },
              ExitKind::Broken, "KVM internal error 1 (an instruction that it can't emulate)"},
        Final{"EmulationWithBytes", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) {
                run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
                run.emulation_failure.ndata = 3;
                run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
                run.emulation_failure.insn_size = 2;
                run.emulation_failure.insn_bytes[0] = 0x0f;
                run.emulation_failure.insn_bytes[1] = 0x0b;
              },
              ExitKind::Broken,
              "KVM internal error 1 (an instruction that it can't emulate: 0f 0b)"},
        Final{"EmulationWithASizeThatCanNotBe", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) {
                run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
                run.emulation_failure.ndata = 3;
                run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
                run.emulation_failure.insn_size = 255;
              },
              ExitKind::Broken,
              "KVM internal error 1 (an instruction that it can't emulate: 00 00 00 00 00 00 00 00 "
              "00 00 00 00 00 00 00)"},
        Final{"TwoExceptions", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) { run.internal.suberror = KVM_INTERNAL_ERROR_SIMUL_EX; },
              ExitKind::Broken, "KVM internal error 2 (two exceptions at once)"},
        Final{"Delivery", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) { run.internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV; },
              ExitKind::Broken, "KVM internal error 3 (a stop while an event was delivered)"},
        Final{
            "Unexpected", KVM_EXIT_INTERNAL_ERROR,
            [](kvm_run& run) { run.internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON; },
            ExitKind::Broken, "KVM internal error 4 (a stop that KVM does not expect)"},
        Final{"UnknownError", KVM_EXIT_INTERNAL_ERROR,
              [](kvm_run& run) { run.internal.suberror = 77; }, ExitKind::Broken,
              "KVM internal error 77 (no kind that is known here)"},
        Final{"PowerOff", KVM_EXIT_SYSTEM_EVENT,
              [](kvm_run& run) { run.system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN; },
              ExitKind::Reset, "PSCI power off"},
        Final{"Reset", KVM_EXIT_SYSTEM_EVENT,
              [](kvm_run& run) { run.system_event.type = KVM_SYSTEM_EVENT_RESET; }, ExitKind::Reset,
              "PSCI reset"},
        Final{"Crash", KVM_EXIT_SYSTEM_EVENT,
              [](kvm_run& run) { run.system_event.type = KVM_SYSTEM_EVENT_CRASH; },
              ExitKind::Broken, "the guest reported a crash"},
        Final{"UnknownEvent", KVM_EXIT_SYSTEM_EVENT,
              [](kvm_run& run) { run.system_event.type = 99; }, ExitKind::Broken,
              "KVM system event 99, which this machine does not know"},
        Final{"NotDecoded", KVM_EXIT_ARM_NISV,
              [](kvm_run& run) {
                run.arm_nisv.fault_ipa = 0xd0000000;
                run.arm_nisv.esr_iss = 0x47;
              },
              ExitKind::Broken,
              "an access to 0xd0000000 that the hardware does not decode (ESR 0x47)"},
        Final{"Exception", KVM_EXIT_EXCEPTION, [](kvm_run& run) { run.ex.exception = 14; },
              ExitKind::Broken, "KVM exit by exception 14 (error code 0x0)"},
        Final{"UnknownReason", 12345, [](kvm_run&) {}, ExitKind::Broken,
              "KVM exit reason 12345, which this machine does not know"}),
    [](const testing::TestParamInfo<Final>& one) { return std::string(one.param.name); });

TEST_P(FinalExits, AreNamed) {
  kvm_run run{};
  run.exit_reason = GetParam().reason;
  GetParam().fill(run);
  const MachineExit exit = final_exit(run);
  EXPECT_EQ(exit.kind, GetParam().kind);
  EXPECT_EQ(exit.text, GetParam().text);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
