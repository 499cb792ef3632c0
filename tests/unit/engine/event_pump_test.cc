#include "vmm/engine/tcg/event_pump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace sealvisor::engine::tcg {
namespace {

using event::Event;
using event::Kind;
using ::testing::HasSubstr;

/// Remembers what it was given.
class Recorder final : public Observer {
 public:
  void on_events(std::span<const Event> batch) override {
    events.insert(events.end(), batch.begin(), batch.end());
    std::this_thread::sleep_for(pause);
  }
  void on_table_copy(const Event& event, const arch::Table& table) override {
    events.push_back(event);
    copies.push_back(table[1]);
  }
  void on_stack_copy(const Event& event, const arch::Table& stack) override {
    events.push_back(event);
    stacks.push_back(stack[1]);
  }
  StopReply on_stopped(const Event& stopped) override {
    EXPECT_FALSE(events.empty());
    stops.push_back(stopped);
    return reply;
  }
  void on_console(std::span<const char>) override {}

  std::vector<Event> events;
  std::vector<Event> stops;
  std::vector<std::uint64_t> copies;  // second entry of each
  std::vector<std::uint64_t> stacks;  // second word of each
  StopReply reply;
  std::chrono::milliseconds pause{0};  ///< What a batch takes.
};

class EventPumpTest : public ::testing::Test {
 protected:
  EventPumpTest()
      : fd_(memory_file("ring", event::kRingBytes, false).value().release()),
        memory_(Mapping::map(fd_, event::kRingBytes, PROT_READ | PROT_WRITE, "ring").value()),
        ring_(memory_.bytes()) {
    ring_.initialise();
  }
  void push(Kind kind, std::uint64_t value = 0) {
    Event event{};
    event.kind = kind;
    event.new_value = value;
    ring_.push(event);
  }
  /// The byte with all its turns.
  PumpResult on_byte(char byte) {
    PumpResult result = pump_.on_byte(byte);
    while (result.more) result = pump_.go_on();
    return result;
  }
  /// False: broken.
  bool take_rest() {
    PumpResult result = pump_.take_rest();
    while (result.more) result = pump_.take_rest();
    EXPECT_FALSE(result.answer);
    return !result.broken;
  }

