#include "arch/x86_64/boot.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace sealvisor::arch::x86_64 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

template <typename Number>
void put(std::string& bytes, std::size_t offset, Number value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

template <typename Number>
Number get(const std::vector<std::byte>& bytes, std::size_t offset) {
  Number value{};
  EXPECT_LE(offset + sizeof(value), bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  std::string text(bytes.size(), '\0');
  std::memcpy(text.data(), bytes.data(), bytes.size());
  return text;
}

ReadAt reader(const std::string& file) {
  return [&file](std::uint64_t offset, std::span<std::byte> into) -> Status {
    if (offset > file.size() || file.size() - offset < into.size()) {
      return Error{ExitCode::Failed, "read past the end of the file"};
    }
    std::memcpy(into.data(), file.data() + offset, into.size());
    return {};
  };
}

BootInput input_for(const std::string& file, std::uint64_t ram = 256 * kMiB) {
  BootInput input{};
  input.read = reader(file);
  input.kernel_bytes = file.size();
  input.command_line = "console=ttyS0";
  input.ram = RamLayout{Gpa{0}, ram};
  return input;
}

void expect_refused(const BootInput& input, const std::string& why) {
  const auto planned = plan_boot(input);
  ASSERT_FALSE(planned.ok()) << why;
  EXPECT_EQ(planned.error().code, ExitCode::Usage);
  EXPECT_NE(planned.error().message.find(why), std::string::npos) << planned.error().message;
}

const DataPiece& data_of(const Boot& boot, const std::string& what) {
  const auto found = std::find_if(boot.plan.data.begin(), boot.plan.data.end(),
                                  [&](const DataPiece& piece) { return piece.what == what; });
  EXPECT_NE(found, boot.plan.data.end()) << what;
  return *found;
}

/// Every piece of `boot` lies in RAM, outside the hole, and touches no other.
void expect_disjoint(const Boot& boot, std::uint64_t ram) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  for (const FilePiece& piece : boot.plan.kernel) {
    extents.emplace_back(piece.gpa.value, piece.gpa.value + piece.memory_bytes);
  }
  if (boot.plan.initramfs.file_bytes != 0) {
    extents.emplace_back(boot.plan.initramfs.gpa.value,
                         boot.plan.initramfs.gpa.value + boot.plan.initramfs.memory_bytes);
  }
  for (const DataPiece& piece : boot.plan.data) {
    extents.emplace_back(piece.gpa.value, piece.gpa.value + piece.bytes.size());
  }
  extents.emplace_back(kLowRamEnd, kHighRamStart);
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i) {
    EXPECT_LE(extents[i - 1].second, extents[i].first);
  }
  EXPECT_GE(extents.front().first, 0x500U);
  EXPECT_LE(extents.back().second, ram);
}

// An ELF file: header, program headers, notes, then the content of two segments.

constexpr std::size_t kHeadersEnd = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
constexpr std::size_t kNotesAt = kHeadersEnd;
constexpr std::size_t kFirstAt = 0x200;
constexpr std::size_t kSecondAt = 0x600;

Elf64_Phdr segment(std::uint64_t gpa, std::size_t offset, std::size_t file_bytes,
                   std::size_t memory_bytes) {
  Elf64_Phdr header{};
  header.p_type = PT_LOAD;
  header.p_offset = offset;
  header.p_paddr = gpa;
  header.p_filesz = file_bytes;
  header.p_memsz = memory_bytes;
  return header;
}

std::string note(const std::string& name, std::uint32_t type, const std::string& content) {
  std::string bytes(sizeof(Elf64_Nhdr), '\0');
  put(bytes, 0,
      Elf64_Nhdr{static_cast<Elf64_Word>(name.size() + 1), static_cast<Elf64_Word>(content.size()),
                 type});
  bytes += name + '\0';
  bytes.resize((bytes.size() + 3) / 4 * 4);
  bytes += content;
  bytes.resize((bytes.size() + 3) / 4 * 4);
  return bytes;
}

template <typename Number>
std::string bytes_of(Number value) {
  std::string bytes(sizeof(value), '\0');
  put(bytes, 0, value);
  return bytes;
}

