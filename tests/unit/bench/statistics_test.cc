#include "bench/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace sealvisor::bench {
namespace {

using Values = std::vector<double>;

Values plus(Values values, double what) {
  for (double& value : values) value += what;
  return values;
}

Values repeated(double value, std::size_t times) { return Values(times, value); }

void expect_interval(const std::optional<Interval>& interval, double lower, double upper,
                     double within = 1e-12) {
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->lower, lower, within);
  EXPECT_NEAR(interval->upper, upper, within);
}

// --- published worked examples ---

// Hollander and Wolfe, Nonparametric Statistical Methods (1973, pages 69-75; 3rd edition,
// table 4.1): permeability constants of the human chorioamnion, at term and at 12 to 26 weeks. The
// example of R's help page of wilcox.test: W = 35, p = 0.1272 one-sided; with conf.int = TRUE 0.305
// and
// [-0.15, 0.76], with conf.level = 0.9 [-0.08, 0.72] (R 4.2.2).
const Values kTerm = {0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46};
const Values kEarly = {1.15, 0.88, 0.90, 0.74, 1.21};

TEST(Statistics, PermeabilityOfHollanderAndWolfe) {
  MannWhitneyTable table;
  const Shift shift = shift_of(kEarly, kTerm, table);
  EXPECT_NEAR(shift.estimate, 0.305, 1e-12);
  expect_interval(shift.ninety_five, -0.15, 0.76);
  expect_interval(shift.ninety, -0.08, 0.72);
  EXPECT_NEAR(shift.p_no_shift, 0.2544, 5e-5);
  EXPECT_TRUE(shift.exact);
  EXPECT_NEAR(table.of(5, 10).at_most(50 - 35), 0.1272, 5e-5);
}

// Ozone in New York in May and in August 1973 (Chambers and others, Graphical Methods for Data
// Analysis, 1983), of the same help page: many ties. R solves for the interval by the normal
// approximation: 31.99996 and [14.99998, 52.99999]; p = 0.0001208.
TEST(Statistics, OzoneOfTheHelpPageOfR) {
  const Values may = {41, 36, 12, 18, 28, 23, 19, 8, 7,  16, 11, 14,  18,
                      14, 34, 6,  30, 11, 1,  11, 4, 32, 23, 45, 115, 37};
  const Values august = {39, 9,  16, 78, 35, 66, 122, 89,  110, 44, 28,  65, 22,
                         59, 23, 31, 44, 21, 9,  45,  168, 73,  76, 118, 84, 85};
  MannWhitneyTable table;
  const Shift shift = shift_of(may, august, table);
  EXPECT_EQ(shift.estimate, 32);
  expect_interval(shift.ninety_five, 15, 53);
  EXPECT_NEAR(shift.p_no_shift, 0.0001208, 5e-5);
}

// Hours of extra sleep (Student 1908; R's data set `sleep`), as wilcox_TOST() of the R package
// TOSTER compares them in its vignette robustTOST, bound 0.5: shift -1.346 with 90 % interval
// [-3.4, -0.1], W = 20, p = 0.01287 against the upper bound and W = 34, p = 0.8939 against the
// lower one, so not equivalent. It uses the normal approximation.
TEST(Statistics, SleepOfTheEquivalenceTestsOfToster) {
  const Values first = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
  const Values second = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  MannWhitneyTable table;
  const Comparison compared = compare(second, first, {0, 0.5}, table);
  ASSERT_TRUE(compared.shift);
  EXPECT_NEAR(compared.shift->estimate, -1.346, 0.005);
  expect_interval(compared.shift->ninety, -3.4, -0.1);
  EXPECT_NEAR(compared.equivalence_p, 0.8939, 0.005);
  EXPECT_NEAR(table.of(10, 10).at_most(20), 0.01287, 0.002);
  EXPECT_EQ(compared.verdict, Verdict::Undecided);
}

