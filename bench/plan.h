// The plan of a benchmark: what one run of a guest measures. It lies in the initramfs as
// /bench-plan.
//
// Text, lines that end in '\n'. The first line is `sealvisor-bench-plan 1`. Then one experiment a
// line, words separated by one space, in the order in which they run; one may come again:
//
//   <name> <samples> <warm_up> <batch> marks|clock
//
// `marks`: the host counts, between stores to protocol::kMarkRegister. `clock`: the guest reads its
// own counter, and sends it in Samples messages. Anything else is an error that names the line; a
// plan with an error is not run at all.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/experiment.h"

namespace sealvisor::bench {

inline constexpr std::string_view kPlanHeader = "sealvisor-bench-plan 1";
/// Most bytes of a plan.
inline constexpr std::size_t kMaxPlanSize = 65536;
/// Most items of a plan.
inline constexpr std::size_t kMaxPlanItems = 512;

/// Who takes a sample.
enum class Timing : std::uint8_t { Marks, Clock };

struct PlanItem {
  const Experiment* experiment = nullptr;  ///< Never null in an item that was parsed.
  std::uint32_t samples = 0;               ///< 1 to kMaxSamplesOf.
  std::uint32_t warm_up = 0;               ///< 0 to kMaxSamplesOf.
  std::uint32_t batch = 0;                 ///< 1 to kMaxBatch; 1 if the experiment allows no other.
  Timing timing = Timing::Marks;
};

/// How an experiment is measured where the host counts: each operation by itself.
[[nodiscard]] inline PlanItem counted_item(const Experiment& experiment) {
  return {&experiment, experiment.samples, experiment.warm_up, marks_batch(experiment),
          Timing::Marks};
}

/// How often as many samples of an experiment are timed as are counted. A count is the same each
/// time; of times the median is taken, and more of them bring it closer to what it would be of all.
inline constexpr std::uint32_t kTimedSamples = 4;
/// How an experiment is measured where the guest reads its clock. `few`: with as many samples as
/// are counted.
[[nodiscard]] inline PlanItem timed_item(const Experiment& experiment, bool few) {
  const std::uint32_t samples = experiment.samples * (few ? 1 : kTimedSamples);
  return {&experiment, std::min(samples, kMaxSamplesOf), experiment.warm_up, experiment.clock_batch,
          Timing::Clock};
}

/// An item, or why the line is none: `error` is empty exactly when `item` is good.
struct ParsedItem {
  PlanItem item{};
  std::string_view error{};
};

/// Reads one line (without its '\n') behind the header.
[[nodiscard]] ParsedItem parse_plan_line(std::string_view line);

/// A parsed plan, or the first thing that is wrong with it.
struct Plan {
  std::array<PlanItem, kMaxPlanItems> items{};
  std::size_t size = 0;
  std::string_view error{};  ///< Empty: the plan is good.
  std::size_t line = 0;      ///< 1-based line of the error.
  std::string_view text{};   ///< That line, in the text given.
};

/// Reads a whole plan into `plan`. True if it is good; else `plan.error` says why not.
[[nodiscard]] bool parse_plan(std::string_view text, Plan& plan);

/// The line of `item`, with its '\n': what parse_plan_line reads back. Precondition:
/// item.experiment is not null.
[[nodiscard]] inline std::string plan_line(const PlanItem& item) {
  std::string line(item.experiment->name);
  for (const std::uint32_t number : {item.samples, item.warm_up, item.batch}) {
    line.append(" ").append(std::to_string(number));
  }
  return line + (item.timing == Timing::Clock ? " clock\n" : " marks\n");
}

}  // namespace sealvisor::bench