std::string elf(const std::string& notes,
                const Elf64_Phdr& first = segment(16 * kMiB, kFirstAt, 0x400, 0x400),
                const Elf64_Phdr& second = segment(24 * kMiB, kSecondAt, 0x200, 0x5000)) {
  std::string bytes(0x800, '\0');
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  put(bytes, 0, header);
  put(bytes, sizeof(header), first);
  put(bytes, sizeof(header) + sizeof(Elf64_Phdr), second);
  Elf64_Phdr note_segment{};
  note_segment.p_type = PT_NOTE;
  note_segment.p_offset = kNotesAt;
  note_segment.p_filesz = notes.size();
  note_segment.p_align = 4;
  put(bytes, sizeof(header) + 2 * sizeof(Elf64_Phdr), note_segment);
  std::memcpy(bytes.data() + kNotesAt, notes.data(), notes.size());
  return bytes;
}

/// The notes that Linux 6.12 has before its entry, and the entry at 16 MiB + `offset`.
std::string pvh_notes(std::uint64_t offset = 0) {
  return note("GNU", 3, std::string(20, 'b')) + note("Linux", 0x101, std::string(1, '\0')) +
         note("Xen", 19, std::string(12, 'p')) + note("Xen", 18, bytes_of(16 * kMiB + offset));
}

TEST(BootPvhTest, PlacesEveryPiece) {
  const std::string file = elf(pvh_notes(0x123));
  BootInput input = input_for(file);
  input.initramfs_bytes = 0x12345;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  const Boot& boot = planned.value();
  expect_disjoint(boot, 256 * kMiB);

  ASSERT_EQ(boot.plan.kernel.size(), 2U);
  EXPECT_EQ(boot.plan.kernel[0].gpa, Gpa{16 * kMiB});
  EXPECT_EQ(boot.plan.kernel[0].file_offset, kFirstAt);
  EXPECT_EQ(boot.plan.kernel[0].file_bytes, 0x400U);
  EXPECT_EQ(boot.plan.kernel[0].memory_bytes, 0x400U);
  EXPECT_EQ(boot.plan.kernel[0].what, "kernel");
  EXPECT_EQ(boot.plan.kernel[1].gpa, Gpa{24 * kMiB});
  EXPECT_EQ(boot.plan.kernel[1].file_offset, kSecondAt);
  EXPECT_EQ(boot.plan.kernel[1].file_bytes, 0x200U);
  EXPECT_EQ(boot.plan.kernel[1].memory_bytes, 0x5000U);

  EXPECT_EQ(boot.plan.initramfs.gpa, Gpa{256 * kMiB - 0x13000});
  EXPECT_EQ(boot.plan.initramfs.file_offset, 0U);
  EXPECT_EQ(boot.plan.initramfs.file_bytes, 0x12345U);
  EXPECT_EQ(boot.plan.initramfs.memory_bytes, 0x12345U);

  ASSERT_EQ(boot.plan.data.size(), 3U);
  EXPECT_EQ(data_of(boot, "command line").gpa, kCommandLineGpa);
  EXPECT_EQ(text_of(data_of(boot, "command line").bytes), std::string("console=ttyS0") + '\0');
}

TEST(BootPvhTest, StartInfoTellsModuleAndMemory) {
  const std::string file = elf(pvh_notes());
  BootInput input = input_for(file, 64 * kMiB);
  input.initramfs_bytes = 4096;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  const DataPiece& info = data_of(planned.value(), "start info");
  EXPECT_EQ(info.gpa, kStartInfoGpa);
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 0), 0x336ec578U);  // magic
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 4), 1U);           // version
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 8), 0U);           // flags
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 12), 1U);          // nr_modules
  EXPECT_EQ(get<std::uint64_t>(info.bytes, 24), kCommandLineGpa.value);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, 32), 0U);  // rsdp_paddr
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 48), 2U);  // memmap_entries
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 52), 0U);  // reserved

  const std::size_t module = get<std::uint64_t>(info.bytes, 16) - kStartInfoGpa.value;
  EXPECT_EQ(get<std::uint64_t>(info.bytes, module), 64 * kMiB - 4096);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, module + 8), 4096U);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, module + 16), 0U);
  const std::size_t map = get<std::uint64_t>(info.bytes, 40) - kStartInfoGpa.value;
  EXPECT_EQ(get<std::uint64_t>(info.bytes, map), 0U);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, map + 8), 0x9fc00U);
  EXPECT_EQ(get<std::uint32_t>(info.bytes, map + 16), 1U);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, map + 24), 0x100000U);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, map + 32), 63 * kMiB);
  EXPECT_EQ(get<std::uint32_t>(info.bytes, map + 40), 1U);
}

