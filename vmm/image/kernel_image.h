// Recognising a kernel image before an engine boots it, so that a bad one is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::image {

enum class KernelFormat : std::uint8_t {
  PvhElf,      ///< x86-64 ELF vmlinux with a PVH entry note.
  BzImage,     ///< x86-64 bzImage, boot protocol 2.12 or newer.
  Arm64Image,  ///< arm64 Image, little-endian, 4 KiB pages.
};
/// "PVH vmlinux", "bzImage", "arm64 Image".
[[nodiscard]] const char* name_of(KernelFormat format);

struct KernelImage {
  arch::Arch arch{};
  KernelFormat format{};
  /// Bytes of guest memory that the loaded image takes, as far as its headers say; 0: they don't.
  std::uint64_t loaded_bytes = 0;
};

/// Reads the headers of `path` and checks that an engine can boot it. Errors (exit code Usage, the
/// path is named): unreadable, a directory or other non-file, empty, no kernel, truncated,
/// compressed or wrapped (with what to do), or of a kind that is not supported.
///
/// Sources: Documentation/arch/x86/boot.rst; Documentation/arch/arm64/booting.rst; the PVH note is
/// XEN_ELFNOTE_PHYS32_ENTRY of include/xen/interface/elfnote.h; EFI zboot is
/// drivers/firmware/efi/libstub/zboot-header.S.
[[nodiscard]] Result<KernelImage> probe_kernel(const std::filesystem::path& path);

/// The same, and refuses a kernel of another architecture, saying which one it is.
[[nodiscard]] Result<KernelImage> probe_kernel(const std::filesystem::path& path,
                                               arch::Arch expected);

}  // namespace sealvisor::image
