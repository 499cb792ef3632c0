#include "bench/counters.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "bench/statistics.h"

namespace sealvisor::bench {

namespace {

RunCounter together(arch::Arch arch, const std::vector<const Counter*>& counters) {
  RunCounter whole;
  whole.arch = arch;
  whole.source = counters.front()->source;
  std::vector<double> frequencies;
  std::vector<double> reads;
  std::vector<double> nops;
  for (const Counter* one : counters) {
    frequencies.push_back(static_cast<double>(one->frequency));
    reads.push_back(one->read_ticks);
    nops.push_back(one->nop_ticks);
    whole.step = std::max(whole.step, one->step);
  }
  whole.read_ticks = median_of(reads);
  whole.nop_ticks = median_of(nops);
  if (std::count(frequencies.begin(), frequencies.end(), 0.0) != 0) return whole;
  const double median = median_of(frequencies);
  whole.frequency = static_cast<std::uint64_t>(std::llround(median));
  for (const double one : frequencies) {
    whole.spread = std::max(whole.spread, std::abs(one - median) / median);
  }
  return whole;
}

}  // namespace

std::vector<RunCounter> counters_of(std::span<const Boot> boots) {
  std::vector<RunCounter> result;
  for (const arch::Arch arch : arch::kAllArchs) {
    std::vector<const Counter*> counters;
    for (const Boot& boot : boots) {
      if (boot.arch == arch && boot.counter) counters.push_back(&*boot.counter);
    }
    if (!counters.empty()) result.push_back(together(arch, counters));
  }
  return result;
}

const RunCounter* counter_of(std::span<const RunCounter> counters, arch::Arch arch) {
  const auto found = std::find_if(counters.begin(), counters.end(),
                                  [&](const RunCounter& one) { return one.arch == arch; });
  return found == counters.end() ? nullptr : &*found;
}

std::vector<std::string> problems_of(std::span<const RunCounter> counters) {
  std::vector<std::string> problems;
  for (const RunCounter& one : counters) {
    if (one.spread <= kMostSpread) continue;
    problems.push_back(
        fmt::format("{}: the guests' counters are up to {:.3g} % apart, expected at most {:g} %",
                    arch::name_of(one.arch), one.spread * 100, kMostSpread * 100));
  }
  return problems;
}

}  // namespace sealvisor::bench
