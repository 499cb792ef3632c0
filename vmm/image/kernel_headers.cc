#include "vmm/image/kernel_headers.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <gelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/image/elf_handle.h"

namespace sealvisor::image {

namespace {

using namespace std::string_view_literals;

/// Whether a file of `size` bytes has that part.
bool lies_in(std::uint64_t offset, std::uint64_t bytes, std::uint64_t size) {
  return offset <= size && bytes <= size - offset;
}

/// The first bytes at `offset`, as far as there are any.
Result<std::array<std::byte, 8>> bytes_at(const Candidate& file, std::uint64_t offset) {
  std::array<std::byte, 8> bytes{};
  for (std::size_t got = 0; got < bytes.size();) {
    const ssize_t count = ::pread(file.fd.get(), bytes.data() + got, bytes.size() - got,
                                  static_cast<off_t>(offset + got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(ExitCode::Usage, "reading kernel " + file.name);
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return bytes;
}

/// What Linux's build puts behind compressed bytes unless they are gzip's, which end with it
/// themselves: how many they unpack to (scripts/Makefile.lib, size_append).
constexpr std::uint64_t kSizeBytes = 4;

std::uint32_t size_in(const std::array<std::byte, 8>& bytes) {
  std::uint32_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  return size;
}

/// drivers/firmware/efi/libstub/zboot-header.S: offset and size of what is packed at 8 and 12, the
/// size without the four bytes behind it; the name of the method at 24.
Result<Packed> look_at_zboot(const Candidate& file) {
  const std::uint64_t offset = file.number<std::uint32_t>(8);
  const std::uint64_t bytes = file.number<std::uint32_t>(12);
  std::string method(file.head.data() + 24, 8);
  method.resize(std::min(method.find('\0'), method.size()));
  std::replace_if(
      method.begin(), method.end(), [](char c) { return c < 0x21 || c > 0x7e; }, '?');
  if (bytes == 0 || !lies_in(offset, bytes, file.size)) {
    return file.refuse(
        fmt::format("is an EFI zboot image that says that {} bytes at {} are packed, and has {}",
                    bytes, offset, file.size));
  }
  const auto start = bytes_at(file, offset);
  if (!start) return start.error();
  const auto compression = compression_of(start.value());
  if (!compression) {
    return file.refuse(fmt::format(
        "is an EFI zboot image compressed with {}, expected gzip, xz, lzma, zstd or lz4",
        method.empty() ? "nothing" : method));
  }
  Packed packed{fmt::format("EFI zboot, {}", name_of(*compression)), *compression, offset, bytes,
                std::nullopt};
  if (*compression != Compression::Gzip && lies_in(offset + bytes, kSizeBytes, file.size)) {
    const auto size = bytes_at(file, offset + bytes);
    if (!size) return size.error();
    packed.unpacked_bytes = size_in(size.value());
  }
  return packed;
}

/// Where the last section of the PE file that an Image with an EFI stub is ends in the file; 0: it
/// is none, or its headers lie past the first page (PE format, "COFF File Header", "Section
/// Table"; Linux, arch/arm64/kernel/efi-header.S).
std::uint64_t pe_extent(const Candidate& file) {
  if (!file.has(0, "MZ"sv)) return 0;
  const std::size_t pe = file.number<std::uint32_t>(0x3c);
  constexpr std::size_t kFileHeader = 24;
  constexpr std::size_t kSection = 40;
  if (pe > kHeadBytes - kFileHeader || !file.has(pe, "PE\0\0"sv)) return 0;
  const std::size_t sections = file.number<std::uint16_t>(pe + 6);
  const std::size_t table = pe + kFileHeader + file.number<std::uint16_t>(pe + 20);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < sections; ++i) {
    const std::size_t at = table + i * kSection;
    if (at > kHeadBytes - kSection) break;
    end = std::max(end, std::uint64_t{file.number<std::uint32_t>(at + 16)} +
                            file.number<std::uint32_t>(at + 20));
  }
  return end;
}

Result<KernelImage> probe_arm64_image(const Candidate& file) {
  // booting.rst, "Call the kernel image": text_offset at 8, image_size at 16, flags at 24.
  const auto text_offset = file.number<std::uint64_t>(8);
  const auto image_size = file.number<std::uint64_t>(16);
  const auto flags = file.number<std::uint64_t>(24);
  if ((flags & 1) != 0) return file.refuse("is a big-endian arm64 Image, which is not supported");
  if (image_size == 0) {
    return file.refuse("is an arm64 Image without image_size: Linux 3.17 or newer is needed");
  }
  // Flags bits 2:1: 0 unspecified, 1 4K, 2 16K, 3 64K.
  const auto page_size = (flags >> 1) & 3;
  if (page_size > 1) {
    return file.refuse(fmt::format("is an arm64 Image with {} pages, expected 4K",
                                   page_size == 2 ? "16K" : "64K"));
  }
  if (const std::uint64_t extent = pe_extent(file); file.size < extent) {
    return file.refuse(
        fmt::format("is truncated: {} bytes of an arm64 Image of {}", file.size, extent));
  }
  // image_size counts the bss too, which is not in the file: without an EFI stub a cut in the last
  // part does not show here, and the guest fails instead.
  if (file.size < image_size / 2) {
    return file.refuse(
        fmt::format("is truncated: {} bytes of an arm64 Image that takes {} in "
                    "memory",
                    file.size, image_size));
  }
  if (image_size > (std::uint64_t{1} << 40) || text_offset > (std::uint64_t{1} << 40)) {
    return file.refuse(
        fmt::format("is an arm64 Image with image_size {:#x} and text_offset {:#x}, "
                    "which can't be",
                    image_size, text_offset));
  }
  return KernelImage{arch::Arch::Arm64, KernelFormat::Arm64Image, text_offset + image_size};
}

/// The boot sector and the real-mode code behind it (boot.rst, setup_sects).
std::uint64_t bzimage_setup_bytes(const Candidate& file) {
  const auto stated = file.number<std::uint8_t>(0x1f1);
  return (std::uint64_t{stated == 0 ? std::uint8_t{4} : stated} + 1) * 512;
}

Result<KernelImage> probe_bzimage(const Candidate& file) {
  // boot.rst, "The Real-Mode Kernel Header".
  const auto version = file.number<std::uint16_t>(0x206);
  if (version < 0x20c) {
    return file.refuse(fmt::format("is a bzImage of boot protocol {}.{:02}, expected 2.12 or newer",
                                   version >> 8, version & 0xff));
  }
  if ((file.number<std::uint8_t>(0x211) & 1) == 0) {
    return file.refuse("is a zImage (loaded low), expected a bzImage");
  }
  const bool is_64_bit = (file.number<std::uint16_t>(0x236) & 1) != 0;  // XLF_KERNEL_64
  if (!is_64_bit) return file.refuse("is a 32-bit x86 bzImage, expected x86_64 or arm64");
  const std::uint64_t setup = bzimage_setup_bytes(file);
  // In 16-byte paragraphs, the last one filled up.
  const std::uint64_t rest = std::uint64_t{file.number<std::uint32_t>(0x1f4)} * 16;
  if (file.size + 15 < setup + rest) {
    return file.refuse(
        fmt::format("is truncated: {} bytes of a bzImage of {}", file.size, setup + rest));
  }
  return KernelImage{arch::Arch::X86_64, KernelFormat::BzImage,
                     file.number<std::uint32_t>(0x260)};  // init_size
}

/// Whether the notes of this segment hold the 32-bit PVH entry: name "Xen", type 18.
bool holds_pvh_note(Elf* elf, const GElf_Phdr& segment) {
  constexpr GElf_Word kPhys32Entry = 18;
  Elf_Data* data =
      elf_getdata_rawchunk(elf, static_cast<std::int64_t>(segment.p_offset), segment.p_filesz,
                           segment.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
  if (data == nullptr) return false;
  GElf_Nhdr note{};
  std::size_t name_offset = 0;
  std::size_t content_offset = 0;
  for (std::size_t offset = 0; offset < data->d_size;) {
    offset = gelf_getnote(data, offset, &note, &name_offset, &content_offset);
    if (offset == 0) return false;
    const std::string_view name(static_cast<const char*>(data->d_buf) + name_offset, note.n_namesz);
    if (name == "Xen\0"sv && note.n_type == kPhys32Entry) return true;
  }
  return false;
}

Result<KernelImage> probe_elf(const Candidate& file) {
  if (elf_version(EV_CURRENT) == EV_NONE) return file.refuse("libelf is of another version");
  const ElfHandle elf(elf_begin(file.fd.get(), ELF_C_READ, nullptr));
  GElf_Ehdr header{};
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF ||
      gelf_getehdr(elf.get(), &header) == nullptr) {
    return file.refuse("is an ELF file that is truncated or damaged");
  }
  if (header.e_machine == EM_AARCH64) {
    return file.refuse("is an arm64 ELF file; arm64 boots from arch/arm64/boot/Image");
  }
  if (header.e_machine != EM_X86_64 || gelf_getclass(elf.get()) != ELFCLASS64) {
    return file.refuse(
        fmt::format("is an ELF file for machine {}, expected a 64-bit one for "
                    "x86-64 ({})",
                    header.e_machine, EM_X86_64));
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
    return file.refuse("is an ELF object, not a linked kernel");
  }
  const std::uint64_t sections = std::uint64_t{header.e_shnum} * header.e_shentsize;
  bool truncated = header.e_shoff > file.size || file.size - header.e_shoff < sections;
  bool has_pvh = false;
  std::uint64_t lowest = ~std::uint64_t{0};
  std::uint64_t highest = 0;
  for (int i = 0; i < header.e_phnum && !truncated; ++i) {
    GElf_Phdr segment{};
    if (gelf_getphdr(elf.get(), i, &segment) == nullptr) {
      truncated = true;
      break;
    }
    truncated = segment.p_offset > file.size || file.size - segment.p_offset < segment.p_filesz;
    if (truncated) break;
    if (segment.p_type == PT_NOTE) has_pvh = has_pvh || holds_pvh_note(elf.get(), segment);
    if (segment.p_type == PT_LOAD && segment.p_memsz <= ~segment.p_paddr) {
      lowest = std::min(lowest, segment.p_paddr);
      highest = std::max(highest, segment.p_paddr + segment.p_memsz);
    }
  }
  if (truncated) {
    return file.refuse(
        fmt::format("is truncated: its ELF headers point past its {} bytes", file.size));
  }
  if (!has_pvh) {
    return file.refuse(
        "is an x86-64 ELF file without a PVH entry note; a kernel needs CONFIG_PVH "
        "for that, or give its bzImage");
  }
  return KernelImage{arch::Arch::X86_64, KernelFormat::PvhElf,
                     highest > lowest ? highest - lowest : 0};
}

}  // namespace

Result<Candidate> Candidate::read(std::string name, const Fd& fd) {
  Candidate file{std::move(name), fd, 0, {}};
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return errno_error(ExitCode::Usage, "kernel " + file.name);
  }
  if (S_ISDIR(status.st_mode)) return file.refuse("is a directory, expected a kernel image");
  if (!S_ISREG(status.st_mode)) return file.refuse("is not a regular file");
  if (status.st_size == 0) return file.refuse("is empty");
  file.size = static_cast<std::uint64_t>(status.st_size);
  std::size_t got = 0;
  while (got < std::min<std::uint64_t>(file.size, kHeadBytes)) {
    const ssize_t count =
        ::pread(fd.get(), file.head.data() + got, kHeadBytes - got, static_cast<off_t>(got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(ExitCode::Usage, "reading kernel " + file.name);
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return file;
}

Result<std::variant<KernelImage, Packed>> look_at(const Candidate& file) {
  using Seen = std::variant<KernelImage, Packed>;
  const auto image = [](Result<KernelImage> probed) -> Result<Seen> {
    if (!probed) return probed.error();
    return Seen(probed.value());
  };
  if (file.has(0,
               "\x7f"
               "ELF"sv)) {
    return image(probe_elf(file));
  }
  // An x86 kernel with an EFI stub starts with "MZ" too, so its own magic is looked at first.
  if (file.has(0x202, "HdrS"sv)) return image(probe_bzimage(file));
  if (file.has(0x38, "ARM\x64"sv)) return image(probe_arm64_image(file));
  if (file.has(0, "MZ\0\0zimg"sv)) {
    auto packed = look_at_zboot(file);
    if (!packed) return packed.error();
    return Seen(std::move(packed).value());
  }
  if (const auto compression = compression_of(std::as_bytes(std::span(file.head)))) {
    return Seen(Packed{name_of(*compression), *compression, 0, file.size, std::nullopt});
  }
  if (file.has(0, "BZh"sv)) {
    return file.refuse(
        "is compressed with bzip2, expected gzip, xz, lzma, zstd or lz4; unpack it "
        "first (bunzip2)");
  }
  if (file.has(0, "MZ"sv)) return file.refuse("is an EFI program, not a kernel image");
  return file.refuse(
      "is not a kernel image; expected an x86-64 vmlinux with a PVH note, an x86-64 bzImage, an "
      "arm64 Image, or one of them compressed");
}

Result<std::optional<Packed>> payload_of(const Candidate& file) {
  const std::uint64_t setup = bzimage_setup_bytes(file);
  const std::uint64_t offset = file.number<std::uint32_t>(0x248);
  const std::uint64_t bytes = file.number<std::uint32_t>(0x24c);
  if (bytes == 0) return std::optional<Packed>();
  if (!lies_in(setup + offset, bytes, file.size)) {
    return file.refuse(
        fmt::format("is a bzImage that says that {} bytes at {} are its payload, and "
                    "has {}",
                    bytes, setup + offset, file.size));
  }
  const auto start = bytes_at(file, setup + offset);
  if (!start) return start.error();
  const auto compression = compression_of(start.value());
  if (!compression) return std::optional<Packed>();
  Packed packed{fmt::format("bzImage, {}", name_of(*compression)), *compression, setup + offset,
                bytes, std::nullopt};
  if (*compression != Compression::Gzip && bytes > kSizeBytes) {
    packed.bytes -= kSizeBytes;
    const auto size = bytes_at(file, packed.offset + packed.bytes);
    if (!size) return size.error();
    packed.unpacked_bytes = size_in(size.value());
  }
  return std::optional(std::move(packed));
}

}  // namespace sealvisor::image
