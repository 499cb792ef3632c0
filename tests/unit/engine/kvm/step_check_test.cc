#include "vmm/engine/kvm/step_check.h"

#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

constexpr bool kTrap = true;
constexpr bool kNoTrap = false;
constexpr bool kUser = true;
constexpr bool kKernel = false;

TEST(StepCheck, StepsThroughSamplesOnly) {
  StepCheck check;
  ASSERT_TRUE(check.due()) << "the first is due at once";
  check.begin(kUser);
  EXPECT_FALSE(check.due());
  for (std::uint64_t i = 0; i < StepCheck::kInstructions; ++i) {
    ASSERT_TRUE(check.stepping()) << i;
    ASSERT_TRUE(check.on_stop(kNoTrap, kUser));
  }
  EXPECT_FALSE(check.stepping());
  EXPECT_EQ(check.counts().instructions, StepCheck::kInstructions);
  EXPECT_EQ(check.counts().entries, 0U);
}

TEST(StepCheck, OneIsDueEverySoManyTrapsUntilItBegins) {
  StepCheck check;
  for (std::uint64_t i = 0; i <= StepCheck::kMostEmpty; ++i) {
    ASSERT_TRUE(check.due()) << "one without an entry is taken again: " << i;
    check.begin(kUser);
    while (check.stepping()) ASSERT_TRUE(check.on_stop(kNoTrap, kUser));
  }
  for (std::uint64_t i = 1; i < StepCheck::kEvery; ++i) {
    check.on_trap();
    ASSERT_FALSE(check.due()) << i;
  }
  check.on_trap();
  EXPECT_TRUE(check.due());
  check.on_trap();
  EXPECT_TRUE(check.due());
  check.begin(kUser);
  EXPECT_FALSE(check.due());
}

TEST(StepCheck, CountsAnEntryThatATrapTold) {
  StepCheck check;
  check.begin(kUser);
  EXPECT_TRUE(check.on_stop(kNoTrap, kKernel));
  EXPECT_TRUE(check.on_stop(kTrap, kUser));
  EXPECT_TRUE(check.on_stop(kNoTrap, kUser));
  EXPECT_EQ(check.counts().entries, 1U);
  EXPECT_EQ(check.counts().untrapped, 0U);
}

TEST(StepCheck, FindsAnEntryThatNoTrapTold) {
  StepCheck check;
  check.begin(kKernel);
  EXPECT_FALSE(check.on_stop(kNoTrap, kUser));
  EXPECT_TRUE(check.on_stop(kNoTrap, kKernel));
  EXPECT_FALSE(check.on_stop(kNoTrap, kUser));
  EXPECT_EQ(check.counts().entries, 2U);
  EXPECT_EQ(check.counts().untrapped, 2U);
}

TEST(StepCheck, ASampleEndsAfterAFewEntries) {
  StepCheck check;
  check.begin(kUser);
  for (std::uint64_t i = 1; i <= StepCheck::kEntries; ++i) {
    ASSERT_TRUE(check.on_stop(kNoTrap, kKernel));
    ASSERT_TRUE(check.stepping());
    ASSERT_TRUE(check.on_stop(kTrap, kUser));
    ASSERT_EQ(check.stepping(), i < StepCheck::kEntries);
  }
  EXPECT_EQ(check.counts().entries, StepCheck::kEntries);
  EXPECT_EQ(check.counts().instructions, 2 * StepCheck::kEntries);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
