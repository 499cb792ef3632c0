// What a run of benchmarks says, as plain values: what text, JSON, CSV and HTML print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "bench/counters.h"
#include "bench/samples.h"
#include "bench/statistics.h"
#include "vmm/base/result.h"

namespace sealvisor::bench {

enum class Measure : std::uint8_t {
  Total,   ///< Instructions, User and Kernel together.
  User,    ///< Instructions of user mode, the vdso among them.
  Kernel,  ///< Instructions of the kernel.
  Nanoseconds,
  Ticks,  ///< Of a counter whose frequency the guest could not tell.
};
[[nodiscard]] const char* name_of(Measure measure);
/// "instructions", "ns", "ticks". A count of instructions is never a time.
[[nodiscard]] const char* unit_of(Measure measure);

/// Least differences that matter, fixed before the run and never changed after it: the greater of a
/// part of a's median and of an absolute one. docs/bench.md has the reasons for those of time.
struct Bounds {
  double relative = 0.005;  ///< Of instructions.
  double instructions = 20;
  double time_relative = 0.01;  ///< Of nanoseconds and ticks.
  double nanoseconds = 2;       ///< And no less than `steps`.
  double ticks = 20;            ///< The same, where the counter's frequency is not known.
  double steps = 2;             ///< Steps of the counter, over the operations of a sample.
};

struct Metric;
[[nodiscard]] Bound bound_of(const Bounds& bounds, const Metric& metric);

/// Of one boot: the median of its samples, for one operation.
struct LayoutValue {
  std::uint64_t seed = 0;
  double value = 0;
};

/// One number of one experiment on one architecture.
struct Metric {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  Measure measure = Measure::Total;
  /// Of time: a step of the counter over the operations of a sample. 0: it is counted exactly.
  double resolution = 0;
  double hertz = 0;  ///< Of nanoseconds: the counter's ticks in a second.
  std::vector<LayoutValue> a;
  std::vector<LayoutValue> b;
  std::vector<LayoutValue> control;
  std::vector<LayoutValue> slowed;
  Comparison cost;                        ///< b against a: the question.
  Comparison again;                       ///< control against a: A/A.
  std::optional<Comparison> sensitivity;  ///< slowed against a.
  std::optional<Comparison> baseline_a;   ///< This run's a against the saved a.
  std::optional<Comparison> baseline_b;
};
/// "x86_64 exec/fork-exit kernel".
[[nodiscard]] std::string name_of(const Metric& metric);
/// `value` of a metric of time in ticks; nullopt: it is no time.
[[nodiscard]] std::optional<double> ticks_of(const Metric& metric, double value);
/// Whether it is the part of another metric that one mode of the CPU has.
[[nodiscard]] bool is_part(const Metric& metric);

/// What was measured of a side of `metric`, a Metric that may be const.
template <typename AMetric>
[[nodiscard]] auto& values_of(AMetric& metric, Side side) {
  switch (side) {
    case Side::A:
      return metric.a;
    case Side::B:
      return metric.b;
    case Side::Control:
      return metric.control;
    case Side::Slowed:
      break;
  }
  return metric.slowed;
}
/// Values alone.
[[nodiscard]] std::vector<double> values_of(const std::vector<LayoutValue>& values);

/// Values of a and b in the same layouts: a[i] and b[i] are a pair.
struct PairedValues {
  std::vector<double> a;
  std::vector<double> b;
};
/// nullopt: too few layouts are of both, as with a baseline that has other seeds.
[[nodiscard]] std::optional<PairedValues> pairs_of(const std::vector<LayoutValue>& a,
                                                   const std::vector<LayoutValue>& b);

/// An experiment that is no metric.
struct Missing {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  std::string reason;
  bool failed = false;  ///< False: it does not exist on these guests.
};

struct SymbolDifference {
  Space space = Space::Kernel;
  std::string symbol;
  std::uint64_t a = 0;
  std::uint64_t b = 0;