// Critical values of two-sided tests at 5 %: Auble, Bulletin of the Institute of Educational
// Research at Indiana University 1 (1953), extended from Mann and Whitney (1947). The interval
// takes the next order statistic.
TEST(Statistics, OrdersOfTheTablesOfCriticalValues) {
  struct Case {
    std::size_t m, n, critical;
  };
  for (const Case& one : {Case{4, 4, 0}, Case{5, 5, 2}, Case{3, 5, 0}, Case{8, 8, 13},
                          Case{10, 10, 23}, Case{16, 16, 75}, Case{20, 20, 127}}) {
    const auto order = MannWhitney(one.m, one.n).order(0.05);
    ASSERT_TRUE(order) << one.m << " " << one.n;
    EXPECT_EQ(*order, one.critical + 1) << one.m << " " << one.n;
  }
  EXPECT_FALSE(MannWhitney(3, 3).order(0.05));
  EXPECT_TRUE(MannWhitney(3, 3).order(0.10));
  EXPECT_FALSE(MannWhitney(1, 30).order(0.05));
}

// Mann and Whitney, Annals of Mathematical Statistics 18 (1947), table I.
TEST(Statistics, ProbabilitiesOfMannAndWhitney) {
  EXPECT_NEAR(MannWhitney(3, 3).at_most(0), 0.050, 5e-4);
  EXPECT_NEAR(MannWhitney(4, 4).at_most(1), 0.029, 5e-4);
  EXPECT_NEAR(MannWhitney(6, 4).at_most(3), 0.033, 5e-4);
  EXPECT_NEAR(MannWhitney(8, 8).at_most(13), 0.025, 5e-4);
}

// pwilcox() of R 4.2.2.
TEST(Statistics, DistributionOfR) {
  EXPECT_NEAR(MannWhitney(4, 6).at_most(10), 0.38095238095238093, 1e-14);
  EXPECT_NEAR(MannWhitney(16, 16).at_most(75), 0.0234074962918022, 1e-14);
  EXPECT_NEAR(MannWhitney(40, 7).at_most(2), 6.360160059152033e-08, 1e-18);
  EXPECT_NEAR(MannWhitney(40, 7).at_most(100), 0.1218855985607848, 1e-14);
}

TEST(Statistics, LargeGroupsUseTheNormalApproximation) {
  const MannWhitney distribution(60, 60);
  EXPECT_FALSE(distribution.exact());
  EXPECT_TRUE(MannWhitney(49, 49).exact());
  EXPECT_FALSE(MannWhitney(50, 49).exact());
  EXPECT_NEAR(distribution.at_most(1500), 0.0579790647552851, 1e-12);
  EXPECT_NEAR(distribution.at_most(1500), 0.0581017510495991, 2e-4);  // exact: R's pwilcox()
  EXPECT_EQ(distribution.at_most(3600), 1);
  EXPECT_EQ(distribution.at_most(-1), 0);
  const auto order = distribution.order(0.05);
  ASSERT_TRUE(order);
  EXPECT_NEAR(static_cast<double>(*order), 1427, 1);  // R's qwilcox()
}

TEST(Statistics, QuantilesAreOfDefinitionSeven) {
  const Values values = {1, 2, 4, 8, 16};  // quantile() of R 4.2.2: 1.4, 2, 8
  EXPECT_NEAR(quantile_of(values, 0.1), 1.4, 1e-12);
  EXPECT_EQ(quantile_of(values, 0.25), 2);
  EXPECT_EQ(quantile_of(values, 1), 16);
  const Summary summary = summarise(Values{16, 1, 8, 2, 4, 4});
  EXPECT_EQ(summary.count, 6U);
  EXPECT_EQ(summary.median, 4);
  EXPECT_EQ(summary.lower_quartile, 2.5);
  EXPECT_EQ(summary.upper_quartile, 7);
  EXPECT_EQ(summary.interquartile_range(), 4.5);
  EXPECT_EQ(summary.least, 1);
  EXPECT_EQ(summary.most, 16);
  EXPECT_EQ(summarise(Values{}).count, 0U);
}

// --- properties ---

