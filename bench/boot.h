// One guest that runs experiments, from its kernel to its samples.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "bench/collector.h"
#include "bench/samples.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"

namespace sealvisor::bench {

struct BootRequest {
  arch::Arch arch{};
  engine::Kind engine = engine::Kind::Tcg;
  std::filesystem::path kernel_image;
  std::filesystem::path symbols;    ///< vmlinux, with a symbol table.
  std::filesystem::path guest_dir;  ///< Holds bench and what it execs.
  std::filesystem::path plugin;     ///< tcg: the counting plugin.
  std::uint64_t seed = 1;           ///< Decides the layout.
  std::vector<PlanItem> plan;
  bool profiling = false;  ///< tcg: ExperimentRun::profile is wanted.
  std::chrono::seconds deadline{300};
  std::uint64_t memory_bytes = 512ULL << 20;
  /// Called when experiment number `ended` of the plan has ended; may be empty.
  std::function<void(std::size_t ended)> progress;
};

/// Runs it. An Error means that no guest ran; one that failed is a Boot whose `good` is false, with
/// what came before.
[[nodiscard]] Result<Boot> run_boot(const BootRequest& request);

}  // namespace sealvisor::bench
