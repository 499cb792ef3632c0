#include "bench/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include <boost/math/distributions/normal.hpp>

namespace sealvisor::bench {

namespace {

constexpr double kNinetyFive = 0.05;  // alpha of the interval
constexpr double kNinety = 0.10;

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> result(values.begin(), values.end());
  std::sort(result.begin(), result.end());
  return result;
}

double median_of_sorted(std::span<const double> values) {
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// All m * n differences b - a, in order.
std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  std::vector<double> result;
  result.reserve(a.size() * b.size());
  for (const double one : a) {
    for (const double other : b) result.push_back(other - one);
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::optional<Interval> interval_of(const std::vector<double>& differences,
                                    const MannWhitney& distribution, double alpha) {
  const auto order = distribution.order(alpha);
  if (!order) return std::nullopt;
  return Interval{differences[*order - 1], differences[differences.size() - *order]};
}

std::size_t count_at_least(const std::vector<double>& sorted_values, double value) {
  return static_cast<std::size_t>(
      sorted_values.end() - std::lower_bound(sorted_values.begin(), sorted_values.end(), value));
}

std::size_t count_at_most(const std::vector<double>& sorted_values, double value) {
  return static_cast<std::size_t>(
      std::upper_bound(sorted_values.begin(), sorted_values.end(), value) - sorted_values.begin());
}

/// P(U = u) for u = 0 .. m * n. From the probability that the greatest of all values is one of a's:
/// then it is above all n of b's, and what is left is the same problem with m - 1 values.
/// Only sums of positive numbers, so that rounding stays relative.
std::vector<double> exact_distribution(std::size_t m, std::size_t n) {
  // row[i]: distribution for i values of a and, in turn, j = 0 .. n of b.
  std::vector<std::vector<double>> row(m + 1, std::vector<double>(1, 1.0));
  for (std::size_t j = 1; j <= n; ++j) {
    for (std::size_t i = 1; i <= m; ++i) {
      const double total = static_cast<double>(i + j);
      const double of_a = static_cast<double>(i) / total;
      const double of_b = static_cast<double>(j) / total;
      std::vector<double> next(i * j + 1, 0.0);
      for (std::size_t u = 0; u < row[i - 1].size(); ++u) next[u + j] += of_a * row[i - 1][u];
      for (std::size_t u = 0; u < row[i].size(); ++u) next[u] += of_b * row[i][u];
      row[i] = std::move(next);
    }
  }
  return row[m];
}

/// How many times more layouts than now decide it, by the scaling of widths with one over the root
/// of their number; nullopt: none do.
std::optional<double> growth_needed(const Shift& shift, double bound) {
  const double estimate = shift.estimate;
  const double size = std::abs(estimate);
  if (!shift.ninety || !shift.ninety_five || size == bound) return std::nullopt;
  double scale = 0;  // of the widths as they are to what they must be
  if (size < bound) {
    scale = std::max((shift.ninety->upper - estimate) / (bound - estimate),
                     (estimate - shift.ninety->lower) / (bound + estimate));
  } else if (estimate > 0) {
    scale = (estimate - shift.ninety_five->lower) / (estimate - bound);
  } else {
    scale = (shift.ninety_five->upper - estimate) / (-estimate - bound);
  }
  return scale * scale;
}

std::optional<std::uint64_t> layouts_needed(const Shift& shift, double bound, double now,
                                            std::size_t least_count) {
  if (now < static_cast<double>(least_count) || !shift.ninety_five) return least_count;
  const auto growth = growth_needed(shift, bound);
  if (!growth) return std::nullopt;
  const double needed = std::ceil(now * *growth);
  const auto least = static_cast<std::uint64_t>(std::floor(now)) + 1;
  if (!(needed < static_cast<double>(kMostNeeded))) return kMostNeeded;
  return std::max(static_cast<std::uint64_t>(needed), least);
}

Verdict verdict_of(const Shift& shift, double bound) {
  if (!shift.ninety || !shift.ninety_five) return Verdict::Undecided;
  if (-bound < shift.ninety->lower && shift.ninety->upper < bound) return Verdict::Equivalent;
  if (bound <= shift.ninety_five->lower) return Verdict::Slower;
  if (shift.ninety_five->upper <= -bound) return Verdict::Faster;
  return Verdict::Undecided;
}

}  // namespace

double median_of(std::span<const double> values) {
  assert(!values.empty());
  return median_of_sorted(sorted(values));
}

double quantile_of(std::span<const double> sorted_values, double part) {
  assert(!sorted_values.empty() && part >= 0 && part <= 1);
  const double place = part * static_cast<double>(sorted_values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted_values.size() - 1);
  const double rest = place - static_cast<double>(below);
  return sorted_values[below] + rest * (sorted_values[above] - sorted_values[below]);
}

Summary summarise(std::span<const double> values) {
  if (values.empty()) return {};
  const std::vector<double> ordered = sorted(values);
  return {ordered.size(),
          median_of_sorted(ordered),
          quantile_of(ordered, 0.25),
          quantile_of(ordered, 0.75),
          ordered.front(),
          ordered.back()};
}

MannWhitney::MannWhitney(std::size_t m, std::size_t n)
    : m_(static_cast<double>(m)), n_(static_cast<double>(n)) {
  assert(m > 0 && n > 0);
  if (m > kMostExact || n > kMostExact) return;
  cumulative_ = exact_distribution(m, n);
  double sum = 0;
  for (double& value : cumulative_) value = sum += value;
}

double MannWhitney::at_most(double u) const {
  const double all = m_ * n_;
  if (u < 0) return 0;
  if (u >= all) return 1;
  if (exact()) return std::min(cumulative_[static_cast<std::size_t>(u)], 1.0);
  const double deviation = std::sqrt(all * (m_ + n_ + 1) / 12);
  // The half is the continuity correction.
  return boost::math::cdf(boost::math::normal(all / 2, deviation), std::floor(u) + 0.5);
}

std::optional<std::size_t> MannWhitney::order(double alpha) const {
  // Rounding must not push out a probability that is exactly alpha / 2.
  const double most = alpha / 2 * (1 + 1e-12);
  std::size_t low = 0;                                // P(U <= low - 1) <= most holds
  auto high = static_cast<std::size_t>(m_ * n_) + 1;  // and does not here
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    (at_most(static_cast<double>(middle) - 1) <= most ? low : high) = middle;
  }
  return low == 0 ? std::nullopt : std::optional(low);
}

const MannWhitney& MannWhitneyTable::of(std::size_t m, std::size_t n) {
  // Symmetric; in one order, so that a comparison turned around has the same figures to the digit.
  if (m > n) std::swap(m, n);
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.m == m && entry.n == n; });
  if (found != entries_.end()) return *found->distribution;
  entries_.push_back({m, n, std::make_unique<MannWhitney>(m, n)});
  return *entries_.back().distribution;
}

