#include "bench/paired.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "bench/layout.h"

namespace sealvisor::bench {
namespace {

using Values = std::vector<double>;

// Hamilton depression scale factor IV of nine patients at the first and second visit (Hollander and
// Wolfe, Nonparametric Statistical Methods, 1973, pages 29 to 33; 3rd edition, table 3.1). The
// book: estimate -0.46, interval (-0.786, -0.010) at 96.1 %; R's help page of wilcox.test: V = 5,
// one-sided p = 0.01953.
const Values kFirst = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30};
const Values kSecond = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};

TEST(Paired, DepressionScaleOfHollanderAndWolfe) {
  const Shift shift = shift_of_pairs(kFirst, kSecond);
  EXPECT_NEAR(shift.estimate, -0.46, 1e-12);
  ASSERT_TRUE(shift.ninety_five);
  EXPECT_NEAR(shift.ninety_five->lower, -0.786, 1e-12);
  EXPECT_NEAR(shift.ninety_five->upper, -0.010, 1e-12);
  EXPECT_NEAR(shift.p_no_shift, 2 * 0.01953125, 1e-12);
  EXPECT_TRUE(shift.exact);
}

TEST(Paired, ARatioIsTheShiftOfTheLogarithms) {
  const Values a = {100, 200, 400, 800, 1600, 3200};
  Values b = a;
  for (double& value : b) value *= 1.25;
  const auto ratio = ratio_of_pairs(a, b);
  ASSERT_TRUE(ratio && ratio->ninety_five);
  EXPECT_NEAR(ratio->estimate, 1.25, 1e-12);
  EXPECT_NEAR(ratio->ninety_five->lower, 1.25, 1e-12) << "however far the pairs lie apart";
  EXPECT_NEAR(ratio->ninety_five->upper, 1.25, 1e-12);
  EXPECT_FALSE(ratio_of_pairs(Values{1, 0}, Values{1, 1})) << "zero has no logarithm";
  EXPECT_FALSE(ratio_of_pairs(Values{}, Values{}));
  EXPECT_FALSE(ratio_of_pairs(Values{2}, Values{3})->ninety_five);
}

TEST(SignedRank, HasTheTabledProbabilities) {
  // The same book, table A.4: P(T >= x) for n = 9: 40 -> 0.020, 39 -> 0.027; n = 6: 21 -> 0.016.
  EXPECT_NEAR(SignedRank(9).at_most(45 - 40), 0.020, 5e-4);
  EXPECT_NEAR(SignedRank(9).at_most(45 - 39), 0.027, 5e-4);
  EXPECT_NEAR(SignedRank(6).at_most(0), 0.016, 5e-4);
  EXPECT_EQ(SignedRank(6).at_most(-1), 0);
  EXPECT_EQ(SignedRank(6).at_most(21), 1);
}

TEST(SignedRank, HasNoIntervalForTooFew) {
  EXPECT_FALSE(SignedRank(5).order(0.05)) << "2 / 32 is more than 5 %";
  EXPECT_EQ(SignedRank(6).order(0.05), 1U);
  EXPECT_EQ(SignedRank(9).order(0.05), 6U);
}

TEST(SignedRank, IsNormalWhereItIsNotExact) {
  const SignedRank exact(kMostExact);
  const SignedRank normal(kMostExact + 1);
  EXPECT_TRUE(exact.exact());
  EXPECT_FALSE(normal.exact());
  // The middle of both, and places well out.
  for (const double part : {0.3, 0.4, 0.5}) {
    const double all = 49.0 * 50 / 2;
    const double more = 50.0 * 51 / 2;
    EXPECT_NEAR(exact.at_most(std::floor(part * all)), normal.at_most(std::floor(part * more)),
                0.01);
  }
}

TEST(ComparePairs, LeavesOutWhatALayoutItselfCosts) {
  // Layouts differ by percents, each kernel alike; b takes two more in each.
  const Values a = {328029, 330914, 329470, 327988, 331002, 328766};
  Values b = a;
  for (double& value : b) value += 2;
  const Comparison compared = compare_pairs(a, b, {0.0, 20});
  EXPECT_TRUE(compared.paired);
  ASSERT_TRUE(compared.shift && compared.shift->ninety_five);
  EXPECT_EQ(compared.shift->estimate, 2);
  EXPECT_EQ(compared.shift->ninety_five->lower, 2);
  EXPECT_EQ(compared.shift->ninety_five->upper, 2);
  EXPECT_EQ(compared.verdict, Verdict::Equivalent);
  EXPECT_EQ(compared.smallest_effect, 0);
  // Group by group nothing could be said.
  MannWhitneyTable table;
  EXPECT_EQ(compare(a, b, {0.0, 20}, table).verdict, Verdict::Undecided);
}

TEST(ComparePairs, JudgesByTheBound) {
  const Values a(6, 1000.0);
  const auto verdict = [&](double more) {
    Values b = a;
    for (double& value : b) value += more;
    return compare_pairs(a, b, {0.005, 20}).verdict;
  };
  EXPECT_EQ(verdict(0), Verdict::Equivalent);
  EXPECT_EQ(verdict(19), Verdict::Equivalent);
  EXPECT_EQ(verdict(20), Verdict::Slower);
  EXPECT_EQ(verdict(-20), Verdict::Faster);
  const Values mixed = {1000, 1100, 950, 1000, 1050, 900};
  const Comparison undecided = compare_pairs(a, mixed, {0.005, 20});
  EXPECT_EQ(undecided.verdict, Verdict::Undecided);
  ASSERT_TRUE(undecided.needed);
  EXPECT_GT(*undecided.needed, 6U);
  EXPECT_GT(undecided.equivalence_p, 0.05);
}

TEST(ComparePairs, SaysNothingOfTooFew) {
  const Values five(5, 1000.0);
  const Comparison compared = compare_pairs(five, five, {0.005, 20});
  EXPECT_EQ(compared.verdict, Verdict::Undecided);
  EXPECT_EQ(compared.needed, kLeastPairs);
  EXPECT_EQ(compare_pairs({}, {}, {0.005, 20}).verdict, Verdict::Undecided);
}

TEST(ComparePairs, IsTheSameTheOtherWayRound) {
  const Comparison there = compare_pairs(kFirst, kSecond, {0, 1});
  const Comparison back = compare_pairs(kSecond, kFirst, {0, 1});
  EXPECT_NEAR(there.shift->estimate, -back.shift->estimate, 1e-12);
  EXPECT_NEAR(there.shift->ninety->lower, -back.shift->ninety->upper, 1e-12);
  EXPECT_NEAR(there.equivalence_p, back.equivalence_p, 1e-12);
  EXPECT_EQ(there.verdict, back.verdict);
}

TEST(LayoutOf, IsLegalAndDiffersFromSeedToSeed) {
  std::set<std::pair<std::uint64_t, std::uint32_t>> layouts;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Layout layout = layout_of(seed);
    EXPECT_GE(layout.stack_limit, kLeastStackLimit);
    EXPECT_LT(layout.stack_limit, kLeastStackLimit + (1ULL << 30));
    EXPECT_EQ(layout.stack_limit % 4096, 0U);
    EXPECT_EQ(layout.padding % 16, 0U);
    EXPECT_LT(layout.padding, kMostPadding);
    layouts.insert({layout.stack_limit, layout.padding});
  }
  EXPECT_EQ(layouts.size(), 1000U);
}

}  // namespace
}  // namespace sealvisor::bench