TEST(BootPvhTest, RegistersAreThoseOfTheAbi) {
  const std::string file = elf(pvh_notes(0x3ff));
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  Segment code{0, 0xffffffff, 0x10, 11, true, 0, true, false, true, true};
  Segment data{0, 0xffffffff, 0x18, 3, true, 0, true, false, true, true};
  Segment task{0, 0x67, 0x20, 11, false, 0, true, false, false, false};
  FirstRegisters expected{};
  expected.rip = 16 * kMiB + 0x3ff;
  expected.rbx = 0x6000;
  expected.rflags = 2;
  expected.cr0 = 0x11;
  expected.code = code;
  expected.data = data;
  expected.task = task;
  expected.gdt_base = 0x5000;
  expected.gdt_limit = 0x2f;
  EXPECT_EQ(planned.value().registers, expected);

  const DataPiece& gdt = data_of(planned.value(), "GDT");
  EXPECT_EQ(gdt.gpa, Gpa{0x5000});
  ASSERT_EQ(gdt.bytes.size(), 0x30U);
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0), 0U);
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0x10), 0x00cf9b000000ffffU);
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0x18), 0x00cf93000000ffffU);
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0x20), 0x00008b0000000067U);
}

TEST(BootPvhTest, NoInitramfsMeansNoModule) {
  const std::string file = elf(pvh_notes());
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(planned.value().plan.initramfs.file_bytes, 0U);
  const DataPiece& info = data_of(planned.value(), "start info");
  EXPECT_EQ(get<std::uint32_t>(info.bytes, 12), 0U);
  EXPECT_EQ(get<std::uint64_t>(info.bytes, 16), 0U);
}

TEST(BootPvhTest, TakesA4ByteEntryToo) {
  const std::string file = elf(note("Xen", 18, bytes_of<std::uint32_t>(16 * kMiB + 8)));
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(planned.value().registers.rip, 16 * kMiB + 8);
}

TEST(BootPvhTest, ReadsHeadersOnly) {
  const std::string file = elf(pvh_notes());
  BootInput input = input_for(file);
  std::uint64_t end = 0;
  input.read = [&](std::uint64_t offset, std::span<std::byte> into) {
    end = std::max<std::uint64_t>(end, offset + into.size());
    return reader(file)(offset, into);
  };
  ASSERT_TRUE(plan_boot(input).ok());
  EXPECT_EQ(end, kNotesAt + pvh_notes().size());
}

TEST(BootPvhTest, RefusesWhatDoesNotFit) {
  const std::string file = elf(pvh_notes());
  BootInput input = input_for(file, 64 * kMiB);
  // From the end of the second segment to the end of memory.
  const std::uint64_t room = 40 * kMiB - 0x5000;
  input.initramfs_bytes = room;
  EXPECT_TRUE(plan_boot(input).ok());
  input.initramfs_bytes = room + 1;
  expect_refused(input, "initramfs of 41922561 bytes does not fit: the kernel ends at 0x1805000");
  input.initramfs_bytes = ~std::uint64_t{0};
  expect_refused(input, "does not fit");

  const std::string high = elf(pvh_notes(), segment(16 * kMiB, kFirstAt, 0x400, 0x400),
                               segment(64 * kMiB - 0x4000, kSecondAt, 0x200, 0x4001));
  expect_refused(input_for(high, 64 * kMiB),
                 "kernel needs guest memory up to 0x4000001, there are 67108864 bytes");
  EXPECT_TRUE(plan_boot(input_for(high, 65 * kMiB)).ok());
}

