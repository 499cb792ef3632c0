// Telling vCPUs apart by what their registers hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace sealvisor::engine::tcg {

/// What was last known of a vCPU.
struct VcpuMarks {
  std::uint64_t root = 0;  ///< Its lower root, as the register reads.
  /// What its kernel keeps in a register for each CPU (Registers::own_word); 0: not known yet.
  std::uint64_t own = 0;
  bool armed = false;  ///< Its user mode is to be judged.
};

/// Which of `known` a vCPU is, whose registers hold `root` and `own`.
///
/// QEMU does not say. It takes vCPUs that run in turn on one thread for one vCPU, and makes the
/// number of whichever came first part of the code that calls back (QEMU 10.0:
/// accel/tcg/plugin-gen.c, gen_cpu_index; not so with several threads, whose order would be none).
///
/// Whoever is the only one with this root is meant. So what is judged never depends on `own`, which
/// the guest's kernel chooses: among vCPUs with the same root a mistake says the same of the same
/// tables, and an armed one is preferred. Precondition: `known` is not empty.
[[nodiscard]] inline unsigned which_vcpu(std::span<const VcpuMarks> known, std::uint64_t root,
                                         std::uint64_t own) {
  const auto only = [&](auto&& fits) {
    unsigned found = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < known.size(); ++i) {
      if (!fits(known[i])) continue;
      if (count++ == 0) found = i;
    }
    return count == 1 ? static_cast<int>(found) : -1;
  };
  const auto has_root = [&](const VcpuMarks& one) { return one.root == root; };
  const bool none = std::none_of(known.begin(), known.end(), has_root);
  const auto may_be = [&](const VcpuMarks& one) { return none || has_root(one); };
  int found = only(may_be);
  if (found < 0) found = only([&](const auto& one) { return may_be(one) && one.own == own; });
  if (found < 0) found = only([&](const auto& one) { return may_be(one) && one.own == 0; });
  if (found < 0) found = only([&](const auto& one) { return may_be(one) && one.armed; });
  if (found >= 0) return static_cast<unsigned>(found);
  return static_cast<unsigned>(std::find_if(known.begin(), known.end(), may_be) - known.begin());
}

}  // namespace sealvisor::engine::tcg
