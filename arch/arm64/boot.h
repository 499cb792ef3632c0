// Direct boot of an arm64 Image: where it, the initramfs and the device tree go, and the registers
// of the first instruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/arm64/device_tree.h"
#include "arch/boot_plan.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::arm64 {

/// Bytes in the header of an Image.
inline constexpr std::size_t kImageHeaderBytes = 64;
/// Bytes in the longest command line with its NUL: COMMAND_LINE_SIZE of
/// arch/arm64/include/uapi/asm/setup.h.
inline constexpr std::size_t kCommandLineBytes = 2048;

/// Header of an Image: Documentation/arch/arm64/booting.rst, "Call the kernel image".
struct ImageHeader {
  std::uint64_t text_offset = 0;  ///< Bytes from a 2 MiB boundary to the image.
  std::uint64_t image_size = 0;   ///< Bytes of memory from the image's start, bss included.
  std::uint64_t flags = 0;
};

/// Reads the first bytes of the file, kImageHeaderBytes or more. Errors (exit code Usage): shorter,
/// no magic, big-endian, pages other than 4 KiB, no image_size (Linux before 3.17).
[[nodiscard]] Result<ImageHeader> parse_image_header(std::span<const std::byte> start);

struct BootInput {
  std::span<const std::byte> header{};  ///< The first kImageHeaderBytes of the kernel's file.
  std::uint64_t kernel_bytes = 0;       ///< Size of that file.
  std::uint64_t initramfs_bytes = 0;    ///< 0: no initramfs.
  std::string_view command_line{};
  RamLayout ram{};
  MachineFacts machine{};
  Seeds seeds{};
};

/// Registers of the first instruction. x1, x2 and x3 are 0, and so is SCTLR_EL1.M (MMU off): KVM's
/// reset leaves them so.
struct FirstRegisters {
  std::uint64_t pc = 0;
  std::uint64_t x0 = 0;  ///< gpa of the device tree.
  std::uint64_t pstate = 0;

  friend bool operator==(const FirstRegisters&, const FirstRegisters&) = default;
};

struct Boot {
  BootPlan plan{};
  FirstRegisters registers{};
};

/// From low to high: the image at text_offset of the first 2 MiB boundary of RAM, the initramfs at
/// the next page, the device tree at the next 2 MiB boundary, in a 2 MiB piece of its own
/// (booting.rst, "Setup the device tree": it is mapped by such blocks).
///
/// Errors, exit code Usage, each naming what does not fit: parse_image_header's; RAM that is empty
/// or ends past 48 bits; a kernel larger than memory; an initramfs that does not fit behind it, or
/// that is not within 32 GiB of it (booting.rst, "Call the kernel image"); a device tree that does
/// not fit behind both; a command line that is too long or holds a NUL byte; a device tree over
/// 2 MiB.
[[nodiscard]] Result<Boot> plan_boot(const BootInput& input);

}  // namespace sealvisor::arch::arm64
