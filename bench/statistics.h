// Comparing two groups of numbers without assuming how they are distributed. Pure.
//
// A group has one value for each layout of a kernel (each boot with a layout seed of its own). The
// samples of one boot share a layout, so that they say nothing about other layouts: their median is
// the boot's one value.
//
// What is estimated is the shift: by how much b lies above a. Shift and interval are those of
// Hodges and Lehmann (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition,
// sections 4.2 and 4.3): the median of all differences b - a, and two order statistics of these
// differences, chosen by the distribution of the Mann-Whitney statistic. The interval is closed, so
// ties only make it cover more often than it says, whatever the values are; no correction for ties
// is needed, and identical integers give the interval [shift, shift].
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace sealvisor::bench {

/// Median of `values`; the mean of the middle two if their number is even. Precondition: not empty.
[[nodiscard]] double median_of(std::span<const double> values);

/// A quantile, `part` between 0 and 1, of `sorted`: linear between order statistics, definition 7
/// of Hyndman and Fan (The American Statistician 50, 1996), which R and NumPy use unless told
/// otherwise. Precondition: sorted, not empty.
[[nodiscard]] double quantile_of(std::span<const double> sorted, double part);

struct Summary {
  std::size_t count = 0;  ///< 0: nothing else here has a meaning.
  double median = 0;
  double lower_quartile = 0;
  double upper_quartile = 0;
  double least = 0;
  double most = 0;

  [[nodiscard]] double interquartile_range() const { return upper_quartile - lower_quartile; }
};
[[nodiscard]] Summary summarise(std::span<const double> values);

/// Both groups up to this: the exact distribution. One of them larger: the normal approximation
/// with a continuity correction (as R's wilcox.test has it, which changes over at the same size).
inline constexpr std::size_t kMostExact = 49;

/// Distribution of the Mann-Whitney statistic U of groups of m and n values, if both are drawn from
/// one continuous distribution: how many of the m * n pairs have b below a.
class MannWhitney {
 public:
  /// Precondition: m, n > 0.
  MannWhitney(std::size_t m, std::size_t n);

  /// P(U <= u).
  [[nodiscard]] double at_most(double u) const;
  /// The k for which the k-th least and the k-th greatest of the differences bound an interval that
  /// misses the shift with probability `alpha` at most: the greatest k with P(U <= k - 1) <=
  /// alpha / 2. nullopt: there is none, the groups are too small.
  [[nodiscard]] std::optional<std::size_t> order(double alpha) const;
  [[nodiscard]] bool exact() const { return !cumulative_.empty(); }

 private:
  double m_;
  double n_;
  std::vector<double> cumulative_;  // P(U <= i); empty: normal approximation
};

/// Makes each distribution once: a run has few sizes of groups and many metrics. Not thread-safe.
class MannWhitneyTable {
 public:
  [[nodiscard]] const MannWhitney& of(std::size_t m, std::size_t n);

 private:
  struct Entry {
    std::size_t m;
    std::size_t n;
    std::unique_ptr<MannWhitney> distribution;
  };
  std::vector<Entry> entries_;
};

/// Closed. Values in the unit of what was compared.
struct Interval {
  double lower = 0;
  double upper = 0;
};

struct Shift {
  double estimate = 0;                  ///< Median of the differences b - a.
  std::optional<Interval> ninety_five;  ///< 95 %; nullopt: the groups are too small for one.
  std::optional<Interval> ninety;       ///< 90 %: what two one-sided tests at 5 % come to.
  /// Two-sided Mann-Whitney test of "no shift". A tie counts against a shift.
  double p_no_shift = 1;
  bool exact = true;  ///< By the exact distribution.
};

/// By how much b lies above a. Precondition: neither is empty, all values are finite.
[[nodiscard]] Shift shift_of(std::span<const double> a, std::span<const double> b,
                             MannWhitneyTable& table);

/// The greater p-value of two one-sided Mann-Whitney tests, of "the shift is `bound` or more" and
/// of "it is -`bound` or less". 5 % or less: the shift lies within, and just then both ends of the
/// 90 % interval lie between -bound and bound. A difference of exactly the bound counts against it.
/// Preconditions as of shift_of; bound > 0.
[[nodiscard]] double equivalence_p(std::span<const double> a, std::span<const double> b,
                                   double bound, MannWhitneyTable& table);

/// Fewer values than this in either group are not judged.
inline constexpr std::size_t kLeastLayouts = 4;

enum class Verdict : std::uint8_t { Equivalent, Slower, Faster, Undecided };
[[nodiscard]] const char* name_of(Verdict verdict);

/// What is too little to matter, fixed before the run: the greater of the two.
struct Bound {
  double relative = 0;  ///< Part of a's median: 0.005 is half a percent.
  double absolute = 0;  ///< In the unit of the metric. > 0.
};
/// The bound for values whose median in a is `median`.
[[nodiscard]] double value_of(const Bound& bound, double median);

/// Two groups, side by side.
struct Comparison {
  Summary a;
  Summary b;
  bool paired = false;         ///< Value by value (paired.h), not group by group.
  std::optional<Shift> shift;  ///< nullopt: a group is empty.
  double bound = 0;
  double equivalence_p = 1;
  Verdict verdict = Verdict::Undecided;
  /// A shift of more than this, in the direction that is worse to see, would have put zero out of
  /// the 95 % interval: the greater distance from the estimate to an end of it. 0: any difference
  /// at all. nullopt: there is no interval.
  std::optional<double> smallest_effect;
  /// Undecided: about how many layouts of each would decide it, if shift and spread stay as they
  /// are. nullopt: it is decided, or no number would (the shift is the bound).
  std::optional<std::uint64_t> needed;
};

/// Needs more than this: said as "more than".
inline constexpr std::uint64_t kMostNeeded = 1'000'000;

/// Compares b with a. The verdict, with B the bound (docs/bench.md has the reasons):
///   equivalent  -B < lower and upper < B, of the 90 % interval
///   slower      B <= lower, of the 95 % interval
///   faster      upper <= -B, of the 95 % interval
///   undecided   anything else, and always with fewer than kLeastLayouts values in a group
/// A shift that is surely not zero and surely within the bound is equivalent: whether there is any
/// difference is never the question. At most one can hold, as the 90 % interval lies in the other.
/// Precondition: all values are finite, bound.absolute > 0.
[[nodiscard]] Comparison compare(std::span<const double> a, std::span<const double> b,
                                 const Bound& bound, MannWhitneyTable& table);

/// The verdict on `shift` by the rule of compare(), and what goes with it. `comparison` has its
/// bound; `count`: values of each group; fewer than `least` are not judged.
void judge(Comparison& comparison, const Shift& shift, double count, std::size_t least);

/// b / a with a 95 % interval, by the shift of the logarithms.
struct Ratio {
  double estimate = 1;
  std::optional<Interval> ninety_five;
};
/// Empty if a value is not above zero.
[[nodiscard]] std::vector<double> logarithms_of(std::span<const double> values);
/// The ratio of values whose logarithms are shifted so.
[[nodiscard]] Ratio ratio_of_shift(const Shift& shift);
/// nullopt: a group is empty, or a value is not above zero.
[[nodiscard]] std::optional<Ratio> ratio_of(std::span<const double> a, std::span<const double> b,
                                            MannWhitneyTable& table);

}  // namespace sealvisor::bench
