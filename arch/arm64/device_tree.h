// The flattened device tree (FDT) that tells an arm64 kernel what machine it runs on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "arch/boot_plan.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::arm64 {

/// Guest-physical place of a device's registers.
struct DeviceRange {
  Gpa gpa{};
  std::uint64_t bytes = 0;
};

enum class GicVersion : std::uint8_t { V2 = 2, V3 = 3 };

/// What the machine has besides RAM and its one CPU. The doorbell is not here: the kernel must not
/// know of it. Precondition: the ranges overlap neither RAM nor each other.
struct MachineFacts {
  GicVersion gic = GicVersion::V3;
  DeviceRange distributor{};
  DeviceRange redistributor{};  ///< GICv3 only.
  DeviceRange cpu_interface{};  ///< GICv2 only.
  DeviceRange uart{};           ///< A PL011.
  std::uint32_t uart_spi = 0;   ///< SPI number, 0..987: the GIC's interrupt id less 32.
  std::uint32_t uart_clock_hz = 24'000'000;
};

/// What the kernel mixes into its randomness. Without them it has none of ours, and two runs are
/// alike.
struct Seeds {
  std::vector<std::byte> rng{};          ///< /chosen rng-seed; empty: no such property.
  std::optional<std::uint64_t> kaslr{};  ///< /chosen kaslr-seed.
};

struct TreeFacts {
  RamLayout ram{};
  MachineFacts machine{};
  std::string_view command_line{};  ///< Without a NUL byte.
  Gpa initramfs{};
  std::uint64_t initramfs_bytes = 0;  ///< 0: there is none.
  Seeds seeds{};
};

/// Most bytes that a kernel takes: Documentation/arch/arm64/booting.rst, "Setup the device tree";
/// MAX_FDT_SIZE of arch/arm64/include/asm/boot.h.
inline constexpr std::size_t kMaxTreeBytes = std::size_t{2} << 20;

/// The tree as bytes, as long as it is. Errors (exit code Usage): larger than kMaxTreeBytes.
///
/// Bindings, in Documentation/devicetree/bindings: arm/cpus.yaml, arm/psci.yaml,
/// timer/arm,arch_timer.yaml, interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml,
/// serial/pl011.yaml, clock/fixed-clock.yaml; /chosen and /memory: Devicetree Specification 0.4,
/// chapter 3, and the schema of /chosen for the seeds and linux,initrd-*.
[[nodiscard]] Result<std::vector<std::byte>> make_device_tree(const TreeFacts& facts);

}  // namespace sealvisor::arch::arm64
