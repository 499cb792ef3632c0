#include "guest/agent/iomem.h"

#include <gtest/gtest.h>

#include <string>

namespace sealvisor::agent {
namespace {

TEST(Iomem, TakesTheOutermostRamRanges) {
  const RamRanges ram = ram_ranges(
      "00000000-00000fff : Reserved\n"
      "00001000-0009fbff : System RAM\n"
      "00100000-0fffffff : System RAM\n"
      "  01000000-015fffff : Kernel code\n"
      "  02000000-020fffff : System RAM\n"
      "feb00000-feb00fff : LNRO0005:00\n"
      "100000000-13fffffff : System RAM (kexec)\n");
  ASSERT_EQ(ram.count, 2U);
  EXPECT_EQ(ram.ranges[0].start, 0x1000U);
  EXPECT_EQ(ram.ranges[0].end, 0x9fc00U);
  EXPECT_EQ(ram.ranges[1].start, 0x100000U);
  EXPECT_EQ(ram.ranges[1].end, 0x10000000U);
}

TEST(Iomem, LeavesOutWhatIsNoRange) {
  EXPECT_EQ(ram_ranges("").count, 0U);
  EXPECT_EQ(ram_ranges("2000-1fff : System RAM\n").count, 0U);
  EXPECT_EQ(ram_ranges("2000-ffffffffffffffff : System RAM\n").count, 0U);
  EXPECT_EQ(ram_ranges("-1fff : System RAM\n").count, 0U);
  EXPECT_EQ(ram_ranges("2000 1fff : System RAM\n").count, 0U);
  EXPECT_EQ(ram_ranges("1000-1fff : System RAM").count, 1U);
}

TEST(Iomem, StopsWhereTheRoomEnds) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "1000-1fff : System RAM\n";
  EXPECT_EQ(ram_ranges(text).count, 32U);
}

}  // namespace
}  // namespace sealvisor::agent