Shift shift_of(std::span<const double> a, std::span<const double> b, MannWhitneyTable& table) {
  assert(!a.empty() && !b.empty());
  const MannWhitney& distribution = table.of(a.size(), b.size());
  const std::vector<double> all = differences(a, b);
  Shift shift;
  shift.estimate = median_of_sorted(all);
  shift.ninety_five = interval_of(all, distribution, kNinetyFive);
  shift.ninety = interval_of(all, distribution, kNinety);
  const auto fewer = static_cast<double>(std::min(count_at_least(all, 0), count_at_most(all, 0)));
  shift.p_no_shift = std::min(1.0, 2 * distribution.at_most(fewer));
  shift.exact = distribution.exact();
  return shift;
}

double equivalence_p(std::span<const double> a, std::span<const double> b, double bound,
                     MannWhitneyTable& table) {
  assert(!a.empty() && !b.empty() && bound > 0);
  const MannWhitney& distribution = table.of(a.size(), b.size());
  const std::vector<double> all = differences(a, b);
  const std::size_t against = std::max(count_at_least(all, bound), count_at_most(all, -bound));
  return distribution.at_most(static_cast<double>(against));
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Equivalent:
      return "equivalent";
    case Verdict::Slower:
      return "slower";
    case Verdict::Faster:
      return "faster";
    case Verdict::Undecided:
      return "undecided";
  }
  return "?";
}

double value_of(const Bound& bound, double median) {
  return std::max(bound.relative * std::abs(median), bound.absolute);
}

Comparison compare(std::span<const double> a, std::span<const double> b, const Bound& bound,
                   MannWhitneyTable& table) {
  Comparison result;
  result.a = summarise(a);
  result.b = summarise(b);
  result.bound = value_of(bound, result.a.median);
  if (a.empty() || b.empty()) {
    result.needed = kLeastLayouts;
    return result;
  }
  result.equivalence_p = equivalence_p(a, b, result.bound, table);
  // Groups of unequal size are as good as equal ones of their harmonic mean; the smaller one must
  // be large enough.
  const auto of_a = static_cast<double>(a.size());
  const auto of_b = static_cast<double>(b.size());
  const bool enough = std::min(a.size(), b.size()) >= kLeastLayouts;
  judge(result, shift_of(a, b, table), enough ? 2 * of_a * of_b / (of_a + of_b) : 0, kLeastLayouts);
  return result;
}

void judge(Comparison& result, const Shift& shift, double count, std::size_t least) {
  result.shift = shift;
  const bool enough = count >= static_cast<double>(least);
  result.verdict = enough ? verdict_of(shift, result.bound) : Verdict::Undecided;
  if (shift.ninety_five) {
    result.smallest_effect = std::max(shift.ninety_five->upper - shift.estimate,
                                      shift.estimate - shift.ninety_five->lower);
  }
  if (result.verdict == Verdict::Undecided) {
    result.needed = layouts_needed(shift, result.bound, count, least);
  }
}

std::vector<double> logarithms_of(std::span<const double> values) {
  std::vector<double> result;
  for (const double value : values) {
    if (!(value > 0)) return {};
    result.push_back(std::log(value));
  }
  return result;
}

Ratio ratio_of_shift(const Shift& shift) {
  Ratio ratio{std::exp(shift.estimate), std::nullopt};
  if (shift.ninety_five) {
    ratio.ninety_five =
        Interval{std::exp(shift.ninety_five->lower), std::exp(shift.ninety_five->upper)};
  }
  return ratio;
}

std::optional<Ratio> ratio_of(std::span<const double> a, std::span<const double> b,
                              MannWhitneyTable& table) {
  const std::vector<double> of_a = logarithms_of(a);
  const std::vector<double> of_b = logarithms_of(b);
  if (of_a.empty() || of_b.empty()) return std::nullopt;
  return ratio_of_shift(shift_of(of_a, of_b, table));
}

}  // namespace sealvisor::bench