TEST(BootPvhTest, RefusesBadSegments) {
  const auto second = [](const Elf64_Phdr& header) {
    return elf(pvh_notes(), segment(16 * kMiB, kFirstAt, 0x400, 0x400), header);
  };
  const std::string low = second(segment(0xff000, kSecondAt, 0x200, 0x200));
  expect_refused(input_for(low), "segment at 0xff000, expected 0x100000 or higher");
  const std::string overlap = second(segment(16 * kMiB + 0x3ff, kSecondAt, 0x200, 0x200));
  expect_refused(input_for(overlap), "segments at 0x1000000 and 0x10003ff that overlap");
  const std::string wide = second(segment(24 * kMiB, kSecondAt, 0x200, 0x1ff));
  expect_refused(input_for(wide), "with 512 bytes in the file and 511 in memory");
  const std::string wraps = second(segment(24 * kMiB, kSecondAt, 0x200, ~std::size_t{0}));
  expect_refused(input_for(wraps), "in memory");
  const std::string past = second(segment(24 * kMiB, kSecondAt, 0x201, 0x201));
  expect_refused(input_for(past), "kernel is truncated: its segment of 513 bytes at offset 1536");
  const std::string far = second(segment(24 * kMiB, ~std::size_t{0}, 1, 1));
  expect_refused(input_for(far), "kernel is truncated");
}

TEST(BootPvhTest, RefusesBadEntries) {
  const auto refused = [](const std::string& notes, const std::string& why) {
    const std::string file = elf(notes);
    expect_refused(input_for(file), why);
  };
  refused("", "without a PVH entry note");
  refused(note("Xen", 19, bytes_of(16 * kMiB)), "without a PVH entry note");
  refused(note("GNU", 18, bytes_of(16 * kMiB)), "without a PVH entry note");
  refused(note("Xen", 18, "abc"), "without a PVH entry note");
  // Sizes that point past the segment end the search.
  std::string cut = note("Xen", 18, bytes_of(16 * kMiB));
  put<std::uint32_t>(cut, 4, 0xffffffff);
  refused(cut, "without a PVH entry note");
  put<std::uint32_t>(cut, 0, 0xffffffff);
  refused(cut, "without a PVH entry note");
  refused(pvh_notes(0x400), "PVH entry at 0x1000400, which no segment loads");
  refused(note("Xen", 18, bytes_of(~std::uint64_t{0})), "which no segment loads");
  // The second segment's bss holds no code.
  refused(note("Xen", 18, bytes_of(24 * kMiB + 0x200)), "which no segment loads");
}

TEST(BootPvhTest, RefusesOtherElfFiles) {
  const auto changed = [](std::size_t offset, std::uint16_t value) {
    std::string file = elf(pvh_notes());
    put(file, offset, value);
    return file;
  };
  const std::string arm = changed(offsetof(Elf64_Ehdr, e_machine), EM_AARCH64);
  expect_refused(input_for(arm), "machine 183, expected a linked 64-bit one for x86-64");
  const std::string object = changed(offsetof(Elf64_Ehdr, e_type), ET_REL);
  expect_refused(input_for(object), "type 1");
  const std::string none = changed(offsetof(Elf64_Ehdr, e_phnum), 0);
  expect_refused(input_for(none), "kernel has 0 ELF program headers of 56 bytes");
  const std::string many = changed(offsetof(Elf64_Ehdr, e_phnum), 65);
  expect_refused(input_for(many), "kernel has 65 ELF program headers");
  const std::string odd = changed(offsetof(Elf64_Ehdr, e_phentsize), 32);
  expect_refused(input_for(odd), "headers of 32 bytes, expected 1 to 64 of 56");
}

TEST(BootPvhTest, EveryPrefixIsRefused) {
  const std::string whole = elf(pvh_notes());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string file = whole.substr(0, size);
    const auto planned = plan_boot(input_for(file));
    ASSERT_FALSE(planned.ok()) << size;
    ASSERT_NE(planned.error().message.find("truncated"), std::string::npos)
        << planned.error().message;
  }
}

// A bzImage with the header values of a Linux 6.12 one: two setup sectors, then code.

constexpr std::size_t kSetupBytes = 3 * 512;
constexpr std::size_t kCodeBytes = 8000;