  [[nodiscard]] std::int64_t difference() const { return static_cast<std::int64_t>(b - a); }
};

/// Where the instructions of an experiment are that one side executed and the other did not: sums
/// over all layouts that both have. The symbols sum up to the totals, exactly.
struct ProfileDifference {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  Side with = Side::B;           ///< Compared with a: B, or Slowed.
  std::uint64_t operations = 0;  ///< On each side.
  std::uint64_t layouts = 0;
  std::uint64_t total_a = 0;
  std::uint64_t total_b = 0;
  std::vector<SymbolDifference> symbols;  ///< Largest difference first; those without one last.
};

/// One known cost, and what was found.
struct SensitivityLine {
  KnownCost known;
  /// With the other known costs of the experiment there. Of time: what they take at least, were
  /// each of them a `nop` among thousands.
  double expected_shift = 0;
  std::optional<double> shift;  ///< Of the user's or the kernel's part; nullopt: not measured.
  double shift_bound = 0;       ///< How far from `expected_shift` that may be: the metric's bound.
  std::optional<double> in_function;  ///< Added in the function, of one operation, on average.
  /// Symbol that the profile names: the function, if it is among as many largest differences as
  /// the experiment has known costs; else the largest. Empty: no profile.
  std::string function;
  /// Of time: the verdict on slowed against a; nullopt: instructions, or nothing was measured.
  std::optional<Verdict> verdict;
  /// Of time: whether that much must be seen (kAskedBounds). Of instructions: always.
  bool asked = true;
  /// The function is named, and has what was added within one instruction; the shift is as
  /// expected, within the bound. Of time: it is not asked for, or is neither equivalent nor faster.
  bool good = false;
};

/// A known cost of at least so many bounds must be seen by a clock: one of a bound could come out
/// equivalent in one run of twenty.
inline constexpr double kAskedBounds = 2;

struct Sensitivity {
  std::vector<SensitivityLine> lines;
  /// Metrics without a known cost that are not equivalent. Of time: none, they are not asked for.
  std::vector<std::string> others;
  bool good = false;
};

/// Whether any known cost is asked for: if none is, that all are good says nothing.
[[nodiscard]] bool is_shown(const Sensitivity& sensitivity);

/// One experiment of one boot, without and with interception.
struct WatchedLine {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  Side side = Side::A;
  std::uint64_t seed = 0;
  Measure measure = Measure::Nanoseconds;
  std::string problem{};  ///< Why there are no values; empty: there are.
  double off = 0;         ///< Median of the samples, of one operation.
  double on = 0;
};

/// What interception costs. No verdict: one boot of each says nothing about others.
struct Watched {
  std::vector<std::string> how;  ///< What intercepted.
  std::vector<WatchedLine> lines;
};

/// Boots with the same kernel and the same seed, compared sample by sample.
struct Repeats {
  std::uint64_t boots = 0;
  std::uint64_t samples = 0;  ///< Pairs that were compared.
  std::vector<std::string>
      differing;  ///< Experiments whose figures are not the same, and by how much.
};

/// What a tool, or we, measured of one operation.
struct CrossMeasured {
  double median = 0;              ///< Of a.
  Ratio ratio;                    ///< b / a.
  std::optional<Shift> slowed{};  ///< slowed - a; nullopt: no slowed kernel was booted.
  /// Of that, what is in the function that instructions were added to; nullopt: none were.
  std::optional<double> in_function{};
};

struct CrossCheck {
  CrossCheckPlan plan;
  arch::Arch arch = arch::Arch::X86_64;
  std::optional<CrossMeasured> foreign;  ///< nullopt: not measured.
  std::optional<CrossMeasured> ours;
  bool agrees = false;
  /// The negative control: both see what the slowed kernel costs. Where each call has something
  /// added, the profile of either has it in its function, of half a call or more in each operation
  /// of the tool, on average, and to the instruction for ours, and the whole operation costs that
  /// more, within the bound. Where no call has, slowed and a are equivalent for both. nullopt: no
  /// slowed kernel was booted.
  std::optional<bool> seen{};

  [[nodiscard]] bool good() const { return agrees && seen.value_or(true); }
};

/// What this run was compared with.
struct BaselineUse {
  std::string file;
  std::string date;
  std::vector<std::string> waived;      ///< Differences that were allowed, one sentence each.
  std::vector<std::string> only_there;  ///< Metrics.
  std::vector<std::string> only_here;
};

/// Boots of a kernel.
struct Completeness {
  arch::Arch arch = arch::Arch::X86_64;
  Side side = Side::A;
  std::uint64_t boots = 0;
  std::uint64_t wanted = 0;
};

/// Of all metrics, by their verdict on the cost.
struct Counts {
  std::uint64_t equivalent = 0;
  std::uint64_t slower = 0;
  std::uint64_t faster = 0;
  std::uint64_t undecided = 0;

  [[nodiscard]] std::uint64_t all() const { return equivalent + slower + faster + undecided; }
};

/// What makes the program exit with 1 beside a void run and a control that failed. Slower than a
/// baseline always does.
enum class FailOn : std::uint8_t { Nothing, Slower, Any };
[[nodiscard]] const char* name_of(FailOn fail_on);

struct Report {
  Context context;
  Bounds bounds;
  FailOn fail_on = FailOn::Nothing;
  std::vector<Boot> boots;      ///< As measured, without their profiles.
  std::vector<Metric> metrics;  ///< By architecture, then in the order of the experiments.
  std::vector<Metric> foreign;  ///< Of tools that nobody here wrote: for the cross-checks only.
  std::vector<Missing> missing;
  std::vector<ProfileDifference> profiles;
  std::optional<Sensitivity> sensitivity;
  std::optional<Repeats> repeats;
  std::vector<CrossCheck> cross_checks;
  std::vector<RunCounter> counters;  ///< Of time.
  std::optional<Watched> watched;
  std::optional<BaselineUse> baseline;
  bool interrupted = false;
  std::vector<Completeness> complete;
  std::vector<std::string> failures;
  /// Why the run is void, one line each; empty: it is not. No verdict of a void run counts.
  std::vector<std::string> void_because;
  Counts counts;
  std::string conclusion;  ///< One line.
  ExitCode exit_code = ExitCode::AsExpected;
};

/// "0.5 % of a's median or 20 instructions, whichever is larger", by what `lane` measures.
[[nodiscard]] std::string text_of(const Bounds& bounds, Lane lane);

/// What a reader must not take the figures for: "instructions, counted exactly; hardware latency
/// was not measured here". The latter of everything but a pinned vCPU of KVM on a host that shows
/// no sign of being virtual.
[[nodiscard]] std::string text_of_lane(const Context& context);
inline constexpr const char* kNoLatency = "hardware latency was not measured here";

/// Why the slowed kernel, which --full and --cross-check ask for, is no control of this run: a
/// sentence. Empty: it is one, or it was not asked for.
[[nodiscard]] std::string slowed_left_out(const Report& report);

/// The worst first: slower, undecided, faster, equivalent; of one verdict the largest shift first,
/// in parts of its bound.
[[nodiscard]] std::vector<const Metric*> worst_first(const std::vector<Metric>& metrics);

/// By how many instructions of one operation the other side has more than a, on average.
[[nodiscard]] double mean_difference(const ProfileDifference& profile);
/// Profiles of a against `with` in which a symbol differs, the largest difference in all first.
[[nodiscard]] std::vector<const ProfileDifference*> largest_first(
    const std::vector<ProfileDifference>& profiles, Side with);

}  // namespace sealvisor::bench
