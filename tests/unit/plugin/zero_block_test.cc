#include "vmm/engine/tcg/plugin/zero_block.h"

#include <cstddef>
#include <optional>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using engine::tcg::find_zero_block;
using engine::tcg::kMostZeroBlock;
using engine::tcg::ZeroBlock;

arch::Table full() {
  arch::Table table{};
  table.fill(0x1234);
  return table;
}

arch::Table zeroed(arch::Table table, std::size_t offset, std::size_t bytes) {
  for (std::size_t i = offset / 8; i < (offset + bytes) / 8; ++i) table[i] = 0;
  return table;
}

TEST(ZeroBlock, FindsABlockOfEverySize) {
  for (std::size_t bytes = 64; bytes <= kMostZeroBlock; bytes *= 2) {
    for (std::size_t first = 0; first < 4096; first += bytes) {
      const arch::Table now = zeroed(full(), first, bytes);
      const ZeroBlock want{first, bytes};
      EXPECT_EQ(find_zero_block(full(), now, first), want) << first;
      EXPECT_EQ(find_zero_block(full(), now, first + bytes / 2 + 3), want) << first;
      EXPECT_EQ(find_zero_block(full(), now, first + bytes - 1), want) << first;
    }
  }
}

TEST(ZeroBlock, IsNoneAfterAFault) {
  EXPECT_EQ(find_zero_block(full(), full(), 256), std::nullopt);
  arch::Table sparse = zeroed(full(), 256, 64);
  sparse[256 / 8 + 7] = 1;
  EXPECT_EQ(find_zero_block(sparse, sparse, 256), std::nullopt);
  EXPECT_EQ(find_zero_block(sparse, sparse, 4095), std::nullopt);
}

TEST(ZeroBlock, LeavesOutNeighboursThatWereZero) {
  const arch::Table before = zeroed(zeroed(full(), 0, 256), 320, 64);
  EXPECT_EQ(find_zero_block(before, zeroed(before, 256, 64), 256), (ZeroBlock{256, 64}));
}

TEST(ZeroBlock, IsLargeIfOnlyItsFarPartShows) {
  // Of 256 bytes that are zeroed only the last slot was not zero.
  arch::Table before = zeroed(full(), 0, 256);
  before[31] = 1;
  EXPECT_EQ(find_zero_block(before, zeroed(before, 0, 256), 0), (ZeroBlock{0, 256}));
}

TEST(ZeroBlock, IsTheLeastInAFrameOfZeroes) {
  const arch::Table empty{};
  EXPECT_EQ(find_zero_block(empty, empty, 1000), (ZeroBlock{960, 64}));
}

TEST(ZeroBlock, GrowsNoFurtherThanWhatIsZero) {
  // The neighbour at 64 holds something still: 128 bytes and more are ruled out.
  const arch::Table before = full();
  arch::Table now = zeroed(before, 0, 64);
  now = zeroed(now, 128, 128);
  EXPECT_EQ(find_zero_block(before, now, 0), (ZeroBlock{0, 64}));
}

}  // namespace
}  // namespace sealvisor::test
