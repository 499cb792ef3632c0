#include "vmm/engine/tcg/plugin/page_cache.h"

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using engine::tcg::PageCache;

constexpr std::uint64_t kUser = 0x00007fff12345678;
constexpr std::uint64_t kKernel = 0xffff888012345678;

TEST(PageCache, IsEmptyAtFirst) {
  const PageCache cache;
  EXPECT_FALSE(cache.contains(0));
  EXPECT_FALSE(cache.contains(kUser));
  EXPECT_FALSE(cache.contains(kKernel));
}

TEST(PageCache, KnowsAPageAndOnlyThatPage) {
  PageCache cache;
  cache.insert(kUser);
  EXPECT_TRUE(cache.contains(kUser | 0xFFF));
  EXPECT_FALSE(cache.contains(kUser + 0x1000));
  EXPECT_FALSE(cache.contains(kUser ^ (1ULL << 40)));
}

TEST(PageCache, TellsTheHalvesApart) {
  PageCache cache;
  // The same low bits in both halves fall into the same slot.
  constexpr std::uint64_t kLow = 0x0000000012345000;
  constexpr std::uint64_t kHigh = 0xffff000012345000;
  cache.insert(kLow);
  EXPECT_FALSE(cache.contains(kHigh));
  cache.insert(kHigh);
  EXPECT_FALSE(cache.contains(kLow));
  EXPECT_TRUE(cache.contains(kHigh));
}

TEST(PageCache, InvalidatesTheLowerHalfAlone) {
  PageCache cache;
  cache.insert(kUser);
  cache.insert(kKernel);
  cache.invalidate_lower();
  EXPECT_FALSE(cache.contains(kUser));
  EXPECT_TRUE(cache.contains(kKernel));
  cache.invalidate_all();
  EXPECT_FALSE(cache.contains(kKernel));
}

TEST(PageCache, AnOldEntryNeverComesBackWhenTheGenerationsWrap) {
  PageCache cache;
  cache.insert(kUser);
  for (std::uint64_t i = 0; i < (1ULL << 18) + 2; ++i) {
    cache.invalidate_lower();
    ASSERT_FALSE(cache.contains(kUser)) << i;
  }
}

}  // namespace
}  // namespace sealvisor::test
