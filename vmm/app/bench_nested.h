// `bench --engine kvm-nested`: the kvm lane of the benchmark in a host that QEMU emulates. Its
// times are none of hardware; it shows that the lane works.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "vmm/app/nested.h"
#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::app {

/// The options again, as words for the program in the host: --engine kvm, and its files in /out.
[[nodiscard]] std::vector<std::string> nested_words(const BenchOptions& options, arch::Arch arch);

/// The emulated host for the guests of one architecture, with all their kernels. Errors (HostLacks)
/// name what is not built, or (Usage) a baseline that is not there.
[[nodiscard]] Result<engine::nested::HostPlan> nested_plan(const BenchOptions& options,
                                                           arch::Arch arch, const Places& places,
                                                           const KernelDir& kernel_dir,
                                                           const std::filesystem::path& out);

/// The whole command: one host for each architecture, one after the other; prints what they print.
/// Returns the worst exit code.
[[nodiscard]] int bench_nested(const BenchOptions& options);

}  // namespace sealvisor::app
