#include "bench/paired.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include <boost/math/distributions/normal.hpp>

namespace sealvisor::bench {

namespace {

std::vector<double> differences_of(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size() && !a.empty());
  std::vector<double> differences(a.size());
  std::transform(b.begin(), b.end(), a.begin(), differences.begin(),
                 [](double of_b, double of_a) { return of_b - of_a; });
  return differences;
}

/// The means of all pairs of differences, in order.
std::vector<double> walsh_means(const std::vector<double>& differences) {
  std::vector<double> means;
  means.reserve(differences.size() * (differences.size() + 1) / 2);
  for (std::size_t i = 0; i < differences.size(); ++i) {
    for (std::size_t j = i; j < differences.size(); ++j) {
      means.push_back((differences[i] + differences[j]) / 2);
    }
  }
  std::sort(means.begin(), means.end());
  return means;
}

std::optional<Interval> interval_of(const std::vector<double>& means,
                                    const SignedRank& distribution, double alpha) {
  const auto order = distribution.order(alpha);
  if (!order) return std::nullopt;
  return Interval{means[*order - 1], means[means.size() - *order]};
}

/// P of a statistic as far out as the number of means on the other side of `value` says; what lies
/// on it counts against.
double one_sided(const std::vector<double>& means, const SignedRank& distribution, double value,
                 bool below) {
  const auto against = std::count_if(means.begin(), means.end(), [&](double mean) {
    return below ? mean >= value : mean <= value;
  });
  return distribution.at_most(static_cast<double>(against));
}

}  // namespace

SignedRank::SignedRank(std::size_t n) : n_(static_cast<double>(n)) {
  assert(n > 0);
  if (n > kMostExact) return;
  // P(T = t): each rank is in the sum or not, with equal chance.
  std::vector<double> part(1, 1.0);
  for (std::size_t rank = 1; rank <= n; ++rank) {
    std::vector<double> next(part.size() + rank, 0.0);
    for (std::size_t t = 0; t < part.size(); ++t) {
      next[t] += part[t] / 2;
      next[t + rank] += part[t] / 2;
    }
    part = std::move(next);
  }
  double sum = 0;
  cumulative_.reserve(part.size());
  for (const double one : part) cumulative_.push_back(sum += one);
}

double SignedRank::at_most(double t) const {
  if (t < 0) return 0;
  if (exact()) {
    const auto place = static_cast<std::size_t>(t);
    return place >= cumulative_.size() ? 1.0 : std::min(cumulative_[place], 1.0);
  }
  const double mean = n_ * (n_ + 1) / 4;
  const double deviation = std::sqrt(n_ * (n_ + 1) * (2 * n_ + 1) / 24);
  return boost::math::cdf(boost::math::normal(mean, deviation), t + 0.5);
}

std::optional<std::size_t> SignedRank::order(double alpha) const {
  std::size_t order = 0;
  while (at_most(static_cast<double>(order)) <= alpha / 2) ++order;
  if (order == 0) return std::nullopt;
  return order;
}

Shift shift_of_pairs(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> means = walsh_means(differences_of(a, b));
  const SignedRank distribution(a.size());
  Shift shift;
  shift.estimate = median_of(means);
  shift.ninety_five = interval_of(means, distribution, 0.05);
  shift.ninety = interval_of(means, distribution, 0.10);
  shift.p_no_shift = std::min(1.0, 2 * std::min(one_sided(means, distribution, 0, true),
                                                one_sided(means, distribution, 0, false)));
  shift.exact = distribution.exact();
  return shift;
}

std::optional<Ratio> ratio_of_pairs(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  const auto of_a = logarithms_of(a);
  const auto of_b = logarithms_of(b);
  if (of_a.empty() || of_b.empty()) return std::nullopt;
  return ratio_of_shift(shift_of_pairs(of_a, of_b));
}

Comparison compare_pairs(std::span<const double> a, std::span<const double> b, const Bound& bound) {
  Comparison comparison;
  comparison.paired = true;
  comparison.a = summarise(a);
  comparison.b = summarise(b);
  comparison.bound = value_of(bound, comparison.a.median);
  if (a.empty() || a.size() != b.size()) {
    comparison.needed = kLeastPairs;
    return comparison;
  }
  const std::vector<double> means = walsh_means(differences_of(a, b));
  const SignedRank distribution(a.size());
  comparison.equivalence_p = std::max(one_sided(means, distribution, comparison.bound, true),
                                      one_sided(means, distribution, -comparison.bound, false));
  judge(comparison, shift_of_pairs(a, b), static_cast<double>(a.size()), kLeastPairs);
  return comparison;
}

}  // namespace sealvisor::bench
