// Recognising a kernel image before an engine boots it, so that a bad one is refused by name, and
// unpacking it where the engine would not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "arch/arch.h"
#include "vmm/base/fd.h"
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

/// Most bytes that a packed image may unpack to: a vmlinux with its debugging information is half
/// of it.
inline constexpr std::uint64_t kMostUnpackedBytes = 1ULL << 30;

/// A kernel image as an engine takes it: the file itself or, of one that is packed, a copy in
/// memory that lives as long as this.
class KernelFile {
 public:
  [[nodiscard]] const KernelImage& image() const { return image_; }
  /// By which this process and its children can open it.
  [[nodiscard]] std::filesystem::path path() const;
  /// How it was packed, from outside in: "EFI zboot, gzip"; empty: it was not.
  [[nodiscard]] const std::string& packing() const { return packing_; }

 private:
  friend class KernelOpener;
  KernelFile() = default;

  KernelImage image_;
  std::filesystem::path file_;
  std::optional<Fd> unpacked_;
  std::string packing_;
};

/// What to do about the vmlinux inside a bzImage.
enum class BzImage : std::uint8_t {
  AsItIs,  ///< Its own start-up code unpacks it, in the guest.
  /// Where it has a PVH entry, that is what is opened: the start-up code of some hundred million
  /// instructions is left out, and with it what it alone does (5-level page tables).
  Inner,
};

/// Reads the headers of `path` and checks that an engine can boot it; an image that is compressed
/// (gzip, xz, lzma, zstd, lz4) or is an EFI zboot image is unpacked, in up to three layers. Errors
/// (exit code Usage, the path is named): unreadable, a directory or other non-file, empty, no
/// kernel, truncated, damaged, larger than kMostUnpackedBytes, of a kind that is not supported, for
/// another architecture than `expected`.
///
/// Sources: Documentation/arch/x86/boot.rst; Documentation/arch/arm64/booting.rst; the PVH note is
/// XEN_ELFNOTE_PHYS32_ENTRY of include/xen/interface/elfnote.h; EFI zboot is
/// drivers/firmware/efi/libstub/zboot-header.S.
[[nodiscard]] Result<KernelFile> open_kernel(const std::filesystem::path& path,
                                             std::optional<arch::Arch> expected = std::nullopt,
                                             BzImage bzimage = BzImage::AsItIs);

/// The image alone, for callers that do not boot it.
[[nodiscard]] Result<KernelImage> probe_kernel(const std::filesystem::path& path);

/// The same, and refuses a kernel of another architecture, saying which one it is.
[[nodiscard]] Result<KernelImage> probe_kernel(const std::filesystem::path& path,
                                               arch::Arch expected);

}  // namespace sealvisor::image
