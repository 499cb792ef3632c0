#include "arch/x86_64/boot.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "arch/address.h"
#include "arch/x86_64/bits.h"

namespace sealvisor::arch::x86_64 {

namespace {

/// Offsets of the setup header's fields in a bzImage and in the zero page: boot.rst, "The Real-Mode
/// Kernel Header"; zero-page.rst for the rest.
namespace field {
inline constexpr std::size_t kE820Entries = 0x1e8;
inline constexpr std::size_t kSetupSects = 0x1f1;
inline constexpr std::size_t kSysSize = 0x1f4;
inline constexpr std::size_t kVidMode = 0x1fa;
inline constexpr std::size_t kJumpTarget = 0x201;
inline constexpr std::size_t kMagic = 0x202;
inline constexpr std::size_t kVersion = 0x206;
inline constexpr std::size_t kTypeOfLoader = 0x210;
inline constexpr std::size_t kLoadFlags = 0x211;
inline constexpr std::size_t kCode32Start = 0x214;
inline constexpr std::size_t kRamdiskImage = 0x218;
inline constexpr std::size_t kRamdiskSize = 0x21c;
inline constexpr std::size_t kCommandLine = 0x228;
inline constexpr std::size_t kInitrdAddrMax = 0x22c;
inline constexpr std::size_t kXLoadFlags = 0x236;
inline constexpr std::size_t kCommandLineSize = 0x238;
inline constexpr std::size_t kPrefAddress = 0x258;
inline constexpr std::size_t kInitSize = 0x260;
/// Room for the header in the zero page ends here.
inline constexpr std::size_t kHeaderEnd = 0x290;
inline constexpr std::size_t kE820Table = 0x2d0;
}  // namespace field

constexpr std::uint32_t kHdrS = 0x53726448;
constexpr std::uint16_t kLeastVersion = 0x20c;
constexpr std::uint8_t kLoadedHigh = 1 << 0;   // LOADED_HIGH
constexpr std::uint16_t kKernel64 = 1 << 0;    // XLF_KERNEL_64
constexpr std::uint8_t kUnknownLoader = 0xff;  // type_of_loader: no number assigned
constexpr std::uint16_t kNormalVideo = 0xffff;
constexpr std::uint64_t kEntry64 = 0x200;  // "start address of loaded 64-bit kernel plus 0x200"

/// COMMAND_LINE_SIZE, NUL included, which a vmlinux does not state.
constexpr std::uint64_t kCommandLineBytes = 2048;
/// What lies between kCommandLineGpa and the next thing.
constexpr std::uint64_t kCommandLineRoom = 0x10000;

constexpr std::uint32_t kE820Ram = 1;  // and XEN_HVM_MEMMAP_TYPE_RAM
constexpr std::uint32_t kStartMagic = 0x336ec578;
constexpr std::uint32_t kPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY

constexpr std::size_t kMostProgramHeaders = 64;
constexpr std::uint64_t kMostNoteBytes = std::uint64_t{64} << 10;

// Registers: SDM 3A 2.5, 2.2.1. CR0.ET reads as 1 always.
constexpr std::uint64_t kCr0Protected = (1ULL << 0) | (1ULL << 4);
constexpr std::uint64_t kEferLongModeEnable = 1ULL << 8;

/// A span of memory, in bytes.
struct Extent {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};

template <typename Number>
Number get(std::span<const std::byte> bytes, std::size_t offset) {
  Number value{};
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

template <typename Number>
void put(std::vector<std::byte>& bytes, std::size_t offset, Number value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

Error refuse(std::string message) { return Error{ExitCode::Usage, std::move(message)}; }

std::uint64_t ram_end(const RamLayout& ram) { return ram.base.value + ram.bytes; }

Status check_ram(const RamLayout& ram) {
  if (ram.base.value == 0 && ram.bytes >= kLeastRamBytes && ram.bytes <= kMostRamBytes &&
      ram.bytes % kPageSize == 0) {
    return {};
  }
  return refuse(
      fmt::format("guest memory of {} bytes at {:#x}: expected whole pages at 0, {} to {} bytes",
                  ram.bytes, ram.base.value, kLeastRamBytes, kMostRamBytes));
}

/// Reads `bytes` at `offset`, if the file has so many.
Result<std::vector<std::byte>> read_exactly(const BootInput& input, std::uint64_t offset,
                                            std::uint64_t bytes, const char* what) {
  if (offset > input.kernel_bytes || input.kernel_bytes - offset < bytes) {
    return refuse(
        fmt::format("kernel is truncated: its {} of {} bytes at offset {} lies past its {} bytes",
                    what, bytes, offset, input.kernel_bytes));
  }
  std::vector<std::byte> content(bytes);
  if (content.empty()) return content;
  if (auto read = input.read(offset, content); !read) return read.error();
  return content;
}

Status check_kernel_fits(std::uint64_t end, const RamLayout& ram) {
  if (end <= ram_end(ram)) return {};
  return refuse(fmt::format("kernel needs guest memory up to {:#x}, there are {} bytes ({:#x})",
                            end, ram.bytes, ram.bytes));
}

/// The command line with its NUL. `most` counts the NUL.
Result<DataPiece> command_line_piece(std::string_view line, std::uint64_t most) {
  most = std::min(most, kCommandLineRoom);
  if (line.size() >= most) {
    return refuse(fmt::format("kernel command line has {} bytes, the kernel takes {}", line.size(),
                              most - 1));
  }
  if (const auto at = line.find('\0'); at != std::string_view::npos) {
    return refuse(fmt::format("kernel command line has a NUL byte at {}", at));
  }
  DataPiece piece{kCommandLineGpa, std::vector<std::byte>(line.size() + 1), "command line"};
  std::ranges::copy(std::as_bytes(std::span(line)), piece.bytes.begin());
  return piece;
}

/// At the end of RAM, but not past `limit`, and not before `kernel_end`.
Result<FilePiece> place_initramfs(const BootInput& input, std::uint64_t kernel_end,
                                  std::uint64_t limit) {
  const std::uint64_t size = input.initramfs_bytes;
  if (size == 0) return FilePiece{};
  const std::uint64_t end = std::min(ram_end(input.ram), limit);
  const std::uint64_t start = size <= end ? (end - size) / kPageSize * kPageSize : 0;
  if (size > end || start < kernel_end) {
    return refuse(
        fmt::format("initramfs of {} bytes does not fit: the kernel ends at {:#x}, usable "
                    "memory at {:#x}",
                    size, kernel_end, end));
  }
  return FilePiece{Gpa{start}, 0, size, size, "initramfs"};
}

std::array<Extent, 2> memory_map(const RamLayout& ram) {
  return {Extent{0, kLowRamEnd}, Extent{kHighRamStart, ram_end(ram)}};
}

Segment flat(std::uint16_t selector, std::uint8_t type) {
  Segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.code_or_data = true;
  segment.present = true;
  segment.page_granular = true;
  return segment;
}

/// Registers that both entries share, and the GDT with the same segments.
void set_segments(Boot& boot, bool long_mode) {
  constexpr std::uint8_t kExecuteReadAccessed = 11;
  constexpr std::uint8_t kReadWriteAccessed = 3;
  constexpr std::uint8_t kBusyTask = 11;
  FirstRegisters& registers = boot.registers;
  registers.code = flat(kCodeSelector, kExecuteReadAccessed);
  registers.code.long_mode = long_mode;
  registers.code.default_32_bit = !long_mode;
  registers.data = flat(kDataSelector, kReadWriteAccessed);
  registers.data.default_32_bit = true;
  registers.task.limit = 0x67;
  registers.task.selector = kTaskSelector;
  registers.task.type = kBusyTask;
  registers.task.present = true;

  // The TSS descriptor of 64-bit mode takes two slots; the upper half is its base, 0.
  DataPiece gdt{kGdtGpa, std::vector<std::byte>(std::size_t{kTaskSelector} + 16), "GDT"};
  put(gdt.bytes, kCodeSelector, descriptor(registers.code));
  put(gdt.bytes, kDataSelector, descriptor(registers.data));
  put(gdt.bytes, kTaskSelector, descriptor(registers.task));
  registers.gdt_base = kGdtGpa.value;
  registers.gdt_limit = static_cast<std::uint16_t>(gdt.bytes.size() - 1);
  boot.plan.data.push_back(std::move(gdt));
}

/// Maps the first 4 GiB to themselves in 2 MiB pages.
DataPiece identity_tables() {
  constexpr std::size_t kDirectories = 4;
  constexpr std::uint64_t kTable = kPresent | kWritable;
  DataPiece piece{kPageTablesGpa, std::vector<std::byte>((2 + kDirectories) * kPageSize),
                  "page tables"};
  const std::uint64_t root = kPageTablesGpa.value;
  put(piece.bytes, 0, (root + kPageSize) | kTable);
  for (std::size_t i = 0; i < kDirectories; ++i) {
    put(piece.bytes, kPageSize + i * 8, (root + (2 + i) * kPageSize) | kTable);
  }
  for (std::size_t i = 0; i < kDirectories * kTableEntries; ++i) {
    put(piece.bytes, 2 * kPageSize + i * 8, (std::uint64_t{i} << 21) | kTable | kPageSizeBit);
  }
  return piece;
}

// PVH.

/// The PVH entry in a segment of notes; nullopt if there is none.
std::optional<std::uint64_t> find_entry(std::span<const std::byte> notes, std::uint64_t align) {
  const auto aligned = [align](std::uint64_t size) { return (size + align - 1) / align * align; };
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    const auto note = get<Elf64_Nhdr>(notes, 0);
    // 32-bit sizes: their sum does not overflow.
    const std::uint64_t content = aligned(sizeof(note) + std::uint64_t{note.n_namesz});
    const std::uint64_t next = aligned(content + note.n_descsz);
    if (content + note.n_descsz > notes.size()) return std::nullopt;
    if (note.n_type == kPhys32Entry && note.n_namesz == 4 &&
        std::memcmp(notes.data() + sizeof(note), "Xen", 4) == 0) {
      if (note.n_descsz == 8) return get<std::uint64_t>(notes, content);
      if (note.n_descsz == 4) return get<std::uint32_t>(notes, content);
      return std::nullopt;
    }
    notes = notes.subspan(std::min<std::uint64_t>(next, notes.size()));
  }
  return std::nullopt;
}

Status add_segment(const BootInput& input, const Elf64_Phdr& header, BootPlan& plan) {
  if (header.p_memsz == 0) return {};
  if (header.p_filesz > header.p_memsz || header.p_memsz > ~header.p_paddr) {
    return refuse(
        fmt::format("kernel has a segment at {:#x} with {} bytes in the file and {} in memory",
                    header.p_paddr, header.p_filesz, header.p_memsz));
  }
  if (header.p_offset > input.kernel_bytes ||
      input.kernel_bytes - header.p_offset < header.p_filesz) {
    return refuse(
        fmt::format("kernel is truncated: its segment of {} bytes at offset {} lies past "
                    "its {} bytes",
                    header.p_filesz, header.p_offset, input.kernel_bytes));
  }
  const std::uint64_t end = header.p_paddr + header.p_memsz;
  if (header.p_paddr < kHighRamStart) {
    return refuse(fmt::format("kernel has a segment at {:#x}, expected {:#x} or higher",
                              header.p_paddr, kHighRamStart));
  }
  if (auto fits = check_kernel_fits(end, input.ram); !fits) return fits;
  for (const FilePiece& other : plan.kernel) {
    if (header.p_paddr < other.gpa.value + other.memory_bytes && other.gpa.value < end) {
      return refuse(fmt::format("kernel has segments at {:#x} and {:#x} that overlap",
                                other.gpa.value, header.p_paddr));
    }
  }
  plan.kernel.push_back(
      FilePiece{Gpa{header.p_paddr}, header.p_offset, header.p_filesz, header.p_memsz, "kernel"});
  return {};
}

/// hvm_start_info, its module list and its memory map, in one page.
DataPiece start_info(const FilePiece& initramfs, const RamLayout& ram) {
  constexpr std::size_t kModuleAt = 0x40;
  constexpr std::size_t kMapAt = 0x80;
  constexpr std::size_t kMapEntryBytes = 24;
  const auto map = memory_map(ram);
  DataPiece piece{kStartInfoGpa, std::vector<std::byte>(kMapAt + map.size() * kMapEntryBytes),
                  "start info"};
  auto& bytes = piece.bytes;
  put(bytes, 0, kStartMagic);
  put(bytes, 4, std::uint32_t{1});  // version
  if (initramfs.file_bytes != 0) {
    put(bytes, 12, std::uint32_t{1});  // nr_modules
    put(bytes, 16, kStartInfoGpa.value + kModuleAt);
    put(bytes, kModuleAt, initramfs.gpa.value);
    put(bytes, kModuleAt + 8, initramfs.file_bytes);
  }
  put(bytes, 24, kCommandLineGpa.value);
  put(bytes, 40, kStartInfoGpa.value + kMapAt);
  put(bytes, 48, static_cast<std::uint32_t>(map.size()));
  for (std::size_t i = 0; i < map.size(); ++i) {
    const std::size_t at = kMapAt + i * kMapEntryBytes;
    put(bytes, at, map[i].start);
    put(bytes, at + 8, map[i].end - map[i].start);
    put(bytes, at + 16, kE820Ram);
  }
  return piece;
}

/// The header, if it is of an x86-64 kernel.
Result<Elf64_Ehdr> read_elf_header(const BootInput& input) {
  auto read = read_exactly(input, 0, sizeof(Elf64_Ehdr), "ELF header");
  if (!read) return read.error();
  const auto header = get<Elf64_Ehdr>(read.value(), 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64 || (header.e_type != ET_EXEC && header.e_type != ET_DYN)) {
    return refuse(fmt::format(
        "kernel is an ELF file of class {}, type {}, machine {}, expected a linked "
        "64-bit one for x86-64 (class {}, machine {})",
        header.e_ident[EI_CLASS], header.e_type, header.e_machine, ELFCLASS64, EM_X86_64));
  }
  if (header.e_phnum == 0 || header.e_phnum > kMostProgramHeaders ||
      header.e_phentsize != sizeof(Elf64_Phdr)) {
    return refuse(
        fmt::format("kernel has {} ELF program headers of {} bytes, expected 1 to {} of {}",
                    header.e_phnum, header.e_phentsize, kMostProgramHeaders, sizeof(Elf64_Phdr)));
  }
  return header;
}

Result<Boot> plan_pvh(const BootInput& input) {
  const auto header = read_elf_header(input);
  if (!header) return header.error();
  const auto table =
      read_exactly(input, header.value().e_phoff, header.value().e_phnum * sizeof(Elf64_Phdr),
                   "ELF program headers");
  if (!table) return table.error();

  Boot boot{};
  std::optional<std::uint64_t> entry;
  for (std::size_t i = 0; i < header.value().e_phnum; ++i) {
    const auto segment = get<Elf64_Phdr>(table.value(), i * sizeof(Elf64_Phdr));
    if (segment.p_type == PT_LOAD) {
      if (auto added = add_segment(input, segment, boot.plan); !added) return added.error();
    }
    if (segment.p_type != PT_NOTE || entry.has_value()) continue;
    const auto notes =
        read_exactly(input, segment.p_offset,
                     std::min<std::uint64_t>(segment.p_filesz, kMostNoteBytes), "ELF notes");
    if (!notes) return notes.error();
    entry = find_entry(notes.value(), segment.p_align == 8 ? 8 : 4);
  }
  if (!entry) {
    return refuse("kernel is an x86-64 ELF file without a PVH entry note (CONFIG_PVH)");
  }
  std::uint64_t kernel_end = 0;
  bool is_loaded = false;
  for (const FilePiece& piece : boot.plan.kernel) {
    kernel_end = std::max(kernel_end, piece.gpa.value + piece.memory_bytes);
    is_loaded =
        is_loaded || (*entry >= piece.gpa.value && *entry - piece.gpa.value < piece.file_bytes);
  }
  if (!is_loaded) {
    return refuse(fmt::format("kernel has its PVH entry at {:#x}, which no segment loads", *entry));
  }

  auto initramfs = place_initramfs(input, kernel_end, ram_end(input.ram));
  if (!initramfs) return initramfs.error();
  boot.plan.initramfs = std::move(initramfs).value();
  auto line = command_line_piece(input.command_line, kCommandLineBytes);
  if (!line) return line.error();
  set_segments(boot, false);
  boot.plan.data.push_back(start_info(boot.plan.initramfs, input.ram));
  boot.plan.data.push_back(std::move(line).value());
  boot.registers.rip = *entry;
  boot.registers.rbx = kStartInfoGpa.value;
  boot.registers.cr0 = kCr0Protected;
  return boot;
}

// bzImage.

/// The zero page: the image's own header with what a loader fills in, and the memory map.
DataPiece zero_page(std::span<const std::byte> head, std::uint64_t load, const FilePiece& initramfs,
                    const RamLayout& ram) {
  constexpr std::size_t kE820EntryBytes = 20;
  DataPiece piece{kZeroPageGpa, std::vector<std::byte>(kPageSize), "zero page"};
  auto& bytes = piece.bytes;
  // boot.rst, "64-bit Boot Protocol": "the end of setup header".
  const std::size_t end =
      std::min(field::kMagic + get<std::uint8_t>(head, field::kJumpTarget), field::kHeaderEnd);
  std::memcpy(bytes.data() + field::kSetupSects, head.data() + field::kSetupSects,
              end - field::kSetupSects);
  put(bytes, field::kVidMode, kNormalVideo);
  put(bytes, field::kTypeOfLoader, kUnknownLoader);
  put(bytes, field::kCode32Start, static_cast<std::uint32_t>(load));
  // All below 2 GiB: the upper halves (ext_ramdisk_image and so on) stay 0.
  put(bytes, field::kRamdiskImage, static_cast<std::uint32_t>(initramfs.gpa.value));
  put(bytes, field::kRamdiskSize, static_cast<std::uint32_t>(initramfs.file_bytes));
  put(bytes, field::kCommandLine, static_cast<std::uint32_t>(kCommandLineGpa.value));
  const auto map = memory_map(ram);
  put(bytes, field::kE820Entries, static_cast<std::uint8_t>(map.size()));
  for (std::size_t i = 0; i < map.size(); ++i) {
    const std::size_t at = field::kE820Table + i * kE820EntryBytes;
    put(bytes, at, map[i].start);
    put(bytes, at + 8, map[i].end - map[i].start);
    put(bytes, at + 16, kE820Ram);
  }
  return piece;
}

Status check_bzimage(std::span<const std::byte> head) {
  const auto version = get<std::uint16_t>(head, field::kVersion);
  if (version < kLeastVersion) {
    return refuse(
        fmt::format("kernel is a bzImage of boot protocol {}.{:02}, expected 2.12 or newer",
                    version >> 8, version & 0xff));
  }
  if ((get<std::uint8_t>(head, field::kLoadFlags) & kLoadedHigh) == 0) {
    return refuse("kernel is a zImage (loaded low), expected a bzImage");
  }
  if ((get<std::uint16_t>(head, field::kXLoadFlags) & kKernel64) == 0) {
    return refuse("kernel is a bzImage without a 64-bit entry (XLF_KERNEL_64)");
  }
  const auto pref = get<std::uint64_t>(head, field::kPrefAddress);
  if (pref < kHighRamStart || pref >= kMostRamBytes) {
    return refuse(
        fmt::format("kernel is a bzImage that prefers address {:#x}, expected {:#x} to {:#x}", pref,
                    kHighRamStart, kMostRamBytes));
  }
  return {};
}

Result<Boot> plan_bzimage(const BootInput& input, std::span<const std::byte> head) {
  if (auto good = check_bzimage(head); !good) return good.error();
  const auto stated = get<std::uint8_t>(head, field::kSetupSects);
  // boot.rst: 0 means 4; the boot sector comes on top.
  const std::uint64_t setup = (std::uint64_t{stated == 0 ? std::uint8_t{4} : stated} + 1) * 512;
  // In 16-byte paragraphs, the last one filled up.
  const std::uint64_t code = std::uint64_t{get<std::uint32_t>(head, field::kSysSize)} * 16;
  if (code == 0 || input.kernel_bytes <= setup || input.kernel_bytes + 15 < setup + code) {
    return refuse(fmt::format("kernel is truncated: {} bytes of a bzImage of {}",
                              input.kernel_bytes, setup + code));
  }
  const std::uint64_t load = get<std::uint64_t>(head, field::kPrefAddress);
  const std::uint64_t file_bytes = std::min(code, input.kernel_bytes - setup);
  const std::uint64_t memory_bytes =
      std::max(file_bytes, std::uint64_t{get<std::uint32_t>(head, field::kInitSize)});
  if (auto fits = check_kernel_fits(load + memory_bytes, input.ram); !fits) return fits.error();

  Boot boot{};
  boot.plan.kernel.push_back(FilePiece{Gpa{load}, setup, file_bytes, memory_bytes, "kernel"});
  // initrd_addr_max is the last byte that may be used.
  auto initramfs =
      place_initramfs(input, load + memory_bytes,
                      std::uint64_t{get<std::uint32_t>(head, field::kInitrdAddrMax)} + 1);
  if (!initramfs) return initramfs.error();
  boot.plan.initramfs = std::move(initramfs).value();
  auto line = command_line_piece(
      input.command_line, std::uint64_t{get<std::uint32_t>(head, field::kCommandLineSize)} + 1);
  if (!line) return line.error();
  set_segments(boot, true);
  boot.plan.data.push_back(zero_page(head, load, boot.plan.initramfs, input.ram));
  boot.plan.data.push_back(identity_tables());
  boot.plan.data.push_back(std::move(line).value());
  boot.registers.rip = load + kEntry64;
  boot.registers.rsi = kZeroPageGpa.value;
  boot.registers.cr0 = kCr0Protected | kCr0Paging;
  boot.registers.cr3 = kPageTablesGpa.value;
  boot.registers.cr4 = kCr4Pae;
  boot.registers.efer = kEferLongModeEnable | kEferLongModeActive;
  return boot;
}

}  // namespace

std::uint64_t descriptor(const Segment& segment) {
  const std::uint64_t limit = segment.page_granular ? segment.limit >> 12 : segment.limit;
  const std::uint64_t flags =
      (std::uint64_t{segment.type} & 0xf) | std::uint64_t{segment.code_or_data} << 4 |
      (std::uint64_t{segment.privilege} & 3) << 5 | std::uint64_t{segment.present} << 7 |
      std::uint64_t{segment.long_mode} << 13 | std::uint64_t{segment.default_32_bit} << 14 |
      std::uint64_t{segment.page_granular} << 15;
  return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | flags << 40 |
         (limit & 0xf0000) << 32 | (segment.base & 0xff000000) << 32;
}

Result<Boot> plan_boot(const BootInput& input) {
  if (auto good = check_ram(input.ram); !good) return good.error();
  const auto magic = read_exactly(input, 0, SELFMAG, "magic");
  if (!magic) return magic.error();
  if (std::memcmp(magic.value().data(), ELFMAG, SELFMAG) == 0) return plan_pvh(input);
  if (input.kernel_bytes < field::kHeaderEnd) {
    return refuse(
        fmt::format("kernel of {} bytes is neither an ELF file nor a bzImage", input.kernel_bytes));
  }
  const auto head = read_exactly(input, 0, field::kHeaderEnd, "boot header");
  if (!head) return head.error();
  if (get<std::uint32_t>(head.value(), field::kMagic) != kHdrS) {
    return refuse("kernel is neither an ELF file nor a bzImage");
  }
  return plan_bzimage(input, head.value());
}

}  // namespace sealvisor::arch::x86_64