Values drawn(std::mt19937& engine, std::size_t count, bool ties) {
  std::uniform_int_distribution<int> number(0, ties ? 5 : 1'000'000);
  Values values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(number(engine));
  return values;
}

TEST(Statistics, TurnedAroundTheShiftIsTheOpposite) {
  std::mt19937 engine(1);
  MannWhitneyTable table;
  for (const bool ties : {false, true}) {
    for (std::size_t n = 4; n < 20; ++n) {
      const Values a = drawn(engine, n, ties);
      const Values b = drawn(engine, n + 3, ties);
      const Shift there = shift_of(a, b, table);
      const Shift back = shift_of(b, a, table);
      EXPECT_EQ(there.estimate, -back.estimate);
      expect_interval(there.ninety_five, -back.ninety_five->upper, -back.ninety_five->lower);
      EXPECT_EQ(there.p_no_shift, back.p_no_shift);
      EXPECT_EQ(equivalence_p(a, b, 3, table), equivalence_p(b, a, 3, table));
    }
  }
}

TEST(Statistics, WhatIsAddedIsFound) {
  std::mt19937 engine(2);
  MannWhitneyTable table;
  for (const bool ties : {false, true}) {
    const Values a = drawn(engine, 16, ties);
    const Values b = drawn(engine, 16, ties);
    const Shift before = shift_of(a, b, table);
    const Shift after = shift_of(a, plus(b, 1000), table);
    EXPECT_EQ(after.estimate, before.estimate + 1000);
    expect_interval(after.ninety_five, before.ninety_five->lower + 1000,
                    before.ninety_five->upper + 1000);
    const Shift moved = shift_of(plus(a, 1000), plus(b, 1000), table);
    EXPECT_EQ(moved.estimate, before.estimate);
    EXPECT_EQ(moved.p_no_shift, before.p_no_shift);
  }
}

TEST(Statistics, TheIntervalAndTheTwoTestsAgree) {
  std::mt19937 engine(3);
  MannWhitneyTable table;
  int inside = 0;
  for (int round = 0; round < 2000; ++round) {
    const bool ties = round % 2 == 0;
    const std::size_t n = 4 + static_cast<std::size_t>(round) % 14;
    const Values a = drawn(engine, n, ties);
    const Values b = drawn(engine, n, ties);
    const double bound = ties ? 1 + round % 5 : 100'000 * (1 + round % 9);
    const Shift shift = shift_of(a, b, table);
    const bool within = -bound < shift.ninety->lower && shift.ninety->upper < bound;
    EXPECT_EQ(within, equivalence_p(a, b, bound, table) <= 0.05 + 1e-12);
    EXPECT_LE(shift.ninety_five->lower, shift.ninety->lower);
    EXPECT_GE(shift.ninety_five->upper, shift.ninety->upper);
    inside += within ? 1 : 0;
  }
  EXPECT_GT(inside, 100);
  EXPECT_LT(inside, 1900);
}

/// How often the 95 % interval misses the true shift.
double missed(bool ties) {
  std::mt19937 engine(4);
  std::uniform_int_distribution<int> number(0, ties ? 3 : 1'000'000);
  MannWhitneyTable table;
  constexpr int kRounds = 4000;
  int missing = 0;
  for (int round = 0; round < kRounds; ++round) {
    Values a;
    Values b;
    for (int i = 0; i < 10; ++i) {
      a.push_back(number(engine));
      b.push_back(number(engine) + 7);
    }
    const Interval interval = *shift_of(a, b, table).ninety_five;
    missing += interval.lower <= 7 && 7 <= interval.upper ? 0 : 1;
  }
  return static_cast<double>(missing) / kRounds;
}

TEST(Statistics, TheIntervalCoversAsOftenAsItSays) {
  // 4.3 % is what the exact distribution of 10 and 10 comes to; three standard errors are 1 %.
  EXPECT_NEAR(missed(false), 0.043, 0.01);
  EXPECT_LT(missed(true), 0.043);
}

// --- identical integers, few values ---

