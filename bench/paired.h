// Comparing two groups whose values come in pairs: a and b measured in the same layout. Pure.
//
// Where user space lies decides how many page tables a process has, and so what fork and exec cost:
// by some percent, from layout to layout, far more than what is looked for. Two kernels can be
// given the same layouts (bench/layout.h), and then each pair's difference has nothing of that in
// it.
//
// What is estimated is the middle of the differences: Hodges and Lehmann's estimator for one
// sample, the median of the means of all pairs of differences (each with itself too), with an
// interval of two order statistics of these means by the distribution of Wilcoxon's signed rank
// statistic (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition,
// sections 3.1 to 3.3). The interval is closed; as in bench/statistics.h ties only make it cover
// more often.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "bench/statistics.h"

namespace sealvisor::bench {

/// Distribution of the signed rank statistic T of n differences, if they are symmetric about zero:
/// the sum of the ranks, by size, of those above zero.
class SignedRank {
 public:
  /// n up to kMostExact: exact; else the normal approximation with a continuity correction.
  /// Precondition: n > 0.
  explicit SignedRank(std::size_t n);

  /// P(T <= t).
  [[nodiscard]] double at_most(double t) const;
  /// As MannWhitney::order: of the n (n + 1) / 2 means.
  [[nodiscard]] std::optional<std::size_t> order(double alpha) const;
  [[nodiscard]] bool exact() const { return !cumulative_.empty(); }

 private:
  double n_;
  std::vector<double> cumulative_;  // P(T <= i); empty: normal approximation
};

/// The middle of the differences b - a. Preconditions: as many values in b as in a, a[i] and b[i] a
/// pair, not empty, all finite.
[[nodiscard]] Shift shift_of_pairs(std::span<const double> a, std::span<const double> b);

/// b / a as ratio_of() has it, of pairs. nullopt: no values, or one is not above zero.
/// Precondition: as many values in b as in a.
[[nodiscard]] std::optional<Ratio> ratio_of_pairs(std::span<const double> a,
                                                  std::span<const double> b);

/// compare() for pairs: the same verdicts, by this shift. Fewer than kLeastPairs are not judged.
inline constexpr std::size_t kLeastPairs = 6;  // the least with a 95 % interval
[[nodiscard]] Comparison compare_pairs(std::span<const double> a, std::span<const double> b,
                                       const Bound& bound);

}  // namespace sealvisor::bench
