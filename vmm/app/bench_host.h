// The host that a benchmark runs on: what it is, whether it is real, and which of its CPUs runs the
// guests.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/samples.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

/// Model of the CPU numbered `cpu`, or of the first one, by the text of /proc/cpuinfo. x86: its
/// name. arm64, where it has none: `board`, then the fields that tell models apart ("implementer
/// 0x41, part 0xd0b, ..."). "unknown": the text has neither.
[[nodiscard]] std::string cpu_model_of(std::string_view cpuinfo, std::optional<unsigned> cpu,
                                       std::string_view board);

/// What may show that a host is itself a virtual machine.
struct VirtualSigns {
  bool cpu_flag = false;           ///< x86: "hypervisor" among the CPU's flags.
  std::string signature{};         ///< x86: CPUID leaf 0x40000000, 12 characters; empty: not asked.
  std::string hypervisor_type{};   ///< /sys/hypervisor/type.
  std::vector<std::string> dmi{};  ///< Vendors and products of /sys/class/dmi/id.
  std::vector<std::string> tree{};  ///< Device tree: `compatible` of the root and of /hypervisor.
  bool fw_cfg = false;              ///< Device tree: QEMU's configuration device.
};
/// What they show, for people: "QEMU's TCG, an emulated CPU". Empty: nothing. A virtual machine
/// that hides is not found.
[[nodiscard]] std::string virtual_host_of(const VirtualSigns& signs);
/// Those of this host. `root`: "/", or a copy of its files.
[[nodiscard]] VirtualSigns gather_virtual_signs(const std::filesystem::path& root = "/");

/// The CPU that is to run the vCPUs: `asked`, or else the last one that is isolated from the
/// scheduler, or else the last one of `allowed`: the first ones serve most interrupts.
/// Precondition: `allowed` is not empty.
[[nodiscard]] unsigned choose_cpu(std::optional<unsigned> asked, std::span<const unsigned> isolated,
                                  std::span<const unsigned> allowed);
/// What is known of a CPU, from files below `sys`.
[[nodiscard]] bench::PinnedCpu describe_cpu(unsigned cpu,
                                            const std::filesystem::path& sys = "/sys");

/// Chooses a CPU of this host and tries to bind a thread to it. Error (HostLacks): it can't be, and
/// what to do.
[[nodiscard]] Result<bench::PinnedCpu> pin_on_this_host(std::optional<unsigned> asked);

/// Fills in what `context` says of this host; `context.pinned` has been chosen.
void describe_host(bench::Context& context);

}  // namespace sealvisor::app