std::string bzimage() {
  std::string bytes(kSetupBytes + kCodeBytes, '\0');
  bytes[0x1ef] = '\xff';  // sentinel
  put<std::uint8_t>(bytes, 0x1f1, 2);
  put<std::uint32_t>(bytes, 0x1f4, kCodeBytes / 16);
  put<std::uint16_t>(bytes, 0x1fe, 0xaa55);
  put<std::uint16_t>(bytes, 0x200, 0x6aeb);  // jump: the header ends at 0x26c
  std::memcpy(bytes.data() + 0x202, "HdrS", 4);
  put<std::uint16_t>(bytes, 0x206, 0x20f);
  put<std::uint8_t>(bytes, 0x211, 1);
  put<std::uint32_t>(bytes, 0x214, 0x100000);
  put<std::uint32_t>(bytes, 0x22c, 0x7fffffff);
  put<std::uint32_t>(bytes, 0x230, 0x200000);
  put<std::uint8_t>(bytes, 0x234, 1);
  put<std::uint16_t>(bytes, 0x236, 0x63);
  put<std::uint32_t>(bytes, 0x238, 2047);
  put<std::uint64_t>(bytes, 0x258, 16 * kMiB);
  put<std::uint32_t>(bytes, 0x260, 0xc2b000);
  put<std::uint32_t>(bytes, 0x26c, 0x90909090);  // code behind the header
  return bytes;
}

TEST(BootBzImageTest, PlacesEveryPiece) {
  const std::string file = bzimage();
  BootInput input = input_for(file);
  input.initramfs_bytes = 0x2001;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  const Boot& boot = planned.value();
  expect_disjoint(boot, 256 * kMiB);
  ASSERT_EQ(boot.plan.kernel.size(), 1U);
  EXPECT_EQ(boot.plan.kernel[0].gpa, Gpa{16 * kMiB});
  EXPECT_EQ(boot.plan.kernel[0].file_offset, kSetupBytes);
  EXPECT_EQ(boot.plan.kernel[0].file_bytes, kCodeBytes);
  EXPECT_EQ(boot.plan.kernel[0].memory_bytes, 0xc2b000U);
  EXPECT_EQ(boot.plan.initramfs.gpa, Gpa{256 * kMiB - 0x3000});
  EXPECT_EQ(boot.plan.initramfs.file_bytes, 0x2001U);
  ASSERT_EQ(boot.plan.data.size(), 4U);
  EXPECT_EQ(text_of(data_of(boot, "command line").bytes), std::string("console=ttyS0") + '\0');
}

TEST(BootBzImageTest, ZeroPageHasTheImagesHeaderAndOurs) {
  const std::string file = bzimage();
  BootInput input = input_for(file, 64 * kMiB);
  input.initramfs_bytes = 0x2000;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  const DataPiece& page = data_of(planned.value(), "zero page");
  EXPECT_EQ(page.gpa, kZeroPageGpa);
  std::string expected(4096, '\0');
  expected.replace(0x1f1, 0x26c - 0x1f1, file.substr(0x1f1, 0x26c - 0x1f1));
  put<std::uint8_t>(expected, 0x1e8, 2);
  put<std::uint16_t>(expected, 0x1fa, 0xffff);
  put<std::uint8_t>(expected, 0x210, 0xff);
  put<std::uint32_t>(expected, 0x214, 0x1000000);
  put<std::uint32_t>(expected, 0x218, 64 * kMiB - 0x2000);
  put<std::uint32_t>(expected, 0x21c, 0x2000);
  put<std::uint32_t>(expected, 0x228, 0x20000);
  put<std::uint64_t>(expected, 0x2d0, 0);
  put<std::uint64_t>(expected, 0x2d8, 0x9fc00);
  put<std::uint32_t>(expected, 0x2e0, 1);
  put<std::uint64_t>(expected, 0x2e4, 0x100000);
  put<std::uint64_t>(expected, 0x2ec, 63 * kMiB);
  put<std::uint32_t>(expected, 0x2f4, 1);
  EXPECT_EQ(text_of(page.bytes), expected);
}

