// The list of experiments: what is measured, for both sides. The guest's side is bench/guest.
//
// An experiment is a name, a number of samples, and one small function in the guest
// (bench/guest/experiments.h). A sample is `batch` operations between two marks. Where instructions
// are counted, exactly, one operation is enough; where time is read from a clock, the clock's own
// cost must vanish, so that a sample has `clock_batch` of them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sealvisor::bench {

enum class Group : std::uint8_t { Exec, Mmap, Vdso };

/// On which architectures an experiment exists.
enum class On : std::uint8_t { Both, X86_64, Arm64 };

struct Experiment {
  std::string_view name;  ///< "exec/fork-exit"; less than 64 bytes, no blanks.
  Group group{};
  std::uint32_t samples = 0;  ///< Measured, after `warm_up` that are not.
  std::uint32_t warm_up = 0;
  std::uint32_t clock_batch = 1;
  On on = On::Both;
  bool quick = false;  ///< Part of `sealvisor bench --quick`.
};

/// All, in the order in which they run.
[[nodiscard]] std::span<const Experiment> experiments();

}  // namespace sealvisor::bench
