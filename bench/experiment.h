// The list of experiments: what is measured, for both sides. The list itself is
// bench/experiment_list.h; the guest's side is bench/guest.
//
// An experiment is a name, a number of samples, and one small function in the guest
// (bench/guest/functions.cc). A sample is `batch` operations between two marks. Where instructions
// are counted, exactly, one operation is enough; where time is read from a clock, the clock's own
// cost must vanish, so that a sample has `clock_batch` of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sealvisor::bench {

/// Most characters of a name; with its NUL it fits into protocol::Experiment.
inline constexpr std::size_t kMaxName = 63;
/// Most samples of an experiment, and most that it may have for warming up.
inline constexpr std::uint32_t kMaxSamplesOf = 256;
/// Most operations in a sample.
inline constexpr std::uint32_t kMaxBatch = 1'000'000;

/// What is measured, by 64-bit processes or by 32-bit ones, whose names begin with "compat/". Group
/// Foreign: tools that nobody here wrote (bench/foreign.h).
enum class Group : std::uint8_t { Exec, Mmap, Vdso, Foreign };

/// On which architectures an experiment exists.
enum class On : std::uint8_t { Both, X86_64, Arm64 };

struct Experiment {
  std::string_view name;      ///< "exec/fork-exit"; at most kMaxName bytes, no blanks.
  std::uint32_t samples = 0;  ///< Measured, after `warm_up` that are not. 1 to kMaxSamplesOf.
  std::uint32_t warm_up = 0;  ///< At most kMaxSamplesOf.
  /// 1 to kMaxBatch. Where it is 1 no other batch is allowed: what is measured can't be done twice
  /// without a set-up in between, or is dear. Group Foreign: of each sample, however it is taken.
  std::uint32_t clock_batch = 1;
  Group group{};
  On on = On::Both;
  bool quick = false;  ///< Part of `sealvisor bench --quick`.
};

/// All, in the order in which they run; those of Group::Foreign last.
[[nodiscard]] std::span<const Experiment> experiments();

/// Operations in each sample that the host counts.
[[nodiscard]] constexpr std::uint32_t marks_batch(const Experiment& experiment) {
  return experiment.group == Group::Foreign ? experiment.clock_batch : 1;
}

/// The experiment called `name`; nullptr if there is none.
[[nodiscard]] const Experiment* find_experiment(std::string_view name);

/// What protocol::Experiment::checked must be when an experiment ends with status 0: each operation
/// is counted once its outcome was seen to be right, those of the warm-up too. With any other
/// status it says how far the experiment came.
[[nodiscard]] constexpr std::uint64_t expected_checks(std::uint32_t samples, std::uint32_t warm_up,
                                                      std::uint32_t batch) {
  return (std::uint64_t{samples} + warm_up) * batch;
}

}  // namespace sealvisor::bench
