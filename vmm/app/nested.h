// `verify --engine kvm-nested`: the kvm engine in a host that QEMU emulates.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::app {

/// What emulated hosts need besides QEMU and the guests. Errors (HostLacks) say what to do, in a
/// build directory or in an installed tree.
struct NestedParts {
  Status kernel;   ///< Of the recipe `host`.
  Status init;     ///< First process of the host.
  Status program;  ///< Our own, static.
};
/// `kernel_dir`: folder of a finished kernel, as VerifyTools has it.
[[nodiscard]] NestedParts nested_parts(
    const Places& places, arch::Arch arch,
    const std::function<Result<std::filesystem::path>(const std::string&, arch::Arch)>& kernel_dir);

/// The emulated host for the guests of `options` of one architecture, those of recipes or the one
/// of an image of the user's: its program is our own, static, called with the same options and
/// --engine kvm. The reports that it writes come back in `out`: report.json, and report.xml and
/// report.html if they are wanted. Errors (HostLacks) name what is not built, or (Usage) what is
/// wrong with that image.
[[nodiscard]] Result<engine::nested::HostPlan> nested_plan(const VerifyOptions& options,
                                                           arch::Arch arch, const Places& places,
                                                           const VerifyTools& tools,
                                                           const std::filesystem::path& out);

/// The whole command: one host for each architecture, one after the other; prints what they print.
/// Without an architecture: that of the user's image.
/// Returns the worst exit code.
[[nodiscard]] int verify_nested(const VerifyOptions& options);

}  // namespace sealvisor::app
