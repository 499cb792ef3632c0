#include "bench/guest/traced.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <csignal>

#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

TEST(Traced, ACallThatStaysInUserMode) {
  int calls = 0;
  EXPECT_TRUE(stays_in_user_mode([&] { ++calls; }));
  EXPECT_EQ(calls, 0) << "it is called in a child";
}

TEST(Traced, ACallThatDoesNot) {
  EXPECT_FALSE(stays_in_user_mode([] { (void)agent::raw_call(SYS_getppid); }));
  EXPECT_FALSE(stays_in_user_mode([] { (void)agent::raw_call(-1); })) << "one that does not exist";
  EXPECT_FALSE(stays_in_user_mode([] { (void)agent::raw_call(SYS_exit_group, 0); }));
}

TEST(Traced, OnlyTheSecondCallCounts) {
  // Each child has a number of its own.
  int calls = 0;
  const auto system_call_if = [&](int number) {
    if (calls++ == number) (void)agent::raw_call(SYS_getppid);
  };
  EXPECT_TRUE(stays_in_user_mode([&] { system_call_if(0); }));
  EXPECT_FALSE(stays_in_user_mode([&] { system_call_if(1); }));
}

TEST(Traced, ACallThatCrashesIsNoGoodOne) {
  int calls = 0;
  EXPECT_FALSE(stays_in_user_mode([&] {
    if (calls++ == 1) __builtin_trap();
  }));
}

}  // namespace
}  // namespace sealvisor::bench
