#include "guest/scenario/campaign.h"

#include <map>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using scenario::Choice;
using scenario::choose;
using scenario::Edit;
using scenario::kEdits;
using scenario::Offer;
using scenario::Shown;
using scenario::Writer;

constexpr Offer kAll{.x86 = true, .keys = true, .emulated = false, .pages = 3, .code_pages = 2};

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
      const Offer offer{.x86 = x86, .keys = x86, .emulated = emulated, .pages = 3, .code_pages = 2};
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
        EXPECT_NE(one.page, one.page2);
      }
    }
  }
}

/// A campaign of the size that is promised has each kind many times.
TEST(Campaign, TenThousandHaveEverything) {
  std::map<Edit, int> edits;
  std::set<std::tuple<Edit, Writer>> writers;
  int at_once = 0;
  int other = 0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const Choice one = choose(kAll, 1, i);
    ++edits[one.edit];
    writers.emplace(one.edit, one.writer);
    at_once += one.shown == Shown::ToNobody ? 1 : 0;
    other += one.other ? 1 : 0;
  }
  EXPECT_EQ(edits.size(), protocol::kEditCount);
  for (const auto& [edit, times] : edits) {
    EXPECT_GT(times, 200) << protocol::name_of(edit);
  }
  std::size_t possible = 0;
  for (const auto& traits : kEdits) {
    possible += static_cast<std::size_t>(__builtin_popcount(traits.writers));
  }
  EXPECT_EQ(writers.size(), possible);
  EXPECT_GT(at_once, 500);
  EXPECT_GT(other, 1000);
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