TEST(Statistics, IdenticalIntegersAreExact) {
  MannWhitneyTable table;
  const Comparison same = compare(repeated(5000, 16), repeated(5000, 16), {0.005, 20}, table);
  ASSERT_TRUE(same.shift);
  EXPECT_EQ(same.shift->estimate, 0);
  expect_interval(same.shift->ninety_five, 0, 0, 0);
  EXPECT_EQ(same.shift->p_no_shift, 1);
  EXPECT_LT(same.equivalence_p, 1e-8);
  EXPECT_EQ(same.verdict, Verdict::Equivalent);
  EXPECT_EQ(same.smallest_effect, 0);
  EXPECT_FALSE(same.needed);

  const Comparison five = compare(repeated(5000, 16), repeated(5005, 16), {0.005, 20}, table);
  expect_interval(five.shift->ninety_five, 5, 5, 0);
  EXPECT_LT(five.shift->p_no_shift, 1e-8);
  // Surely different, surely less than the bound of 25.
  EXPECT_EQ(five.bound, 25);
  EXPECT_EQ(five.verdict, Verdict::Equivalent);

  const Comparison more = compare(repeated(5000, 16), repeated(5026, 16), {0.005, 20}, table);
  EXPECT_EQ(more.verdict, Verdict::Slower);
  const Comparison less = compare(repeated(5000, 16), repeated(4974, 16), {0.005, 20}, table);
  EXPECT_EQ(less.verdict, Verdict::Faster);
}

TEST(Statistics, ADifferenceOfExactlyTheBoundMatters) {
  MannWhitneyTable table;
  const auto verdict = [&](double b) {
    return compare(repeated(100, 4), repeated(b, 4), {0, 20}, table).verdict;
  };
  EXPECT_EQ(verdict(119), Verdict::Equivalent);
  EXPECT_EQ(verdict(120), Verdict::Slower);
  EXPECT_EQ(verdict(81), Verdict::Equivalent);
  EXPECT_EQ(verdict(80), Verdict::Faster);
}

TEST(Statistics, FewValuesAreNeverJudged) {
  MannWhitneyTable table;
  for (std::size_t n = 1; n < kLeastLayouts; ++n) {
    for (const double b : {100.0, 1e9}) {
      for (const auto& [m, k] :
           {std::pair{n, n}, std::pair{n, std::size_t{40}}, std::pair{std::size_t{40}, n}}) {
        const Comparison compared = compare(repeated(100, m), repeated(b, k), {0, 20}, table);
        EXPECT_EQ(compared.verdict, Verdict::Undecided) << m << " " << k;
        EXPECT_EQ(compared.needed, kLeastLayouts);
      }
    }
  }
  EXPECT_FALSE(compare(repeated(100, 3), repeated(100, 3), {0, 20}, table).smallest_effect);
  EXPECT_FALSE(shift_of(repeated(1, 1), repeated(2, 1), table).ninety);
  EXPECT_EQ(shift_of(repeated(1, 1), repeated(2, 1), table).p_no_shift, 1);
  EXPECT_EQ(compare(repeated(100, 4), repeated(100, 4), {0, 20}, table).verdict,
            Verdict::Equivalent);
}

TEST(Statistics, NothingIsUndecided) {
  MannWhitneyTable table;
  for (const auto& [a, b] : {std::pair{Values{}, Values{1, 2}}, std::pair{Values{1}, Values{}},
                             std::pair{Values{}, Values{}}}) {
    const Comparison compared = compare(a, b, {0.005, 20}, table);
    EXPECT_EQ(compared.verdict, Verdict::Undecided);
    EXPECT_FALSE(compared.shift);
    EXPECT_EQ(compared.equivalence_p, 1);
    EXPECT_EQ(compared.needed, kLeastLayouts);
  }
}

// --- what a run could see, and what it would take ---

/// Evenly spread over `spread` around `middle`.
Values even(double middle, double spread, std::size_t count) {
  Values values;
  for (std::size_t i = 0; i < count; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(count - 1) - 0.5;
    values.push_back(middle + part * spread);
  }
  return values;
}

