// Which guests a benchmark boots, in which order, and what became of each.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "bench/boot.h"
#include "bench/samples.h"
#include "vmm/base/result.h"

namespace sealvisor::bench {

/// One guest to boot.
struct Turn {
  arch::Arch arch{};
  Side side{};
  std::uint64_t seed = 0;
  friend bool operator==(const Turn&, const Turn&) = default;
};

/// For each of `layouts` layouts one guest of each side, of each architecture. The order of the
/// sides turns around from layout to layout (A B, B A, ...), so that a drift of the machine cancels
/// out; architectures alternate, so that two guests at a time are of both. Seeds count from `seed`
/// on.
[[nodiscard]] std::vector<Turn> turns(const std::vector<arch::Arch>& archs,
                                      const std::vector<Side>& sides, std::uint32_t layouts,
                                      std::uint64_t seed);

struct Played {
  Turn turn;
  BootResult result;
};

struct Campaign {
  std::vector<Played> played;  ///< In the order of their turns.
  std::vector<Error> errors;   ///< Guests that could not be run.
  bool interrupted = false;    ///< Some were not begun.
};

/// Plays the turns, `workers` at a time. `stop` says that no other is to begin; `done` is called
/// after each, from the thread that played it. A guest that failed ends the campaign: what it lacks
/// would be missing in every comparison.
[[nodiscard]] Campaign play(const std::vector<Turn>& turns, unsigned workers,
                            const std::function<Result<BootResult>(const Turn&)>& run,
                            const std::function<bool()>& stop,
                            const std::function<void(const Turn&, const BootResult&)>& done);

}  // namespace sealvisor::bench
