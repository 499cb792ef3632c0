#include "vmm/run/recent_writes.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using event::Event;
using event::Kind;

constexpr arch::Frame kRoot{0x100};
constexpr std::array kPath = {arch::Gpa{0x100'0ff8}, arch::Gpa{0x200'0008}};

class RecentWrites : public testing::Test {
 protected:
  void write(std::uint64_t gpa, std::uint64_t pc, std::uint64_t from = 0, std::uint64_t to = 1) {
    Event event{};
    event.kind = Kind::SlotWrite;
    event.gpa = gpa;
    event.pc = pc;
    event.old_value = from;
    event.new_value = to;
    writes_.on_event(event, ++number_);
  }
  void load(arch::Frame root, std::uint64_t pc, std::uint8_t flags = 0) {
    Event event{};
    event.kind = Kind::RootLoad;
    event.gpa = root.gpa().value;
    event.pc = pc;
    event.flags = flags;
    writes_.on_event(event, ++number_);
  }
  std::uint64_t pc_since(std::uint64_t since) {
    const auto cause = writes_.cause(kPath, kRoot, since);
    return cause ? cause->pc : 0;
  }
  run::RecentWrites writes_;
  std::uint64_t number_ = 0;
};

TEST_F(RecentWrites, TheLatestOnTheWayIsTheCause) {
  write(kPath[0].value, 1);
  write(kPath[1].value, 2);
  write(0x300'0000, 3);
  EXPECT_EQ(pc_since(0), 2U);
}

TEST_F(RecentWrites, WhatWasThereAtTheLastLookIsNone) {
  write(kPath[0].value, 1);
  EXPECT_EQ(pc_since(0), 1U);
  EXPECT_EQ(pc_since(1), 0U);
  write(kPath[0].value, 2);
  EXPECT_EQ(pc_since(1), 2U);
}

TEST_F(RecentWrites, AStoreThatChangedNothingIsNone) {
  write(kPath[0].value, 1, 5, 5);
  EXPECT_EQ(pc_since(0), 0U);
}

TEST_F(RecentWrites, WithoutAStoreItIsTheLoadOfTheRoot) {
  load(kRoot, 1);
  load(arch::Frame{0x101}, 2);
  load(kRoot, 3, event::kUpperHalf);
  EXPECT_EQ(pc_since(0), 1U);
  EXPECT_EQ(pc_since(1), 0U);
  load(kRoot, 4);
  EXPECT_EQ(pc_since(0), 4U) << "the latest";
  write(kPath[0].value, 5);
  load(kRoot, 6);
  EXPECT_EQ(pc_since(0), 5U) << "a store comes first, whatever was loaded after it";
}

/// In how many instructions of its own an address space showed what was done to it.
TEST_F(RecentWrites, CountsInstructionsOfTheAddressSpaceAlone) {
  constexpr arch::Frame kOther{0x101};
  const auto at = [](Kind kind, arch::Frame root, std::uint64_t instructions) {
    Event event{};
    event.kind = kind;
    event.gpa = root.gpa().value;
    event.aux = event.old_value = instructions;
    return event;
  };
  const auto load_at = [&](arch::Frame root, std::uint64_t instructions) {
    writes_.on_event(at(Kind::RootLoad, root, instructions), ++number_);
  };
  const auto begun = [&](arch::Frame then, std::uint64_t from, std::uint64_t to) {
    Event cause = at(Kind::SlotWrite, kRoot, from);
    return writes_.begun_since(cause, then, kRoot, at(Kind::UserEntry, kRoot, to));
  };
  load_at(kOther, 5);
  load_at(kRoot, 10);
  EXPECT_EQ(begun(kRoot, 10, 10), 0U) << "loaded before, at the same number";
  EXPECT_EQ(begun(kRoot, 12, 12), 0U);
  EXPECT_EQ(begun(kRoot, 12, 15), 3U);
  // Another process ran, and this one again: what it ran before counts.
  load_at(kOther, 20);
  load_at(kRoot, 70);
  EXPECT_EQ(begun(kRoot, 12, 70), 8U);
  EXPECT_EQ(begun(kRoot, 12, 71), 9U);
  EXPECT_EQ(begun(kRoot, 20, 70), 0U) << "it left at once";
  // Done by the other one.
  EXPECT_EQ(begun(kOther, 30, 70), 0U);
  EXPECT_EQ(begun(kOther, 30, 72), 2U);
}

/// On two vCPUs, whose instructions are counted together.
TEST_F(RecentWrites, CountsWhileAnyVcpuHasTheAddressSpaceLoaded) {
  constexpr arch::Frame kOther{0x101};
  const auto at = [](Kind kind, unsigned vcpu, arch::Frame root, std::uint64_t instructions) {
    Event event{};
    event.kind = kind;
    event.vcpu = static_cast<std::uint8_t>(vcpu);
    event.gpa = root.gpa().value;
    event.aux = event.old_value = instructions;
    return event;
  };
  const auto load_at = [&](unsigned vcpu, arch::Frame root, std::uint64_t instructions) {
    writes_.on_event(at(Kind::RootLoad, vcpu, root, instructions), ++number_);
  };
  const auto begun = [&](unsigned vcpu, arch::Frame then, std::uint64_t from, std::uint64_t to) {
    const Event cause = at(Kind::SlotWrite, vcpu, kRoot, from);
    return writes_.begun_since(cause, then, kRoot, at(Kind::UserEntry, 0, kRoot, to));
  };
  load_at(0, kOther, 5);
  load_at(1, kRoot, 10);
  EXPECT_EQ(begun(0, kOther, 12, 15), 3U) << "done on a vCPU that is elsewhere";
  load_at(0, kRoot, 20);
  load_at(1, kOther, 30);
  EXPECT_EQ(begun(1, kOther, 35, 40), 5U) << "the first has it loaded";
  load_at(0, kOther, 50);
  EXPECT_EQ(begun(0, kOther, 50, 60), 0U) << "no vCPU has";
  EXPECT_EQ(begun(0, kRoot, 40, 60), 10U);
  // The load of the second is no longer there, and still known.
  load_at(1, kRoot, 70);
  for (std::size_t i = 0; i < run::RecentWrites::kMost; ++i) load_at(0, kOther, 80);
  EXPECT_EQ(begun(0, kOther, 80, 90), 10U);
}

TEST_F(RecentWrites, OtherEventsAreNoCause) {
  Event event{};
  event.kind = Kind::ContentWrite;
  event.gpa = kPath[0].value;
  event.pc = 1;
  event.new_value = 1;
  writes_.on_event(event, ++number_);
  EXPECT_EQ(pc_since(0), 0U);
}

TEST_F(RecentWrites, WhatIsTooLongAgoIsForgotten) {
  write(kPath[0].value, 1);
  for (std::size_t i = 1; i < run::RecentWrites::kMost; ++i) write(0x300'0000, 2);
  EXPECT_EQ(pc_since(0), 1U);
  write(0x300'0000, 2);
  EXPECT_EQ(pc_since(0), 0U);
  write(kPath[1].value, 3);
  EXPECT_EQ(pc_since(0), 3U);
}

}  // namespace
}  // namespace sealvisor::test
