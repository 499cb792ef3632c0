// One guest that runs experiments, from its kernel to its samples.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "bench/plan.h"
#include "bench/samples.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"

namespace sealvisor::bench {

/// SymbolCount::symbol of code that no symbol holds.
inline constexpr const char* kNoSymbol = "(other)";

/// Programs of the guest, as guest/CMakeLists.txt names them: process 1, then what experiments
/// exec.
inline constexpr const char* kGuestPrograms[] = {"bench",      "bench-static", "bench-dynamic",
                                                 "bench-bare", "bench-compat", "bench-bare-compat",
                                                 "loader"};

struct BootRequest {
  arch::Arch arch{};
  engine::Kind engine = engine::Kind::Tcg;
  std::filesystem::path kernel_image;
  std::filesystem::path symbols;    ///< vmlinux, with a symbol table.
  std::filesystem::path guest_dir;  ///< Holds bench and what it execs.
  std::filesystem::path plugin;     ///< tcg: the counting plugin.
  /// Holds what else is in the guest's file system, from its root on; empty: nothing is.
  std::filesystem::path tools;
  std::uint64_t seed = 1;  ///< Decides the layout.
  std::vector<PlanItem> plan;
  bool profiling = false;           ///< tcg: Measured::profile is wanted.
  bool watched = false;             ///< kvm: with interception of table writes on.
  std::optional<unsigned> pin_cpu;  ///< kvm: EngineConfig::pin_cpu.
  std::chrono::seconds deadline{300};
  std::uint64_t memory_bytes = 512ULL << 20;
  /// Called when experiment number `ended` of the plan has ended; may be empty.
  std::function<void(std::size_t ended)> progress;
};

struct BootResult {
  Boot boot;          ///< Its side is the caller's to say.
  bool good = false;  ///< All experiments of the plan came, and the guest ended as it should.
  bool interrupted = false;
  std::string ending;  ///< For people.
  std::string release;
  std::string engine_version;  ///< "QEMU 10.0.2".
  std::string cpu_model;
  std::string how;     ///< What intercepted, where anything did: "audited: traps at ...".
  double seconds = 0;  ///< Wall time, for progress only.
  /// What the guest's own programs said went wrong, for people.
  std::vector<std::string> said;
};

/// How far a kernel lies from where it was linked to be, by where it says that its `_text` is.
/// Error (GuestFailed): no kernel can lie there; by such a number each of its instructions would be
/// of another function, or of none.
[[nodiscard]] Result<std::uint64_t> slide_of(std::uint64_t text, std::uint64_t linked);

/// Runs it. An Error means that no guest ran; of one that failed there is what came before.
[[nodiscard]] Result<BootResult> run_boot(const BootRequest& request);

}  // namespace sealvisor::bench
