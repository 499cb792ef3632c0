#include "vmm/image/kernel_image.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sealvisor::image {
namespace {

using namespace std::string_view_literals;

class KernelImageTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "kernel-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::filesystem::path file(std::string_view bytes) const {
    const std::filesystem::path path = folder_ / "kernel";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  void expect_refused(const std::filesystem::path& path, const std::string& why) const {
    const auto probed = probe_kernel(path);
    ASSERT_FALSE(probed.ok()) << why;
    EXPECT_EQ(probed.error().code, ExitCode::Usage);
    EXPECT_NE(probed.error().message.find("kernel " + path.string()), std::string::npos);
    EXPECT_NE(probed.error().message.find(why), std::string::npos) << probed.error().message;
  }

  std::filesystem::path folder_;
};

template <typename Number>
void put(std::string& bytes, std::size_t offset, Number value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

std::string arm64_image(std::uint64_t image_size, std::uint64_t flags, std::size_t file_size) {
  std::string bytes(file_size, '\0');
  put(bytes, 16, image_size);
  put(bytes, 24, flags);
  std::memcpy(bytes.data() + 0x38, "ARM\x64", 4);
  return bytes;
}

std::string bzimage(std::uint16_t version, std::uint16_t xloadflags, std::size_t payload) {
  std::string bytes(5 * 512 + payload, '\0');
  put<std::uint8_t>(bytes, 0x1f1, 4);
  put(bytes, 0x1f4, static_cast<std::uint32_t>(payload / 16));
  std::memcpy(bytes.data() + 0x202, "HdrS", 4);
  put(bytes, 0x206, version);
  put<std::uint8_t>(bytes, 0x211, 1);
  put(bytes, 0x236, xloadflags);
  put<std::uint32_t>(bytes, 0x260, 0x123000);
  return bytes;
}

/// An ELF file with one PT_LOAD of `load_bytes` and one PT_NOTE with the note `name`, `type`.
std::string elf(std::uint16_t machine, const std::string& name, std::uint32_t type,
                std::size_t load_bytes) {
  const std::size_t note_at = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
  const std::size_t note_size = sizeof(Elf64_Nhdr) + 4 + 8;
  std::string bytes(note_at + note_size + load_bytes, '\0');
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = machine;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  put(bytes, 0, header);
  Elf64_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_offset = note_at + note_size;
  load.p_paddr = 0x1000000;
  load.p_filesz = load_bytes;
  load.p_memsz = load_bytes + 0x1000;
  put(bytes, sizeof(Elf64_Ehdr), load);
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = note_at;
  note.p_filesz = note.p_memsz = note_size;
  note.p_align = 4;
  put(bytes, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), note);
  Elf64_Nhdr nhdr{static_cast<Elf64_Word>(name.size() + 1), 8, type};
  put(bytes, note_at, nhdr);
  std::memcpy(bytes.data() + note_at + sizeof(nhdr), name.data(), name.size());
  return bytes;
}

TEST_F(KernelImageTest, KnowsEachFormat) {
  const auto arm = probe_kernel(file(arm64_image(3000, 2, 2000)));
  ASSERT_TRUE(arm) << arm.error().message;
  EXPECT_EQ(arm.value().arch, arch::Arch::Arm64);
  EXPECT_EQ(arm.value().format, KernelFormat::Arm64Image);
  EXPECT_EQ(arm.value().loaded_bytes, 3000U);

  const auto bz = probe_kernel(file(bzimage(0x20f, 1, 4096)));
  ASSERT_TRUE(bz) << bz.error().message;
  EXPECT_EQ(bz.value().arch, arch::Arch::X86_64);
  EXPECT_EQ(bz.value().format, KernelFormat::BzImage);
  EXPECT_EQ(bz.value().loaded_bytes, 0x123000U);

  const auto pvh = probe_kernel(file(elf(EM_X86_64, "Xen", 18, 512)));
  ASSERT_TRUE(pvh) << pvh.error().message;
  EXPECT_EQ(pvh.value().arch, arch::Arch::X86_64);
  EXPECT_EQ(pvh.value().format, KernelFormat::PvhElf);
  EXPECT_EQ(pvh.value().loaded_bytes, 512U + 0x1000U);
}

TEST_F(KernelImageTest, AnEfiStubDoesNotHideTheKernel) {
  std::string arm = arm64_image(3000, 2, 2000);
  std::memcpy(arm.data(), "MZ", 2);
  EXPECT_TRUE(probe_kernel(file(arm)).ok());
  std::string bz = bzimage(0x20f, 1, 4096);
  std::memcpy(bz.data(), "MZ", 2);
  EXPECT_TRUE(probe_kernel(file(bz)).ok());
}

TEST_F(KernelImageTest, SaysWhichArchitectureItIs) {
  const auto arm = probe_kernel(file(arm64_image(3000, 2, 2000)), arch::Arch::X86_64);
  ASSERT_FALSE(arm.ok());
  EXPECT_EQ(arm.error().code, ExitCode::Usage);
  EXPECT_NE(arm.error().message.find("for arm64 (arm64 Image), expected one for x86_64"),
            std::string::npos)
      << arm.error().message;
  const auto x86 = probe_kernel(file(bzimage(0x20f, 1, 4096)), arch::Arch::Arm64);
  ASSERT_FALSE(x86.ok());
  EXPECT_NE(x86.error().message.find("for x86_64 (bzImage), expected one for arm64"),
            std::string::npos)
      << x86.error().message;
  EXPECT_TRUE(probe_kernel(file(bzimage(0x20f, 1, 4096)), arch::Arch::X86_64).ok());
}

