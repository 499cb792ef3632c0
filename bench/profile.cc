#include "bench/profile.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::bench {

namespace {

using Key = std::pair<Space, std::string>;
using CountsOfKeys = std::map<Key, std::uint64_t>;

Error bad_profile(const Boot& boot, const Measured& measured, const std::string& what) {
  return Error{ExitCode::GuestFailed,
               fmt::format("the profile of {} {} in {} with seed {}: {}", arch::name_of(boot.arch),
                           measured.experiment, name_of(boot.side), boot.seed, what)};
}

std::uint64_t sum(const std::vector<std::uint64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

bool usable(const Measured& measured) {
  return measured.status == 0 && measured.problem.empty() && !measured.profile.empty();
}

Result<CountsOfKeys> counts_of(const Boot& boot, const Measured& measured) {
  CountsOfKeys counts;
  std::uint64_t kernel = 0;
  std::uint64_t user = 0;
  for (const SymbolCount& one : measured.profile) {
    if (!counts.emplace(Key{one.space, one.symbol}, one.count).second) {
      return bad_profile(boot, measured, fmt::format("{} is in it twice", one.symbol));
    }
    (one.space == Space::Kernel ? kernel : user) += one.count;
  }
  const auto check = [&](const char* name, std::uint64_t have, std::uint64_t want) -> Status {
    if (have == want) return {};
    return bad_profile(
        boot, measured,
        fmt::format("its symbols of the {} sum up to {} instructions, the samples to {}", name,
                    have, want));
  };
  if (auto good = check("kernel", kernel, sum(measured.kernel)); !good) return good.error();
  if (auto good = check("user mode", user, sum(measured.user)); !good) return good.error();
  return counts;
}

/// What is summed up for one architecture and experiment.
struct Sums {
  ProfileDifference difference;
  std::map<Key, std::pair<std::uint64_t, std::uint64_t>> symbols;
};

std::uint64_t operations_of(const Measured& measured) {
  return measured.kernel.size() * std::uint64_t{measured.batch};
}

Status add(Sums& sums, const Boot& of_a, const Measured& a, const Boot& of_b, const Measured& b) {
  if (operations_of(a) != operations_of(b)) {
    return bad_profile(
        of_b, b,
        fmt::format("it is of {} operations, a's of {}", operations_of(b), operations_of(a)));
  }
  auto left = counts_of(of_a, a);
  if (!left) return left.error();
  auto right = counts_of(of_b, b);
  if (!right) return right.error();
  for (const auto& [key, count] : left.value()) sums.symbols[key].first += count;
  for (const auto& [key, count] : right.value()) sums.symbols[key].second += count;
  sums.difference.operations += operations_of(a);
  sums.difference.layouts += 1;
  sums.difference.total_a += sum(a.user) + sum(a.kernel);
  sums.difference.total_b += sum(b.user) + sum(b.kernel);
  return {};
}

const Measured* same_experiment(const Boot& boot, const std::string& experiment) {
  const auto found = std::find_if(
      boot.experiments.begin(), boot.experiments.end(),
      [&](const Measured& one) { return one.experiment == experiment && usable(one); });
  return found == boot.experiments.end() ? nullptr : &*found;
}

ProfileDifference finished(Sums sums) {
  for (const auto& [key, counts] : sums.symbols) {
    sums.difference.symbols.push_back({key.first, key.second, counts.first, counts.second});
  }
  std::stable_sort(sums.difference.symbols.begin(), sums.difference.symbols.end(),
                   [](const SymbolDifference& one, const SymbolDifference& other) {
                     return std::llabs(one.difference()) > std::llabs(other.difference());
                   });
  return std::move(sums.difference);
}

}  // namespace

Result<std::vector<ProfileDifference>> profile_differences(std::span<const Boot> boots, Side with) {
  std::vector<Sums> all;
  for (const Boot& boot : boots) {
    if (boot.side != Side::A) continue;
    const auto other = std::find_if(boots.begin(), boots.end(), [&](const Boot& one) {
      return one.side == with && one.arch == boot.arch && one.seed == boot.seed;
    });
    if (other == boots.end()) continue;
    for (const Measured& measured : boot.experiments) {
      const Measured* twin = same_experiment(*other, measured.experiment);
      if (!usable(measured) || twin == nullptr) continue;
      auto place = std::find_if(all.begin(), all.end(), [&](const Sums& sums) {
        return sums.difference.arch == boot.arch &&
               sums.difference.experiment == measured.experiment;
      });
      if (place == all.end()) {
        place = all.insert(all.end(), Sums{});
        place->difference.arch = boot.arch;
        place->difference.experiment = measured.experiment;
        place->difference.with = with;
      }
      if (auto added = add(*place, boot, measured, *other, *twin); !added) return added.error();
    }
  }
  std::vector<ProfileDifference> result;
  result.reserve(all.size());
  for (Sums& sums : all) result.push_back(finished(std::move(sums)));
  return result;
}

}  // namespace sealvisor::bench
