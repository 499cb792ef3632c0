#include "vmm/model/table_copies.h"

#include <optional>

#include <gtest/gtest.h>

namespace sealvisor::model {
namespace {

using arch::Frame;
using arch::Gpa;

constexpr Frame kCopied{0x100};

/// One table copied, of a guest whose RAM is the frames 0x100 to 0x1ff.
class TableCopiesOfOne : public testing::Test {
 protected:
  void SetUp() override {
    table[3] = 0x1234;
    copies.add(kCopied, table);
  }
  arch::Table table{};
  TableCopies copies{[](Frame frame) { return frame.number >= 0x100 && frame.number < 0x200; }};
};

TEST_F(TableCopiesOfOne, ReadAsMemoryDoes) {
  arch::Table copy{};
  ASSERT_TRUE(copies.read_table(kCopied, copy));
  EXPECT_EQ(copy, table);
  std::uint64_t value = 1;
  EXPECT_FALSE(copies.read_entry(Gpa{kCopied.slot(3).value + 4}, value)) << "no slot";
  EXPECT_FALSE(copies.read_entry(Frame{0x101}.slot(3), value)) << "no copy";
  EXPECT_EQ(value, 1U);
  ASSERT_TRUE(copies.read_entry(kCopied.slot(3), value));
  EXPECT_EQ(value, 0x1234U);
}

TEST_F(TableCopiesOfOne, NameTheFirstFrameOfRamThatNobodyCopied) {
  arch::Table copy{};
  std::uint64_t value = 0;
  EXPECT_TRUE(copies.read_table(kCopied, copy));
  EXPECT_FALSE(copies.read_table(Frame{0x200}, copy));
  EXPECT_EQ(copies.missing(), std::nullopt) << "what is no RAM can't be copied";
  EXPECT_FALSE(copies.read_entry(Frame{0x102}.slot(0), value));
  EXPECT_FALSE(copies.read_table(Frame{0x101}, copy));
  EXPECT_EQ(copies.missing(), Frame{0x102});
}

TEST_F(TableCopiesOfOne, ForgetEverythingForTheNextMoment) {
  arch::Table copy{};
  EXPECT_FALSE(copies.read_table(Frame{0x101}, copy));
  copies.clear();
  EXPECT_EQ(copies.missing(), std::nullopt);
  EXPECT_FALSE(copies.read_table(kCopied, copy));
  EXPECT_EQ(copies.missing(), kCopied);
}

}  // namespace
}  // namespace sealvisor::model