TEST(BootBzImageTest, RegistersAreThoseOfThe64BitEntry) {
  const std::string file = bzimage();
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  FirstRegisters expected{};
  expected.rip = 0x1000200;
  expected.rsi = 0x7000;
  expected.rflags = 2;
  expected.cr0 = 0x80000011;
  expected.cr3 = 0x9000;
  expected.cr4 = 0x20;
  expected.efer = 0x500;
  expected.code = Segment{0, 0xffffffff, 0x10, 11, true, 0, true, true, false, true};
  expected.data = Segment{0, 0xffffffff, 0x18, 3, true, 0, true, false, true, true};
  expected.task = Segment{0, 0x67, 0x20, 11, false, 0, true, false, false, false};
  expected.gdt_base = 0x5000;
  expected.gdt_limit = 0x2f;
  EXPECT_EQ(planned.value().registers, expected);
  const DataPiece& gdt = data_of(planned.value(), "GDT");
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0x10), 0x00af9b000000ffffU);
  EXPECT_EQ(get<std::uint64_t>(gdt.bytes, 0x18), 0x00cf93000000ffffU);
}

TEST(BootBzImageTest, TablesMap4GiBToItself) {
  const std::string file = bzimage();
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  const DataPiece& tables = data_of(planned.value(), "page tables");
  ASSERT_EQ(tables.gpa, Gpa{0x9000});
  ASSERT_EQ(tables.bytes.size(), std::size_t{6} * 4096);
  const auto entry = [&](std::uint64_t table, std::uint64_t index) {
    return get<std::uint64_t>(tables.bytes, table - 0x9000 + index * 8);
  };
  EXPECT_EQ(entry(0x9000, 0), 0xa003U);
  EXPECT_EQ(entry(0x9000, 1), 0U);
  EXPECT_EQ(entry(0xa000, 3), 0xe003U);
  EXPECT_EQ(entry(0xa000, 4), 0U);
  for (std::uint64_t page = 0; page < 2048; ++page) {
    const std::uint64_t directory = entry(0xa000, page / 512);
    ASSERT_EQ(directory & 0xfff, 3U);
    ASSERT_EQ(entry(directory & ~std::uint64_t{0xfff}, page % 512), (page << 21) | 0x83);
  }
}

TEST(BootBzImageTest, SetupSectsOf0Means4) {
  std::string file = bzimage();
  put<std::uint8_t>(file, 0x1f1, 0);
  file.resize(std::size_t{5} * 512 + kCodeBytes);
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(planned.value().plan.kernel[0].file_offset, 5 * 512U);
}

TEST(BootBzImageTest, BytesBehindTheCodeAreNotLoaded) {
  const std::string file = bzimage() + "signature";
  const auto planned = plan_boot(input_for(file));
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(planned.value().plan.kernel[0].file_bytes, kCodeBytes);
}

TEST(BootBzImageTest, TheInitramfsStaysBelowItsLimit) {
  std::string file = bzimage();
  put<std::uint32_t>(file, 0x22c, 0x37ffffff);
  BootInput input = input_for(file, kMostRamBytes);
  input.initramfs_bytes = 0x1000;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(planned.value().plan.initramfs.gpa, Gpa{0x37fff000});
  expect_disjoint(planned.value(), kMostRamBytes);

  put<std::uint32_t>(file, 0x22c, 0x1c2afff);
  input.initramfs_bytes = 1;
  expect_refused(input, "initramfs of 1 bytes does not fit: the kernel ends at 0x1c2b000");
}

TEST(BootBzImageTest, RefusesWhatDoesNotFit) {
  std::string file = bzimage();
  put<std::uint32_t>(file, 0x260, 48 * kMiB);
  EXPECT_TRUE(plan_boot(input_for(file, 64 * kMiB)).ok());
  BootInput input = input_for(file, 64 * kMiB);
  input.initramfs_bytes = 1;
  expect_refused(input, "the kernel ends at 0x4000000, usable memory at 0x4000000");
  put<std::uint32_t>(file, 0x260, 48 * kMiB + 1);
  expect_refused(input_for(file, 64 * kMiB), "kernel needs guest memory up to 0x4000001");
  put<std::uint32_t>(file, 0x260, 0xffffffff);
  expect_refused(input_for(file, kMostRamBytes), "kernel needs guest memory up to 0x100ffffff");
}