TEST_F(KernelImageTest, RefusesWhatIsNoFile) {
  expect_refused(folder_ / "absent", "No such file");
  expect_refused(folder_, "is a directory");
  const std::filesystem::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_refused(fifo, "is not a regular file");
  expect_refused(file(""), "is empty");
}

TEST_F(KernelImageTest, RefusesWhatIsNoKernel) {
  expect_refused(file("x"), "is not a kernel image");
  expect_refused(file("#!/bin/sh\necho kernel\n"), "is not a kernel image");
  expect_refused(file(std::string(100000, '\0')), "is not a kernel image");
  expect_refused("/proc/self/exe", "without a PVH entry note");
  expect_refused(file("MZ" + std::string(4096, '\0')), "is an EFI program");
}

TEST_F(KernelImageTest, RefusesWhatMustBeUnpackedFirst) {
  const std::string rest(1000, 'x');
  expect_refused(file("\x1f\x8b\x08" + rest), "compressed with gzip; unpack it first (gunzip)");
  expect_refused(file(std::string("\xfd"
                                  "7zXZ\0"sv) +
                      rest),
                 "compressed with xz");
  expect_refused(file("\x28\xb5\x2f\xfd" + rest), "compressed with zstd");
  expect_refused(file("\x02\x21\x4c\x18" + rest), "compressed with lz4");
  expect_refused(file("BZh9" + rest), "compressed with bzip2");
  std::string zboot(std::string("MZ\0\0zimg"sv) + rest);
  std::memcpy(zboot.data() + 0x18, "gzip\0\0\0", 8);
  expect_refused(file(zboot), "EFI zboot image (compressed with gzip); give the plain Image");
}

TEST_F(KernelImageTest, RefusesOddArm64Images) {
  expect_refused(file(arm64_image(3000, 3, 2000)), "big-endian");
  expect_refused(file(arm64_image(0, 2, 2000)), "without image_size");
  expect_refused(file(arm64_image(3000, 4, 2000)), "16K pages, expected 4K");
  expect_refused(file(arm64_image(3000, 6, 2000)), "64K pages, expected 4K");
  expect_refused(file(arm64_image(30000, 2, 2000)), "is truncated: 2000 bytes");
  expect_refused(file(arm64_image(~std::uint64_t{0}, 2, 2000)), "is truncated");
  // With an EFI stub the section table tells where the file must end.
  std::string efi = arm64_image(3000, 2, 2000);
  std::memcpy(efi.data(), "MZ", 2);
  put<std::uint32_t>(efi, 0x3c, 0x40);
  std::memcpy(efi.data() + 0x40, "PE\0\0", 4);
  put<std::uint16_t>(efi, 0x46, 1);
  put<std::uint32_t>(efi, 0x58 + 16, 1744);
  put<std::uint32_t>(efi, 0x58 + 20, 256);
  EXPECT_TRUE(probe_kernel(file(efi)).ok());
  put<std::uint32_t>(efi, 0x58 + 16, 1745);
  expect_refused(file(efi), "2000 bytes of an arm64 Image of 2001");
}

TEST_F(KernelImageTest, RefusesOddBzImages) {
  expect_refused(file(bzimage(0x20b, 1, 4096)), "boot protocol 2.11, expected 2.12");
  expect_refused(file(bzimage(0x20f, 0, 4096)), "32-bit x86 bzImage");
  std::string low = bzimage(0x20f, 1, 4096);
  low[0x211] = 0;
  expect_refused(file(low), "zImage");
  const std::string whole = bzimage(0x20f, 1, 4096);
  expect_refused(file(whole.substr(0, whole.size() - 17)), "is truncated");
  expect_refused(file(whole.substr(0, 0x207)), "expected 2.12");
}

TEST_F(KernelImageTest, RefusesOddElfFiles) {
  expect_refused(file(elf(EM_X86_64, "Xen", 17, 512)), "without a PVH entry note");
  expect_refused(file(elf(EM_X86_64, "GNU", 18, 512)), "without a PVH entry note");
  expect_refused(file(elf(EM_AARCH64, "Xen", 18, 512)), "arm64 boots from arch/arm64/boot/Image");
  expect_refused(file(elf(EM_RISCV, "Xen", 18, 512)), "machine 243");
  const std::string whole = elf(EM_X86_64, "Xen", 18, 512);
  expect_refused(file(whole.substr(0, whole.size() - 1)), "is truncated");
  std::string relocatable = whole;
  relocatable[offsetof(Elf64_Ehdr, e_type)] = ET_REL;
  expect_refused(file(relocatable), "is an ELF object");
}

TEST_F(KernelImageTest, NoPrefixOfAKernelCrashesOrPasses) {
  for (const std::string& whole : {elf(EM_X86_64, "Xen", 18, 64), bzimage(0x20f, 1, 64)}) {
    for (std::size_t size = 1; size + 16 < whole.size(); size += 29) {
      ASSERT_FALSE(probe_kernel(file(whole.substr(0, size))).ok()) << size;
    }
  }
}

}  // namespace
}  // namespace sealvisor::image
