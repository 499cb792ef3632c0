#include "vmm/engine/kvm/step_check.h"

#include <gtest/gtest.h>

namespace sealvisor::engine::kvm {
namespace {

/// The stop that begins the first sample: a message, from user mode.
void begin(StepCheck& check) {
  ASSERT_TRUE(check.wants_all());
  ASSERT_TRUE(check.on_stop(ExitKind::Doorbell, true).step);
}

TEST(StepCheck, StepsThroughSamplesOnly) {
  StepCheck check;
  begin(check);
  for (std::uint64_t i = 1; i < StepCheck::kInstructions; ++i) {
    ASSERT_TRUE(check.on_stop(ExitKind::Stepped, true).step) << i;
  }
  EXPECT_FALSE(check.on_stop(ExitKind::Stepped, true).step);
  EXPECT_FALSE(check.stepping());
  EXPECT_EQ(check.counts().instructions, StepCheck::kInstructions);
  EXPECT_EQ(check.counts().entries, 0U);
  EXPECT_FALSE(check.wants_all());
  for (std::uint64_t i = 1; i < StepCheck::kEvery; ++i) {
    ASSERT_FALSE(check.on_stop(ExitKind::UserReturn, true).step) << i;
  }
  EXPECT_TRUE(check.on_stop(ExitKind::UserReturn, true).step) << "the next sample";
}

TEST(StepCheck, CountsAnEntryThatATrapTold) {
  StepCheck check;
  begin(check);
  EXPECT_FALSE(check.on_stop(ExitKind::Stepped, false).untrapped);
  EXPECT_FALSE(check.on_stop(ExitKind::UserReturn, true).untrapped);
  EXPECT_FALSE(check.on_stop(ExitKind::Stepped, true).untrapped);
  EXPECT_EQ(check.counts().entries, 1U);
  EXPECT_EQ(check.counts().untrapped, 0U);
}

TEST(StepCheck, FindsAnEntryThatNoTrapTold) {
  StepCheck check;
  begin(check);
  EXPECT_FALSE(check.on_stop(ExitKind::Stepped, false).untrapped);
  EXPECT_TRUE(check.on_stop(ExitKind::Stepped, true).untrapped);
  // Whatever the vCPU stops for.
  EXPECT_FALSE(check.on_stop(ExitKind::Kicked, false).untrapped);
  EXPECT_TRUE(check.on_stop(ExitKind::Doorbell, true).untrapped);
  EXPECT_EQ(check.counts().entries, 2U);
  EXPECT_EQ(check.counts().untrapped, 2U);
}

TEST(StepCheck, ASampleEndsAfterAFewEntries) {
  StepCheck check;
  begin(check);
  for (std::uint64_t i = 1; i <= StepCheck::kEntries; ++i) {
    ASSERT_TRUE(check.on_stop(ExitKind::Stepped, false).step);
    ASSERT_EQ(check.on_stop(ExitKind::UserReturn, true).step, i < StepCheck::kEntries);
  }
  EXPECT_EQ(check.counts().entries, StepCheck::kEntries);
  EXPECT_EQ(check.counts().instructions, 2 * StepCheck::kEntries);
}

TEST(StepCheck, SaysNothingOfWhatIsOutsideOfASample) {
  StepCheck check;
  begin(check);
  for (std::uint64_t i = 0; i < StepCheck::kInstructions; ++i) {
    static_cast<void>(check.on_stop(ExitKind::Stepped, true));
  }
  ASSERT_FALSE(check.stepping());
  EXPECT_FALSE(check.on_stop(ExitKind::Handled, false).untrapped);
  EXPECT_FALSE(check.on_stop(ExitKind::Handled, true).untrapped);
  EXPECT_EQ(check.counts().instructions, StepCheck::kInstructions);
  EXPECT_EQ(check.counts().entries, 0U);
}

}  // namespace
}  // namespace sealvisor::engine::kvm