  Fd fd_;
  Mapping memory_;
  event::Ring ring_;
  Recorder observer_;
  EventPump pump_{ring_, observer_};
};

TEST_F(EventPumpTest, DrainsWithoutAnsweringWhenThereIsEnough) {
  push(Kind::SlotWrite, 1);
  push(Kind::SlotWrite, 2);
  const PumpResult result = on_byte(event::kDrain);
  EXPECT_FALSE(result.answer);
  EXPECT_FALSE(result.broken);
  ASSERT_EQ(observer_.events.size(), 2U);
  EXPECT_EQ(observer_.events[1].new_value, 2U);
  EXPECT_TRUE(observer_.stops.empty());
}

TEST_F(EventPumpTest, PassesCopiesOnInTheirPlace) {
  const auto push_copy = [&](std::uint64_t value) {
    Event event{};
    event.kind = Kind::TableCopy;
    arch::Table table{};
    table[1] = value;
    ring_.push_copy(event, table);
  };
  push(Kind::SlotWrite);
  push_copy(5);
  push_copy(6);
  push(Kind::Sync);
  EXPECT_FALSE(on_byte(event::kDrain).broken);
  ASSERT_EQ(observer_.events.size(), 4U);
  EXPECT_EQ(observer_.events[1].kind, Kind::TableCopy);
  EXPECT_EQ(observer_.events[3].kind, Kind::Sync);
  EXPECT_EQ(observer_.copies, (std::vector<std::uint64_t>{5, 6}));
  for (std::uint64_t i = 0; i < event::kCopyCapacity; ++i) {
    ASSERT_FALSE(ring_.copies_full()) << "their pages are free again";
    push_copy(i);
  }
}

TEST_F(EventPumpTest, TellsStacksFromTables) {
  for (const Kind kind : {Kind::StackCopy, Kind::TableCopy, Kind::StackCopy}) {
    Event event{};
    event.kind = kind;
    arch::Table page{};
    page[1] = static_cast<std::uint64_t>(kind);
    ring_.push_copy(event, page);
    push(Kind::SlotWrite);
  }
  EXPECT_FALSE(pump_.on_byte(event::kDrain).broken);
  EXPECT_EQ(observer_.events.size(), 6U);
  EXPECT_EQ(observer_.copies, (std::vector<std::uint64_t>{13}));
  EXPECT_EQ(observer_.stacks, (std::vector<std::uint64_t>{16, 16}));
}

TEST_F(EventPumpTest, CallsACopyOutOfOrderBroken) {
  push(Kind::TableCopy);
  Event event{};
  event.kind = Kind::TableCopy;
  event.aux = 9;
  ring_.push(event);
  EXPECT_TRUE(on_byte(event::kDrain).broken);
}

TEST_F(EventPumpTest, CallsAVcpuThatThereCannotBeBroken) {
  Event event{};
  event.kind = Kind::SlotWrite;
  event.vcpu = event::kMostVcpus - 1;
  ring_.push(event);
  EXPECT_FALSE(on_byte(event::kDrain).broken);
  EXPECT_EQ(observer_.events.size(), 1U);
  event.vcpu = event::kMostVcpus;
  ring_.push(event);
  EXPECT_TRUE(on_byte(event::kDrain).broken);
  EXPECT_EQ(observer_.events.size(), 1U);
}

TEST_F(EventPumpTest, AsksTheObserverAboutEachKindThatWaits) {
  for (const Kind kind : {Kind::Doorbell, Kind::RunEnd}) {
    push(Kind::UserEntry);
    push(kind, 7);
    const PumpResult result = on_byte(event::kStop);
    EXPECT_TRUE(result.answer);
    EXPECT_EQ(result.give_up, std::nullopt);
    ASSERT_FALSE(observer_.stops.empty());
    EXPECT_EQ(observer_.stops.back().kind, kind);
  }
  EXPECT_EQ(observer_.stops.size(), 2U);
}

TEST_F(EventPumpTest, OnlyAnswersWhenTheVcpuWaitedForRoom) {
  while (!ring_.full()) push(Kind::SlotWrite);
  EXPECT_TRUE(on_byte(event::kStop).answer);
  EXPECT_TRUE(observer_.stops.empty());
  EXPECT_EQ(observer_.events.size(), event::kRingCapacity);
  EXPECT_FALSE(ring_.full());
}

TEST_F(EventPumpTest, RemembersADoorbellThatAnEarlierDrainTook) {
  push(Kind::Doorbell, 9);
  EXPECT_FALSE(on_byte(event::kDrain).answer);
  EXPECT_TRUE(observer_.stops.empty());
  EXPECT_TRUE(on_byte(event::kStop).answer);
  ASSERT_EQ(observer_.stops.size(), 1U);
  EXPECT_EQ(observer_.stops[0].new_value, 9U);
}

TEST_F(EventPumpTest, AsksAboutOneRecordOnlyOnce) {
  push(Kind::Doorbell);
  EXPECT_TRUE(on_byte(event::kStop).answer);
  EXPECT_TRUE(on_byte(event::kStop).answer);
  EXPECT_EQ(observer_.stops.size(), 1U);
}

TEST_F(EventPumpTest, KeepsTheOrderAcrossTheEndOfTheRing) {
  for (std::uint64_t i = 0; i < 3 * event::kRingCapacity / 2; ++i) {
    push(Kind::SlotWrite, i);
    if (i % 1000 == 999) {
      ASSERT_FALSE(on_byte(event::kDrain).broken);
    }
  }
  EXPECT_TRUE(take_rest());
  ASSERT_EQ(observer_.events.size(), 3 * event::kRingCapacity / 2);
  for (std::uint64_t i = 0; i < observer_.events.size(); ++i) {
    ASSERT_EQ(observer_.events[i].new_value, i);
  }
}

/// Deadline and signals get their turn between records, however dear each of them is.
TEST_F(EventPumpTest, TakesNoMoreThanATurnAtOnce) {
  constexpr std::size_t kRecords = 64;
  observer_.pause = EventPump::kTurn;
  for (std::uint64_t i = 0; i < kRecords - 1; ++i) push(Kind::SlotWrite, i);
  push(Kind::Doorbell, kRecords - 1);
  PumpResult result = pump_.on_byte(event::kStop);
  std::size_t before = 0;
  int turns = 1;
  for (; result.more; ++turns) {
    ASSERT_FALSE(result.answer) << "the vCPU must not go on before all is taken";
    ASSERT_TRUE(observer_.stops.empty());
    const std::size_t taken = observer_.events.size() - before;
    ASSERT_GT(taken, 0U);
    ASSERT_LE(taken, 4U);
    before = observer_.events.size();
    result = pump_.go_on();
  }
  EXPECT_GE(turns, static_cast<int>(kRecords / 4));
  EXPECT_TRUE(result.answer);
  EXPECT_EQ(observer_.events.size(), kRecords);
  EXPECT_EQ(observer_.stops.size(), 1U);
}

TEST_F(EventPumpTest, WritesTheFramesToWatch) {
  observer_.reply.watch_content = {arch::Frame{0x123}, arch::Frame{0x456}};
  push(Kind::Doorbell);
  EXPECT_TRUE(on_byte(event::kStop).answer);
  EXPECT_EQ(ring_.header().content_count, 2U);
  EXPECT_EQ(ring_.header().content_frames[0], 0x123U);
  EXPECT_EQ(ring_.header().content_frames[1], 0x456U);
}

TEST_F(EventPumpTest, GivesUpWhenTooManyFramesAreWanted) {
  observer_.reply.watch_content.resize(event::kMaxContentFrames + 1);
  push(Kind::Doorbell);
  const PumpResult result = on_byte(event::kStop);
  ASSERT_TRUE(result.give_up);
  EXPECT_THAT(*result.give_up, HasSubstr("257"));
  EXPECT_EQ(ring_.header().content_count, 0U);
}

TEST_F(EventPumpTest, PassesTheObserversWishToGiveUpOn) {
  observer_.reply.give_up = "enough";
  push(Kind::Doorbell);
  const PumpResult result = on_byte(event::kStop);
  EXPECT_TRUE(result.answer) << "the vCPU must go on so that QEMU can end";
  EXPECT_EQ(result.give_up, "enough");
}

TEST_F(EventPumpTest, CallsImpossibleIndicesBroken) {
  for (const std::uint64_t head : {event::kRingCapacity + 1, ~std::uint64_t{0}}) {
    ring_.header().head.store(head);
    EXPECT_TRUE(on_byte(event::kDrain).broken);
    const PumpResult stopped = on_byte(event::kStop);
    EXPECT_TRUE(stopped.broken);
    EXPECT_FALSE(stopped.answer);
    EXPECT_FALSE(take_rest());
  }
  EXPECT_TRUE(observer_.events.empty());
}

TEST_F(EventPumpTest, CallsAnUnknownByteBroken) {
  EXPECT_TRUE(on_byte('?').broken);
  EXPECT_TRUE(on_byte(event::kGo).broken);
}

TEST_F(EventPumpTest, KnowsWhetherAnythingEverCame) {
  EXPECT_TRUE(take_rest());
  EXPECT_FALSE(pump_.seen_any());
  push(Kind::Registers);
  EXPECT_TRUE(take_rest());
  EXPECT_TRUE(pump_.seen_any());
}

}  // namespace
}  // namespace sealvisor::engine::tcg
