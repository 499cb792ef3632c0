// `verify --engine kvm-nested`: the kvm engine in a host that QEMU emulates.
#pragma once

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::app {

/// The emulated host for the guests of `options` of one architecture: its program is our own,
/// static, called with the same options and --engine kvm. The report that it writes comes back as
/// report.json in `out`. Errors (HostLacks) name what is not built.
[[nodiscard]] Result<engine::nested::HostPlan> nested_plan(const VerifyOptions& options,
                                                           arch::Arch arch, const Places& places,
                                                           const VerifyTools& tools,
                                                           const std::filesystem::path& out);

/// The whole command: one host for each architecture, one after the other; prints what they print.
/// Returns the worst exit code.
[[nodiscard]] int verify_nested(const VerifyOptions& options);

}  // namespace sealvisor::app
