#include "vmm/event/ring.h"

#include <cstdlib>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using event::Event;
using event::Ring;

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

class EventRing : public testing::Test {
 protected:
  EventRing()
      : memory_(static_cast<std::byte*>(
            std::aligned_alloc(4096, event::kRingBytes + 4096 - event::kRingBytes % 4096))),
        ring_({memory_.get(), event::kRingBytes}) {
    ring_.initialise();
  }
  static Event numbered(std::uint64_t number) {
    Event event{};
    event.kind = event::Kind::SlotWrite;
    event.icount = number;
    return event;
  }
  std::unique_ptr<std::byte, Free> memory_;
  Ring ring_;
};

TEST_F(EventRing, CarriesCopiesOfTablesInOrder) {
  arch::Table table{};
  for (std::uint64_t i = 0; i < event::kCopyCapacity; ++i) {
    ASSERT_FALSE(ring_.copies_full());
    table[7] = i;
    ring_.push_copy(numbered(i), table);
  }
  EXPECT_TRUE(ring_.copies_full());
  const auto ready = ring_.ready();
  ASSERT_EQ(ready.size(), event::kCopyCapacity);
  EXPECT_EQ(ring_.copy_of(ready[1]), nullptr) << "not the oldest";
  for (std::uint64_t i = 0; i < event::kCopyCapacity; ++i) {
    const arch::Table* copy = ring_.copy_of(ready[i]);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ((*copy)[7], i);
    ring_.take_copy();
  }
  EXPECT_FALSE(ring_.copies_full());
}

TEST_F(EventRing, GivesBackWhatWasPushedInOrder) {
  for (std::uint64_t i = 0; i < 5; ++i) ring_.push(numbered(i));
  const auto ready = ring_.ready();
  ASSERT_EQ(ready.size(), 5U);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(ready[i].icount, i);
  ring_.consume(2);
  EXPECT_EQ(ring_.ready().size(), 3U);
  EXPECT_EQ(ring_.ready()[0].icount, 2U);
}

TEST_F(EventRing, IsFullAtItsCapacityAndNeverOverwrites) {
  for (std::uint64_t i = 0; i < event::kRingCapacity; ++i) {
    ASSERT_FALSE(ring_.full());
    ring_.push(numbered(i));
  }
  EXPECT_TRUE(ring_.full());
  EXPECT_EQ(ring_.ready()[0].icount, 0U);
  ring_.consume(1);
  EXPECT_FALSE(ring_.full());
}

TEST_F(EventRing, WrapsInTwoStretches) {
  for (std::uint64_t i = 0; i < event::kRingCapacity - 2; ++i) ring_.push(numbered(i));
  ring_.consume(ring_.ready().size());
  for (std::uint64_t i = 0; i < 5; ++i) ring_.push(numbered(100 + i));
  ASSERT_EQ(ring_.ready().size(), 2U);
  EXPECT_EQ(ring_.ready()[1].icount, 101U);
  ring_.consume(2);
  ASSERT_EQ(ring_.ready().size(), 3U);
  EXPECT_EQ(ring_.ready()[0].icount, 102U);
}

TEST_F(EventRing, NoticesImpossibleIndices) {
  ring_.header().head.store(event::kRingCapacity + 1);
  EXPECT_TRUE(ring_.broken());
  EXPECT_TRUE(ring_.ready().empty());
}

TEST_F(EventRing, RefusesAnotherVersion) {
  EXPECT_TRUE(ring_.compatible());
  ring_.header().version = event::kEventVersion + 1;
  EXPECT_FALSE(ring_.compatible());
}

TEST_F(EventRing, LosesNothingBetweenTwoThreads) {
  constexpr std::uint64_t kEvents = 200'000;
  std::thread producer([this] {
    for (std::uint64_t i = 0; i < kEvents;) {
      if (ring_.full()) {
        std::this_thread::yield();
        continue;
      }
      ring_.push(numbered(i++));
    }
  });
  std::uint64_t next = 0;
  bool in_order = true;
  while (next < kEvents) {
    const auto ready = ring_.ready();
    for (const Event& event : ready) in_order = in_order && event.icount == next++;
    ring_.consume(ready.size());
  }
  producer.join();
  EXPECT_TRUE(in_order);
  EXPECT_EQ(next, kEvents);
}

}  // namespace
}  // namespace sealvisor::test
