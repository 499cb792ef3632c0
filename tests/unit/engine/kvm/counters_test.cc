#include "vmm/engine/kvm/counters.h"

#include <chrono>

#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

using std::chrono::microseconds;

Counters::Clock::time_point at(int moment) {
  return Counters::Clock::time_point{} + microseconds(moment);
}

TEST(Counters, GiveAnExitTheTimeToTheNextEntry) {
  Counters counters;
  counters.entering(at(0));
  counters.left(at(1000));
  counters.count(Counted::UserReturn);
  counters.entering(at(1030));
  counters.left(at(2000));
  counters.count(Counted::UserReturn);
  counters.entering(at(2005));
  counters.left(at(9000));
  counters.count(Counted::Serial);  // the last one
  const auto exits = counters.list();
  ASSERT_EQ(exits.size(), 2U);
  EXPECT_STREQ(exits[0].name(), "returns to user mode");
  EXPECT_EQ(exits[0].count, 2U);
  EXPECT_DOUBLE_EQ(exits[0].microseconds, 35);
  EXPECT_STREQ(exits[1].name(), "serial line");
  EXPECT_EQ(exits[1].count, 1U);
  EXPECT_EQ(exits[1].microseconds, 0);
}

TEST(Counters, GiveTheWholeOfASteppedStoreToTheStore) {
  Counters counters;
  counters.left(at(0));
  counters.count(Counted::GuardedStore);
  counters.count(Counted::Step);
  counters.entering(at(40));
  const auto exits = counters.list();
  ASSERT_EQ(exits.size(), 2U);
  EXPECT_EQ(exits[0].which, Counted::GuardedStore);
  EXPECT_DOUBLE_EQ(exits[0].microseconds, 40);
  EXPECT_EQ(exits[1].which, Counted::Step);
  EXPECT_EQ(exits[1].microseconds, 0);
}

TEST(Counters, GiveNoTimeToWhatWasNotCounted) {
  Counters counters;
  counters.left(at(0));
  counters.entering(at(40));
  EXPECT_TRUE(counters.list().empty());
}

}  // namespace
}  // namespace sealvisor::engine::kvm
