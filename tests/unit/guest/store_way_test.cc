#include "guest/agent/store_way.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using agent::Bytes;
using agent::can_make;
using agent::Needs;
using agent::place_of;
using agent::Shape;

bool makes(const Shape& shape, const std::vector<std::uint8_t>& before,
           const std::vector<std::uint8_t>& after) {
  return can_make(shape, Bytes(before), Bytes(after));
}

TEST(StoreWay, MakesOnlyWhatItsInstructionCan) {
  const auto byte = [](Needs needs, std::uint8_t before, std::uint8_t after) {
    return makes({.width = 1, .align = 1, .phase = 0, .grain = 1, .needs = needs}, {before},
                 {after});
  };
  EXPECT_TRUE(byte(Needs::Nothing, 5, 9));
  EXPECT_TRUE(byte(Needs::Flag, 5, 1));
  EXPECT_FALSE(byte(Needs::Flag, 5, 2));
  EXPECT_TRUE(byte(Needs::Sets, 1, 3));
  EXPECT_FALSE(byte(Needs::Sets, 1, 2));
  EXPECT_TRUE(byte(Needs::Clears, 3, 1));
  EXPECT_FALSE(byte(Needs::Clears, 1, 2));
  EXPECT_TRUE(byte(Needs::OneBit, 3, 1));
  EXPECT_FALSE(byte(Needs::OneBit, 3, 0));
  EXPECT_FALSE(byte(Needs::OneBit, 3, 3));
  EXPECT_TRUE(byte(Needs::OneBitSet, 1, 3));
  EXPECT_FALSE(byte(Needs::OneBitSet, 3, 1));
  EXPECT_TRUE(byte(Needs::OneBitCleared, 3, 1));
  EXPECT_FALSE(byte(Needs::OneBitCleared, 1, 3));
  EXPECT_TRUE(byte(Needs::Zeroes, 3, 0));
  EXPECT_FALSE(byte(Needs::Zeroes, 3, 1));
  EXPECT_TRUE(byte(Needs::NoChange, 3, 3));
  EXPECT_FALSE(byte(Needs::NoChange, 3, 1));
}

TEST(StoreWay, ComparesNumbers) {
  const auto word = [](Needs needs, std::uint8_t before, std::uint8_t after) {
    std::vector<std::uint8_t> from(8);
    std::vector<std::uint8_t> to(8);
    from[7] = before;
    to[7] = after;
    return makes({.needs = needs}, from, to);
  };
  EXPECT_TRUE(word(Needs::Greater, 1, 0x80));
  EXPECT_FALSE(word(Needs::Less, 1, 0x80));
  EXPECT_FALSE(word(Needs::GreaterSigned, 1, 0x80));
  EXPECT_TRUE(word(Needs::LessSigned, 1, 0x80));
  EXPECT_TRUE(word(Needs::Less, 2, 1));
  EXPECT_TRUE(word(Needs::GreaterSigned, 1, 2));
}

TEST(StoreWay, LeavesNaNsAlone) {
  std::vector<std::uint8_t> number(8);
  EXPECT_TRUE(makes({.needs = Needs::Number}, number, number));
  number[7] = 0x7f;
  number[6] = 0xf0;
  EXPECT_FALSE(makes({.needs = Needs::Number}, number, number));
  number[6] = 0xe0;
  EXPECT_TRUE(makes({.needs = Needs::Number}, number, number));
  const Shape single{.width = 4, .align = 4, .phase = 0, .grain = 4, .needs = Needs::Number};
  EXPECT_FALSE(makes(single, {0, 0, 0, 0}, {0, 0, 0x80, 0xff}));
  EXPECT_TRUE(makes(single, {0, 0, 0, 0}, {0, 0, 0, 0xff}));
}

TEST(StoreWay, LeavesNaNsOfHalvesAlone) {
  for (std::size_t i = 0; i < 8; i += 2) {
    std::vector<std::uint8_t> numbers(8);
    EXPECT_TRUE(makes({.needs = Needs::Halves}, numbers, numbers));
    numbers[i + 1] = 0x7c;
    EXPECT_FALSE(makes({.needs = Needs::Halves}, numbers, numbers));
    numbers[i + 1] = 0xf8;
    EXPECT_TRUE(makes({.needs = Needs::Halves}, numbers, numbers));
    numbers[i] = 0xff;
    EXPECT_TRUE(makes({.needs = Needs::Halves}, numbers, numbers));
  }
}

/// What is stored piece by piece would be seen in between.
TEST(StoreWay, ChangesOnePieceAtATime) {
  const Shape shape{.width = 16, .align = 16, .phase = 0, .grain = 8, .needs = Needs::Nothing};
  const std::vector<std::uint8_t> before(16);
  std::vector<std::uint8_t> after(16);
  after[6] = after[7] = 1;
  EXPECT_TRUE(makes(shape, before, after));
  after[8] = 1;
  EXPECT_FALSE(makes(shape, before, after));
  after[6] = after[7] = 0;
  EXPECT_TRUE(makes(shape, before, after));
}

TEST(StoreWay, IsPlacedWhereItCoversTheChange) {
  EXPECT_EQ(place_of({}, 8, 16, 4096), 8U);
  EXPECT_EQ(place_of({}, 9, 10, 4096), 8U);
  EXPECT_EQ(place_of({}, 9, 17, 4096), std::nullopt) << "over two words";
  const Shape wide{.width = 32, .align = 32, .phase = 0, .grain = 8, .needs = Needs::Nothing};
  EXPECT_EQ(place_of(wide, 4088, 4096, 4096), 4064U);
  const Shape unaligned{.width = 8, .align = 8, .phase = 4, .grain = 8, .needs = Needs::Nothing};
  EXPECT_EQ(place_of(unaligned, 8, 9, 4096), 4U);
  EXPECT_EQ(place_of(unaligned, 4092, 4093, 4096), std::nullopt) << "past the end";
  EXPECT_EQ(place_of(unaligned, 0, 1, 4096), std::nullopt) << "in front of the first place";
  const Shape byte{.width = 1, .align = 1, .phase = 0, .grain = 1, .needs = Needs::Nothing};
  EXPECT_EQ(place_of(byte, 4095, 4096, 4096), 4095U);
  EXPECT_EQ(place_of(byte, 4094, 4096, 4096), std::nullopt);
}

}  // namespace
}  // namespace sealvisor::test
