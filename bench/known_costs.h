// What the recipe `slowed` adds, and where it must be found (guest/kernel/patches/slowed).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "bench/samples.h"

namespace sealvisor::bench {

/// The recipe that `slowed` is made of.
inline constexpr std::string_view kSlowedOf = "lts-unsealed";

/// Instructions that one call takes more, as the patches have them.
inline constexpr std::uint64_t kSlowedExec = 4000;
inline constexpr std::uint64_t kSlowedMremap = 400;
inline constexpr std::uint64_t kSlowedGettimeofday = 50;

/// Of the experiments called `experiments`, those that take one of the slowed paths, each with what
/// it must cost more: a path that an operation takes twice costs twice.
[[nodiscard]] std::vector<KnownCost> known_costs(arch::Arch arch,
                                                 const std::vector<std::string_view>& experiments);

}  // namespace sealvisor::bench
