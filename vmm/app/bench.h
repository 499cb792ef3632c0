// `sealvisor bench`: boots guests that measure, and says what sealing costs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "bench/campaign.h"
#include "bench/experiment.h"
#include "bench/samples.h"
#include "vmm/app/options.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

/// Experiments of `arch` that `options` asks for: without filters those of the mode. Errors
/// (Usage): a filter (fnmatch(3)) that names none on any architecture.
[[nodiscard]] Result<std::vector<const bench::Experiment*>> choose_experiments(
    const BenchOptions& options, arch::Arch arch);

/// Layouts of each kernel, if the options have no number: what a 95 % interval takes, and what the
/// method asks for.
[[nodiscard]] std::uint32_t layouts_of(const BenchOptions& options);

/// The recipe that a side of the comparison boots.
[[nodiscard]] std::string recipe_of(const BenchOptions& options, bench::Side side);

/// Whether the slowed kernel is measured too: it is made of lts-unsealed, and takes as long as the
/// others. It is the negative control of cross-checks as well.
[[nodiscard]] bool is_sensitive(const BenchOptions& options);

/// Exit code (README). `command`: what was typed, for the report.
[[nodiscard]] int bench(const BenchOptions& options, const std::string& command);

}  // namespace sealvisor::app
