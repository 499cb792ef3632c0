// Where the program finds what it needs besides itself: in a build directory, or installed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

struct Places {
  std::filesystem::path share;  ///< Holds guest/kernel and docs: a source tree, or share/sealvisor.
  std::filesystem::path agents;     ///< Holds a folder of guest programs for each architecture.
  std::filesystem::path plugin;     ///< The monitor that QEMU loads.
  std::filesystem::path counter{};  ///< The counting plugin, for benchmarks.
  /// Finished kernels, a folder RECIPE/ARCH each, instead of what the script finds. Empty: none.
  std::filesystem::path kernels{};
  bool installed = false;  ///< False: in a build directory. Tells what to do about what is missing.

  [[nodiscard]] std::filesystem::path kernel_script() const { return share / "guest/kernel/build"; }
  [[nodiscard]] std::filesystem::path tools_script() const { return share / "guest/tools/fetch"; }
  [[nodiscard]] std::filesystem::path real_script() const { return share / "guest/real/fetch"; }
  [[nodiscard]] std::filesystem::path known_findings() const {
    return share / "docs/known-findings.json";
  }
  [[nodiscard]] std::filesystem::path agent_dir(arch::Arch arch) const {
    return agents / arch::name_of(arch);
  }
  /// The static program for emulated hosts (tests/nested/build-program).
  [[nodiscard]] std::filesystem::path nested_program(arch::Arch arch) const {
    return agents.parent_path() / "nested" / arch::name_of(arch) / "sealvisor";
  }
};

/// What the answer depends on.
struct PlacesInput {
  std::filesystem::path executable;           ///< Absolute, links resolved.
  std::optional<std::string> share_override;  ///< Environment variable SEALVISOR_SHARE.
  std::filesystem::path source_dir;           ///< The source tree that this was built from.
  std::string library_dir = "lib";  ///< Where the install puts libraries, below the prefix.
  std::optional<std::string> kernels = std::nullopt;  ///< Environment variable SEALVISOR_KERNELS.
};

/// The share folder is the first of: the override, <prefix>/share/sealvisor, the source tree. Guest
/// programs and plugin are in <prefix>/<library_dir>/sealvisor if the plugin is there, else beside
/// the executable. Errors (HostLacks) name the folder that lacks guest/kernel/build.
[[nodiscard]] Result<Places> find_places(const PlacesInput& input);

/// The same for the running program.
[[nodiscard]] Result<Places> find_places();

}  // namespace sealvisor::app
