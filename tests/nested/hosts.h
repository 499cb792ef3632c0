// Emulated hosts for tests: plans for `verify` in them, and how they went.
#pragma once

#include <filesystem>
#include <string>

#include "arch/arch.h"
#include "vmm/app/options.h"
#include "vmm/base/result.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::test {

inline constexpr arch::Arch kX86 = arch::Arch::X86_64;
inline constexpr arch::Arch kArm = arch::Arch::Arm64;

/// Folder of a finished kernel. Errors: as app::kernel_dir().
[[nodiscard]] Result<std::filesystem::path> kernel_folder(const std::string& recipe,
                                                          arch::Arch arch);

/// What `verify` with `options`, of one architecture, needs in its host. Files come to nested-out/
/// `out` of the build, which is emptied. A failed test, and a plan for nothing, without it.
[[nodiscard]] engine::nested::HostPlan verify_plan(const app::VerifyOptions& options,
                                                   const std::string& out);

struct Ran {
  engine::nested::HostOutcome outcome;
  std::string console;
};

/// Boots and runs to the end. A failed test, with the console, where it did not get there.
[[nodiscard]] Ran run(engine::nested::HostPlan plan);

}  // namespace sealvisor::test
