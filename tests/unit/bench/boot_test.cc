#include "bench/boot.h"

#include <gtest/gtest.h>

namespace sealvisor::bench {
namespace {

constexpr std::uint64_t kLinked = 0xffffffff81000000;

TEST(SlideOf, IsWhatKernelsAreMovedBy) {
  const auto none = slide_of(kLinked, kLinked);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none.value(), 0U);
  const auto up = slide_of(kLinked + 0x16800000, kLinked);
  ASSERT_TRUE(up.ok());
  EXPECT_EQ(up.value(), 0x16800000U);
  // arm64 is linked high and moved down as well as up.
  EXPECT_TRUE(slide_of(0xffffc35c37c00000, 0xffff800080000000).ok());
}

TEST(SlideOf, RefusesWhereNoKernelLies) {
  for (const std::uint64_t text : {std::uint64_t{0}, kLinked + 1, kLinked + 0x100000}) {
    const auto slide = slide_of(text, kLinked);
    ASSERT_FALSE(slide.ok()) << text;
    EXPECT_EQ(slide.error().code, ExitCode::GuestFailed);
    EXPECT_NE(slide.error().message.find("_text"), std::string::npos);
  }
}

}  // namespace
}  // namespace sealvisor::bench
