#include "vmm/image/kernel_image.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/unit/image/compressed.h"

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

constexpr auto kCompressions = std::to_array<Compression>(
    {Compression::Gzip, Compression::Xz, Compression::Lzma, Compression::Zstd, Compression::Lz4});

/// `packed` in an EFI zboot image; `unpacked` is written behind it, as all but gzip have it.
std::string zboot(const std::string& packed, const std::string& unpacked, std::string_view method) {
  std::string bytes(4096, '\0');
  std::memcpy(bytes.data(), "MZ\0\0zimg", 8);
  put<std::uint32_t>(bytes, 8, 4096);
  put(bytes, 12, static_cast<std::uint32_t>(packed.size()));
  std::memcpy(bytes.data() + 24, method.data(), method.size());
  return bytes + packed + test::size_behind(unpacked);
}

/// A bzImage around `payload`, which starts 100 bytes into the protected-mode part.
std::string bzimage_with(const std::string& payload) {
  std::string bytes = bzimage(0x20f, 1, (100 + payload.size() + 16) / 16 * 16);
  put<std::uint32_t>(bytes, 0x248, 100);
  put(bytes, 0x24c, static_cast<std::uint32_t>(payload.size()));
  std::memcpy(bytes.data() + 5 * 512 + 100, payload.data(), payload.size());
  return bytes;
}

/// What an engine would read.
std::string contents(const KernelFile& kernel) {
  std::ifstream file(kernel.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_F(KernelImageTest, UnpacksWhatIsCompressed) {
  for (const Compression compression : kCompressions) {
    for (const std::string& plain :
         {arm64_image(3000, 2, 2000), elf(EM_X86_64, "Xen", 18, 512), bzimage(0x20f, 1, 4096)}) {
      const auto opened = open_kernel(file(test::compressed(compression, plain)));
      ASSERT_TRUE(opened) << opened.error().message;
      EXPECT_EQ(opened.value().packing(), name_of(compression));
      EXPECT_EQ(contents(opened.value()), plain);
    }
  }
  const auto plain = open_kernel(file(arm64_image(3000, 2, 2000)));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain.value().packing(), "");
  EXPECT_EQ(plain.value().path(), folder_ / "kernel");
}

TEST_F(KernelImageTest, UnpacksLayersUpToABound) {
  const std::string image = arm64_image(3000, 2, 2000);
  std::string packed = image;
  for (int layer = 0; layer < 3; ++layer) packed = test::compressed(Compression::Gzip, packed);
  const auto opened = open_kernel(file(packed));
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened.value().packing(), "gzip, gzip, gzip");
  EXPECT_EQ(contents(opened.value()), image);
  expect_refused(file(test::compressed(Compression::Zstd, packed)), "packed in more than 3 layers");
}

TEST_F(KernelImageTest, UnpacksEfiZboot) {
  const std::string image = arm64_image(3000, 2, 2000);
  for (const Compression compression : kCompressions) {
    const std::string packed = test::compressed(compression, image);
    const auto opened = open_kernel(file(zboot(packed, image, "whatever")), arch::Arch::Arm64);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened.value().packing(), std::string("EFI zboot, ") + name_of(compression));
    EXPECT_EQ(contents(opened.value()), image);
  }
}

TEST_F(KernelImageTest, RefusesOddEfiZboot) {
  const std::string image = arm64_image(3000, 2, 2000);
  const std::string packed = test::compressed(Compression::Zstd, image);
  expect_refused(file(zboot(packed, "x", "zstd22")), "unpacks to more than 1 bytes");
  expect_refused(file(zboot(packed, image + "x", "zstd22")),
                 "unpacks to 2000 bytes, expected 2001");
  expect_refused(file(zboot("nothing", image, "lzo")), "compressed with lzo, expected gzip");
  std::string far = zboot(packed, image, "zstd22");
  put<std::uint32_t>(far, 8, 0xffffffff);
  expect_refused(file(far), "bytes at 4294967295 are packed");
  std::string much = zboot(packed, image, "zstd22");
  put<std::uint32_t>(much, 12, 0xffffffff);
  expect_refused(file(much), "4294967295 bytes at 4096 are packed");
  put<std::uint32_t>(much, 12, 0);
  expect_refused(file(much), "0 bytes at 4096 are packed");
  expect_refused(file(zboot(packed, image, "zstd22").substr(0, 64)), "are packed, and has 64");
}

