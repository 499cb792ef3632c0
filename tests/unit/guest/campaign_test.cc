#include "guest/scenario/campaign.h"

#include <map>
#include <tuple>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using scenario::Choice;
using scenario::choose;
using scenario::Edit;
using scenario::kEdits;
using scenario::Offer;
using scenario::possible;
using scenario::Shown;
using scenario::Writer;

constexpr Offer kAll{
    .x86 = true, .keys = true, .emulated = false, .pages = 4, .code_pages = 2, .own_pages = 1};

auto all_of(const Choice& one) {
  return std::tuple(one.edit, one.writer, one.shown, one.other, one.left_to_kernel, one.page,
                    one.page2, one.level, one.way, one.way2, one.place);
}

TEST(Campaign, TheSameSeedIsTheSameList) {
  bool differs = false;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(all_of(choose(kAll, 7, i)), all_of(choose(kAll, 7, i)));
    differs = differs || all_of(choose(kAll, 7, i)) != all_of(choose(kAll, 8, i));
  }
  EXPECT_TRUE(differs);
  EXPECT_NE(all_of(choose(kAll, 7, 1)), all_of(choose(kAll, 7, 2)));
  EXPECT_NE(all_of(choose(kAll, 7, 1)), all_of(choose(kAll, 1, 7)));
}

TEST(Campaign, EachChoiceIsOneThatItsEditCanBe) {
  for (const bool x86 : {false, true}) {
    for (const bool emulated : {false, true}) {
      const Offer offer{.x86 = x86,
                        .keys = x86,
                        .emulated = emulated,
                        .pages = 4,
                        .code_pages = 2,
                        .own_pages = 1};
      for (std::uint32_t i = 0; i < 4000; ++i) {
        const Choice one = choose(offer, 1, i);
        const auto& traits = kEdits[static_cast<std::size_t>(one.edit)];
        SCOPED_TRACE(std::string(protocol::name_of(one.edit)));
        EXPECT_TRUE((traits.writers >> static_cast<unsigned>(one.writer) & 1) != 0);
        EXPECT_GE(one.level, traits.lowest);
        EXPECT_LE(one.level, traits.highest);
        EXPECT_TRUE(traits.to_other || !one.other);
        EXPECT_TRUE(x86 || !traits.x86_only);
        EXPECT_FALSE(emulated && traits.tcg_only);
        if (one.shown == Shown::ToNobody) {
          EXPECT_TRUE(traits.to_nobody);
          EXPECT_EQ(one.writer, Writer::Kernel);
        }
        if (one.left_to_kernel) {
          EXPECT_EQ(one.edit, Edit::UnmapPage);
        }
        const bool code = one.edit == Edit::Code || one.edit == Edit::CodeByAlias;
        EXPECT_LT(one.page, code ? offer.code_pages : offer.pages);
        EXPECT_LT(one.page2, offer.pages);
        if (one.other) {
          EXPECT_LT(one.page, offer.pages - offer.own_pages) << "the other one has no such page";
          EXPECT_LT(one.page2, offer.pages - offer.own_pages);
        }
        EXPECT_NE(one.page, one.page2);
      }
    }
  }
}

/// How often each thing that there is comes: what an edit can be, each way of it apart.
struct Times {
  std::map<std::tuple<Edit, Writer, Shown>, int> rows;
  std::map<std::tuple<Edit, std::uint32_t>, int> levels;
  std::map<std::tuple<Edit, bool>, int> processes;
  std::map<std::tuple<Edit, std::uint32_t>, int> pages;
  int left_to_kernel = 0;
};

Times times_of(const Offer& offer, std::uint32_t count) {
  Times times;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Choice one = choose(offer, 1, i);
    ++times.rows[{one.edit, one.writer, one.shown}];
    ++times.levels[{one.edit, one.level}];
    ++times.processes[{one.edit, one.other}];
    ++times.pages[{one.edit, one.page}];
    times.left_to_kernel += one.left_to_kernel ? 1 : 0;
  }
  return times;
}

/// A campaign of the size that is promised has each kind many times, on each architecture and in
/// each lane: none that the generator never makes.
TEST(Campaign, TenThousandHaveEverything) {
  constexpr Offer kArm{
      .x86 = false, .keys = false, .emulated = false, .pages = 4, .code_pages = 1, .own_pages = 1};
  constexpr Offer kEmulated{
      .x86 = true, .keys = false, .emulated = true, .pages = 4, .code_pages = 2, .own_pages = 1};
  for (const Offer& offer : {kAll, kArm, kEmulated}) {
    SCOPED_TRACE(testing::Message() << offer.x86 << offer.emulated);
    Times times = times_of(offer, 10'000);
    std::size_t rows = 0;
    std::size_t levels = 0;
    std::size_t processes = 0;
    std::size_t pages = 0;
    for (const auto& traits : kEdits) {
      SCOPED_TRACE(std::string(protocol::name_of(traits.edit)));
      if (!possible(traits, offer)) continue;
      for (const Writer writer : {Writer::User, Writer::Kernel, Writer::DevMem}) {
        if ((traits.writers >> static_cast<unsigned>(writer) & 1) == 0) continue;
        ++rows;
        EXPECT_GE((times.rows[{traits.edit, writer, Shown::ToUserMode}]), 40);
        if (writer != Writer::Kernel || !traits.to_nobody) continue;
        ++rows;
        EXPECT_GE((times.rows[{traits.edit, writer, Shown::ToNobody}]), 5);
      }
      for (std::uint32_t level = traits.lowest; level <= traits.highest; ++level) {
        ++levels;
        EXPECT_GE((times.levels[{traits.edit, level}]), 50) << level;
      }
      for (const bool other : {false, true}) {
        if (other && !traits.to_other) continue;
        ++processes;
        EXPECT_GE((times.processes[{traits.edit, other}]), 30) << other;
      }
      const bool code = traits.edit == Edit::Code || traits.edit == Edit::CodeByAlias;
      for (std::uint32_t page = 0; page < (code ? offer.code_pages : offer.pages); ++page) {
        ++pages;
        const bool own = page >= offer.pages - offer.own_pages;
        EXPECT_GE((times.pages[{traits.edit, page}]), own ? 25 : 40) << page;
      }
    }
    EXPECT_GE(times.left_to_kernel, 60);
    // And nothing else.
    EXPECT_EQ(times.rows.size(), rows);
    EXPECT_EQ(times.levels.size(), levels);
    EXPECT_EQ(times.processes.size(), processes);
    EXPECT_EQ(times.pages.size(), pages);
  }
}

TEST(Campaign, KeysAreOfGuestsThatHaveThem) {
  Offer offer = kAll;
  offer.keys = false;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    EXPECT_NE(choose(offer, 1, i).edit, Edit::ProtectionKey);
  }
}

TEST(Campaign, RandomNumbersAreThoseOfTheAlgorithm) {
  // SplitMix64 from state 0.
  scenario::Random random(0);
  EXPECT_EQ(random.next(), 0xE220'A839'7B1D'CDAFULL);
  EXPECT_EQ(random.next(), 0x6E78'9E6A'A1B9'65F4ULL);
  scenario::Random other(1);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(other.below(7), 7U);
    EXPECT_EQ(other.below(1), 0U);
  }
  EXPECT_FALSE(other.chance(0));
  EXPECT_TRUE(other.chance(100));
}

}  // namespace
}  // namespace sealvisor::test
