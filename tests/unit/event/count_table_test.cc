#include "vmm/event/count_table.h"

#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using event::CountTable;
using event::Place;

constexpr Place kKernel[] = {{0x1000, 0x10}, {0x1010, 0x20}, {0x2000, 0x100}};

std::vector<std::byte> memory_for(std::size_t places) {
  return std::vector<std::byte>(event::count_table_bytes(places));
}

TEST(PlaceOf, FindsTheOneThatHoldsTheAddress) {
  EXPECT_EQ(event::place_of(kKernel, 0xfff), std::nullopt);
  EXPECT_EQ(event::place_of(kKernel, 0x1000), 0U);
  EXPECT_EQ(event::place_of(kKernel, 0x100f), 0U);
  EXPECT_EQ(event::place_of(kKernel, 0x1010), 1U);
  EXPECT_EQ(event::place_of(kKernel, 0x1030), std::nullopt) << "a gap";
  EXPECT_EQ(event::place_of(kKernel, 0x20ff), 2U);
  EXPECT_EQ(event::place_of(kKernel, 0x2100), std::nullopt);
  EXPECT_EQ(event::place_of({}, 0x1000), std::nullopt);
}

TEST(CountTable, ShowsWhatItWasGiven) {
  auto memory = memory_for(5);
  CountTable table(memory);
  table.initialise(kKernel, true);
  EXPECT_TRUE(table.compatible());
  EXPECT_EQ(table.header().counting, 0U);
  EXPECT_EQ(table.header().profiling, 1U);
  EXPECT_EQ(table.kernel().size(), 3U);
  const Place vdso[] = {{0x600, 0x40}, {0x640, 0x10}};
  std::vector<std::byte> image(2 * arch::kPageSize);
  image[5000] = std::byte{1};
  table.begin(0x200000, image, vdso);
  EXPECT_EQ(table.header().counting, 1U);
  EXPECT_EQ(table.header().slide, 0x200000U);
  ASSERT_EQ(table.vdso().size(), 2U);
  ASSERT_EQ(table.header().vdso_page_count, 2U);
  EXPECT_NE(table.header().vdso_pages[0], table.header().vdso_pages[1]);
  EXPECT_EQ(table.vdso()[1].start, 0x640U);
}

TEST(CountTable, LeavesOutWhatHasNoRoom) {
  auto memory = memory_for(4);
  CountTable table(memory);
  table.initialise(kKernel, false);
  const Place vdso[] = {{0x600, 0x40}, {0x640, 0x10}};
  table.begin(0, {}, vdso);
  EXPECT_EQ(table.vdso().size(), 1U);
  EXPECT_TRUE(table.compatible());
}

TEST(CountTable, IsNotCompatibleWithAnythingElse) {
  std::vector<std::byte> tiny(8);
  EXPECT_FALSE(CountTable(tiny).compatible());
  auto memory = memory_for(3);
  EXPECT_FALSE(CountTable(memory).compatible()) << "nothing was written";
  CountTable table(memory);
  table.initialise(kKernel, false);
  auto* header = reinterpret_cast<event::CountHeader*>(memory.data());
  header->kernel_places = 4;
  EXPECT_FALSE(table.compatible()) << "more places than there is memory";
  header->kernel_places = 3;
  header->vdso_page_count = event::kMostVdsoPages + 1;
  EXPECT_FALSE(table.compatible()) << "more pages than it has room for";
  header->vdso_page_count = 0;
  header->version = 0;
  EXPECT_FALSE(table.compatible());
}

TEST(PageMark, DependsOnEachByte) {
  std::vector<std::byte> page(arch::kPageSize);
  const auto mark = [&] {
    return event::page_mark(std::span<const std::byte, arch::kPageSize>(page));
  };
  const std::uint64_t zeros = mark();
  for (std::size_t at = 0; at < page.size(); at += 509) {
    page[at] = std::byte{0x80};
    EXPECT_NE(mark(), zeros) << at;
    page[at] = std::byte{0};
  }
  EXPECT_EQ(mark(), zeros);
}

}  // namespace
}  // namespace sealvisor::test
