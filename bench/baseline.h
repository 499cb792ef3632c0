// A run that was saved, to compare later ones with. The file is the JSON report (bench/json.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/result.h"

namespace sealvisor::bench {

/// What has to be the same for two runs to be comparable.
enum class Same : std::uint8_t {
  Machine,   ///< Host CPU and its architecture; whether the host itself is virtual.
  Engine,    ///< Engine, its version, the guest's CPU model, lane, whether it was watched.
  Kernels,   ///< Recipes, images and configurations of a and b.
  Programs,  ///< The experiments.
};
[[nodiscard]] const char* name_of(Same what);
inline constexpr Same kAllSame[] = {Same::Machine, Same::Engine, Same::Kernels, Same::Programs};

struct BaselineMetric {
  arch::Arch arch = arch::Arch::X86_64;
  std::string experiment;
  Measure measure = Measure::Total;
  std::vector<LayoutValue> a;
  std::vector<LayoutValue> b;
};

struct Baseline {
  std::string file;  ///< Where it was read from.
  Context context;   ///< Without seeds and tools.
  std::vector<BaselineMetric> metrics;
};

/// Reads what --save or --json wrote. Errors (Usage) name `file`: no JSON, none of ours, of another
/// version, of a void or an interrupted run.
[[nodiscard]] Result<Baseline> parse_baseline(std::string_view text, const std::string& file);

struct Unlike {
  Same what = Same::Machine;
  std::string text;  ///< "the host's CPU is 'X', in the baseline 'Y'".
};
/// What of `now` is not as it was in `then`. An architecture that only `then` has is none; one that
/// only `now` has differs in its kernels.
[[nodiscard]] std::vector<Unlike> differences(const Context& now, const Context& then);

/// Error (Usage): something differs and is not in `may_differ`; the message says everything that
/// does. Else what differs and may. For use before guests run: conclude() asks again.
[[nodiscard]] Result<std::vector<std::string>> check_baseline(const Context& now,
                                                              const Baseline& baseline,
                                                              const std::vector<Same>& may_differ);

}  // namespace sealvisor::bench
