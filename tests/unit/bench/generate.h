// Samples as guests would give them, without guests: the same for the same plan, always.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "bench/samples.h"

namespace sealvisor::bench::generate {

struct Plan {
  std::vector<arch::Arch> archs{arch::Arch::X86_64};
  std::uint64_t layouts = 16;
  std::uint64_t samples = 5;
  Lane lane = Lane::Instructions;
  /// How much a layout moves a count, as a part of it; 0: exactly the same in each.
  double layout_noise = 0;
  /// Instructions that b executes more, in the kernel, by experiment; only these experiments
  /// differ.
  std::map<std::string, std::int64_t> b_adds{};
  /// The same of the control, which should add nothing.
  std::map<std::string, std::int64_t> control_adds{};
  bool profiles = true;
  bool control = true;
  std::vector<KnownCost> known_costs{};  ///< Not empty: the slowed side is there, and adds them.
  std::vector<std::string> only{};       ///< Experiments; empty: all.
};

/// Names of all experiments, about thirty.
[[nodiscard]] std::vector<std::string> experiments();

[[nodiscard]] Collected collect(const Plan& plan);

/// Both architectures, all experiments, with something of every kind in it: slower, faster,
/// undecided, what these guests lack, known costs, repeated boots, a cross-check.
[[nodiscard]] Collected showcase();

}  // namespace sealvisor::bench::generate
