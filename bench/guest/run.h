// What an experiment's function is given, and how it takes its samples.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "bench/guest/mark.h"
#include "bench/guest/shared.h"

namespace sealvisor::bench {

/// One experiment, in the process that measures it.
class Run {
 public:
  /// `doorbell`: its page, as mapped here. `spare`: the second page of the shared memory.
  Run(Shared& shared, std::byte* doorbell, std::byte* spare)
      : shared_(shared), doorbell_(doorbell), spare_(spare) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  [[nodiscard]] Shared& shared() { return shared_; }
  [[nodiscard]] std::uint32_t batch() const { return shared_.batch; }
  /// The sample that is next.
  [[nodiscard]] Place place() { return place_now(shared_, doorbell_, spare_); }
  /// By marks: whether a host may listen there.
  [[nodiscard]] bool counts(const Place& place) const { return place.page == doorbell_; }
  /// Where a sample goes that nobody takes.
  [[nodiscard]] Place nowhere() {
    return {spare_, shared_.clock != 0 ? &shared_.ticks[kMaxSamplesOf] : nullptr};
  }

  /// Takes all samples: calls `sample(place)` for each, which returns how many operations were
  /// right; negative: -errno, that ends the experiment. 0 or the errno.
  template <typename Sample>
  [[nodiscard]] int samples(const Sample& sample) {
    // A 32-bit number of good ones would turn -errno into very many.
    static_assert(std::is_same_v<std::invoke_result_t<Sample, Place>, std::int64_t>);
    const std::uint32_t all = shared_.warm_up + shared_.samples;
    for (shared_.sample = 0; shared_.sample < all; ++shared_.sample) {
      const std::int64_t good = sample(place());
      if (good < 0) return static_cast<int>(-good);
      shared_.checked += static_cast<std::uint64_t>(good);
    }
    return 0;
  }

  /// The same where nothing is to be set up: `operation(i)` is timed, and says whether its outcome
  /// was right.
  template <typename Operation>
  [[nodiscard]] int each(const Operation& operation) {
    return each(operation, [] { return true; });
  }

  /// And `right()` after each sample, untimed: false: none of its operations count.
  template <typename Operation, typename Right>
  [[nodiscard]] int each(const Operation& operation, const Right& right) {
    return each([] { return 0; }, operation, right);
  }

  /// And `prepare()` before each, untimed: 0 or an errno.
  template <typename Prepare, typename Operation, typename Right>
  [[nodiscard]] int each(const Prepare& prepare, const Operation& operation, const Right& right) {
    return samples([&](const Place& place) -> std::int64_t {
      const int error = prepare();
      if (error != 0) return -error;
      const std::uint32_t good = timed(place, batch(), operation);
      return right() ? good : 0;
    });
  }

 private:
  Shared& shared_;
  std::byte* doorbell_;
  std::byte* spare_;
};

/// The function of an experiment: 0, or the errno that stopped it. ENOTSUP: this guest has not what
/// it measures.
using Function = int (*)(Run& run, std::uint64_t argument);

}  // namespace sealvisor::bench
