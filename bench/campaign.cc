#include "bench/campaign.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace sealvisor::bench {

std::vector<Turn> turns(const std::vector<arch::Arch>& archs, const std::vector<Side>& sides,
                        std::uint32_t layouts, std::uint64_t seed) {
  std::vector<Turn> turns;
  for (std::uint32_t layout = 0; layout < layouts; ++layout) {
    std::vector<Side> order = sides;
    if (layout % 2 == 1) std::reverse(order.begin(), order.end());
    for (const Side side : order) {
      for (const arch::Arch arch : archs) turns.push_back({arch, side, seed + layout});
    }
  }
  return turns;
}

Campaign play(const std::vector<Turn>& turns, unsigned workers,
              const std::function<Result<BootResult>(const Turn&)>& run,
              const std::function<bool()>& stop,
              const std::function<void(const Turn&, const BootResult&)>& done) {
  std::vector<std::optional<Result<BootResult>>> results(turns.size());
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    for (std::size_t i = next++; i < turns.size(); i = next++) {
      if (failed || stop()) return;
      results[i] = run(turns[i]);
      if (!results[i]->ok() || !results[i]->value().good) failed = true;
      if (results[i]->ok()) done(turns[i], results[i]->value());
    }
  };
  {
    std::vector<std::jthread> others;
    const std::size_t count = std::min<std::size_t>(workers, turns.size());
    for (std::size_t i = 1; i < count; ++i) others.emplace_back(work);
    work();
  }
  Campaign campaign;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (!results[i]) {
      campaign.interrupted = campaign.interrupted || !failed;
    } else if (results[i]->ok()) {
      campaign.interrupted = campaign.interrupted || results[i]->value().interrupted;
      campaign.played.push_back({turns[i], std::move(*results[i]).value()});
    } else {
      campaign.errors.push_back(results[i]->error());
    }
  }
  return campaign;
}

}  // namespace sealvisor::bench