TEST(BootBzImageTest, RefusesOtherImages) {
  std::string old = bzimage();
  put<std::uint16_t>(old, 0x206, 0x20b);
  expect_refused(input_for(old), "boot protocol 2.11, expected 2.12 or newer");
  std::string low = bzimage();
  low[0x211] = 0;
  expect_refused(input_for(low), "zImage");
  std::string narrow = bzimage();
  put<std::uint16_t>(narrow, 0x236, 0x62);
  expect_refused(input_for(narrow), "without a 64-bit entry");
  std::string place = bzimage();
  put<std::uint64_t>(place, 0x258, 0xff000);
  expect_refused(input_for(place), "prefers address 0xff000");
  put<std::uint64_t>(place, 0x258, ~std::uint64_t{0});
  expect_refused(input_for(place), "prefers address 0xffffffffffffffff");
  const std::string other(4096, 'x');
  expect_refused(input_for(other), "neither an ELF file nor a bzImage");
  const std::string tiny(100, 'x');
  expect_refused(input_for(tiny), "kernel of 100 bytes is neither");
  const std::string empty;
  expect_refused(input_for(empty), "kernel is truncated");
}

TEST(BootBzImageTest, RefusesTruncatedImages) {
  const std::string whole = bzimage();
  for (const std::size_t size : {whole.size() - 16, kSetupBytes, std::size_t{0x290}}) {
    const std::string file = whole.substr(0, size);
    expect_refused(input_for(file), "kernel is truncated");
  }
  std::string empty = whole;
  put<std::uint32_t>(empty, 0x1f4, 0);
  expect_refused(input_for(empty), "kernel is truncated");
}

TEST(BootTest, RefusesBadCommandLines) {
  for (const std::string& file : {elf(pvh_notes()), bzimage()}) {
    BootInput input = input_for(file);
    const std::string longest(2047, 'a');
    input.command_line = longest;
    EXPECT_TRUE(plan_boot(input).ok());
    const std::string longer(2048, 'a');
    input.command_line = longer;
    expect_refused(input, "kernel command line has 2048 bytes, the kernel takes 2047");
    const std::string cut("quiet\0splash", 12);
    input.command_line = cut;
    expect_refused(input, "kernel command line has a NUL byte at 5");
    input.command_line = {};
    EXPECT_TRUE(plan_boot(input).ok());
  }
}

TEST(BootTest, ALimitOfTheImageCannotReachOtherData) {
  std::string file = bzimage();
  put<std::uint32_t>(file, 0x238, 0xffffffff);
  BootInput input = input_for(file);
  const std::string longest(0xffff, 'a');
  input.command_line = longest;
  const auto planned = plan_boot(input);
  ASSERT_TRUE(planned) << planned.error().message;
  expect_disjoint(planned.value(), 256 * kMiB);
  const std::string longer(0x10000, 'a');
  input.command_line = longer;
  expect_refused(input, "the kernel takes 65535");
}

TEST(BootTest, RefusesOddMemory) {
  const std::string file = bzimage();
  for (const RamLayout ram :
       {RamLayout{Gpa{0}, 64 * kMiB - 4096}, RamLayout{Gpa{0}, 2048 * kMiB + 4096},
        RamLayout{Gpa{0}, 64 * kMiB + 1}, RamLayout{Gpa{4096}, 64 * kMiB},
        RamLayout{Gpa{0}, ~std::uint64_t{0}}}) {
    BootInput input = input_for(file);
    input.ram = ram;
    expect_refused(input, "guest memory of ");
  }
}

TEST(BootTest, PassesReadErrorsOn) {
  const std::string file = bzimage();
  BootInput input = input_for(file);
  input.read = [](std::uint64_t, std::span<std::byte>) -> Status {
    return Error{ExitCode::HostLacks, "disk is gone", 5};
  };
  const auto planned = plan_boot(input);
  ASSERT_FALSE(planned.ok());
  EXPECT_EQ(planned.error().code, ExitCode::HostLacks);
  EXPECT_EQ(planned.error().message, "disk is gone");
}

TEST(BootTest, DescriptorsHoldEveryField) {
  // Base 0x12345678, limit 0xabcde in pages, DPL 3, 32-bit expand-down data.
  const Segment segment{0x12345678, 0xabcdefff, 0x2b, 6, true, 3, true, false, true, true};
  EXPECT_EQ(descriptor(segment), 0x12caf6345678bcdeU);
  EXPECT_EQ(descriptor(Segment{}), 0U);
}

}  // namespace
}  // namespace sealvisor::arch::x86_64