TEST(Statistics, TheSmallestEffectIsTheHalfWidth) {
  MannWhitneyTable table;
  const Comparison compared = compare(even(1000, 100, 16), even(1000, 100, 16), {0, 20}, table);
  const Interval interval = *compared.shift->ninety_five;
  ASSERT_TRUE(compared.smallest_effect);
  EXPECT_NEAR(*compared.smallest_effect, (interval.upper - interval.lower) / 2, 1e-9);
  // Moved by more than that, zero is outside; by less, it is not.
  const auto moved = [&](double by) {
    const Interval now =
        *compare(even(1000, 100, 16), even(1000 + by, 100, 16), {0, 20}, table).shift->ninety_five;
    return now.lower > 0 || now.upper < 0;
  };
  EXPECT_TRUE(moved(*compared.smallest_effect + 0.1));
  EXPECT_FALSE(moved(*compared.smallest_effect - 0.1));
}

/// Spread as evenly, but without the many equal differences that two even spreads have.
Values scattered(double middle, double step, std::size_t count) {
  Values values;
  for (std::size_t i = 1; i <= count; ++i) {
    const double place = static_cast<double>(i) * step;
    values.push_back(middle + 100 * (place - std::floor(place) - 0.5));
  }
  return values;
}

TEST(Statistics, TheNumberThatIsNeededDoesDecide) {
  MannWhitneyTable table;
  for (const double shift : {0.0, 8.0, 37.0, -35.0}) {
    const auto with = [&](std::size_t count) {
      return compare(scattered(1000, 0.6180339887, count),
                     scattered(1000 + shift, 0.7548776662, count), {0, 20}, table);
    };
    const Comparison few = with(10);
    ASSERT_EQ(few.verdict, Verdict::Undecided) << shift;
    ASSERT_TRUE(few.needed) << shift;
    EXPECT_GT(*few.needed, 10U);
    // It is an estimate, and these values spread out more evenly the more there are.
    EXPECT_NE(with(*few.needed * 3 / 2).verdict, Verdict::Undecided) << shift;
    EXPECT_EQ(with(std::max<std::size_t>(*few.needed / 3, kLeastLayouts)).verdict,
              Verdict::Undecided)
        << shift << ", " << *few.needed << " needed";
  }
}

TEST(Statistics, NoNumberDecidesAShiftOfTheBound) {
  MannWhitneyTable table;
  const Comparison at = compare(even(1000, 100, 9), even(1020, 100, 9), {0, 20}, table);
  EXPECT_EQ(at.verdict, Verdict::Undecided);
  EXPECT_FALSE(at.needed);
  const Comparison near = compare(even(1000, 100, 9), even(1019.999, 100, 9), {0, 20}, table);
  EXPECT_EQ(near.needed, kMostNeeded);
}

TEST(Statistics, TheBoundIsTheGreaterOfTheTwo) {
  EXPECT_EQ(value_of({0.005, 20}, 1000), 20);
  EXPECT_EQ(value_of({0.005, 20}, 10'000), 50);
  EXPECT_EQ(value_of({0.005, 20}, 0), 20);
}

TEST(Statistics, RatiosHaveIntervals) {
  MannWhitneyTable table;
  const auto ratio = ratio_of(repeated(100, 8), repeated(125, 8), table);
  ASSERT_TRUE(ratio);
  EXPECT_NEAR(ratio->estimate, 1.25, 1e-12);
  expect_interval(ratio->ninety_five, 1.25, 1.25);
  const auto wide = ratio_of(even(100, 20, 12), even(100, 20, 12), table);
  ASSERT_TRUE(wide && wide->ninety_five);
  EXPECT_LT(wide->ninety_five->lower, 1);
  EXPECT_GT(wide->ninety_five->upper, 1);
  EXPECT_FALSE(ratio_of(repeated(0, 8), repeated(1, 8), table));
  EXPECT_FALSE(ratio_of(Values{}, repeated(1, 8), table));
  EXPECT_FALSE(ratio_of(repeated(1, 2), repeated(1, 2), table)->ninety_five);
}

}  // namespace
}  // namespace sealvisor::bench