TEST_F(KernelImageTest, NamesWhatIsWrongInside) {
  const std::string whole = test::compressed(Compression::Gzip, arm64_image(3000, 2, 2000));
  expect_refused(file(whole.substr(0, whole.size() - 1)), "its gzip data is cut off");
  std::string broken = whole;
  broken[broken.size() - 6] = static_cast<char>(broken[broken.size() - 6] ^ 1);  // its checksum
  expect_refused(file(broken), "its gzip data is damaged");
  const std::filesystem::path inner =
      file(test::compressed(Compression::Xz, arm64_image(0, 2, 90)));
  const auto odd = probe_kernel(inner);
  ASSERT_FALSE(odd);
  EXPECT_NE(odd.error().message.find("kernel (unpacked: xz): is an arm64 Image without image_size"),
            std::string::npos)
      << odd.error().message;
  expect_refused(file("BZh9" + std::string(100, 'x')), "bzip2");
}

TEST_F(KernelImageTest, TakesTheVmlinuxOutOfABzImageWhenAsked) {
  const std::string vmlinux = elf(EM_X86_64, "Xen", 18, 512);
  for (const Compression compression : kCompressions) {
    std::string payload = test::compressed(compression, vmlinux);
    if (compression != Compression::Gzip) payload += test::size_behind(vmlinux);
    const std::filesystem::path path = file(bzimage_with(payload));
    const auto as_it_is = open_kernel(path);
    ASSERT_TRUE(as_it_is) << as_it_is.error().message;
    EXPECT_EQ(as_it_is.value().image().format, KernelFormat::BzImage);
    const auto inner = open_kernel(path, arch::Arch::X86_64, BzImage::Inner);
    ASSERT_TRUE(inner) << inner.error().message;
    EXPECT_EQ(inner.value().image().format, KernelFormat::PvhElf);
    EXPECT_EQ(inner.value().packing(), std::string("bzImage, ") + name_of(compression));
    EXPECT_EQ(contents(inner.value()), vmlinux);
  }
}

TEST_F(KernelImageTest, KeepsABzImageWhoseVmlinuxCannotBeBooted) {
  const std::string no_pvh = elf(EM_X86_64, "GNU", 1, 512);
  for (const std::string& payload :
       {std::string(), std::string("LZO?"), test::compressed(Compression::Gzip, no_pvh)}) {
    const auto opened =
        open_kernel(file(bzimage_with(payload)), arch::Arch::X86_64, BzImage::Inner);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened.value().image().format, KernelFormat::BzImage);
    EXPECT_EQ(opened.value().packing(), "");
    EXPECT_EQ(opened.value().path(), folder_ / "kernel");
  }
}

TEST_F(KernelImageTest, RefusesABzImageWithADamagedPayload) {
  const auto refused = [&](const std::string& bytes, const std::string& why) {
    const auto opened = open_kernel(file(bytes), arch::Arch::X86_64, BzImage::Inner);
    ASSERT_FALSE(opened) << why;
    EXPECT_EQ(opened.error().code, ExitCode::Usage);
    EXPECT_NE(opened.error().message.find(why), std::string::npos) << opened.error().message;
  };
  const std::string vmlinux = elf(EM_X86_64, "Xen", 18, 512);
  const std::string payload = test::compressed(Compression::Zstd, vmlinux);
  refused(bzimage_with(payload + "abcd"), "unpacks to");
  refused(bzimage_with(payload.substr(0, payload.size() - 8) + test::size_behind(vmlinux)),
          "its zstd data is cut off");
  std::string far = bzimage_with(payload);
  put<std::uint32_t>(far, 0x248, 0xfffffff0);
  refused(far, "are its payload");
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
