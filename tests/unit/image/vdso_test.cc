#include "vmm/image/vdso.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>

namespace sealvisor::test {
namespace {

using image::elf_soname;

/// Where an Image has what.
constexpr std::size_t kHeaders = 0x80;
constexpr std::size_t kDynamic = 0x200;
constexpr std::size_t kStrings = 0x300;

struct Bits64 {
  static constexpr unsigned char kClass = ELFCLASS64;
  using Ehdr = Elf64_Ehdr;
  using Phdr = Elf64_Phdr;
  using Dyn = Elf64_Dyn;
};
struct Bits32 {
  static constexpr unsigned char kClass = ELFCLASS32;
  using Ehdr = Elf32_Ehdr;
  using Phdr = Elf32_Phdr;
  using Dyn = Elf32_Dyn;
};

/// An image laid out as a vdso is: linked at 0, with a load and a dynamic segment. Tests break it.
template <typename Bits>
struct Image {
  typename Bits::Ehdr header{};
  typename Bits::Phdr load{};
  typename Bits::Phdr dynamic{};
  std::vector<typename Bits::Dyn> entries;
  std::string strings;
  std::size_t size = 0x1000;

  explicit Image(std::uint16_t machine, std::string_view soname = "linux-vdso.so.1") {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = Bits::kClass;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = machine;
    header.e_version = EV_CURRENT;
    header.e_phoff = kHeaders;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof load;
    header.e_phnum = 2;
    load.p_type = PT_LOAD;
    load.p_filesz = load.p_memsz = static_cast<decltype(load.p_filesz)>(size);
    dynamic.p_type = PT_DYNAMIC;
    dynamic.p_offset = dynamic.p_vaddr = kDynamic;
    strings = std::string("\0__vdso_time\0", 13) + std::string(soname) + '\0';
    add(DT_STRTAB, kStrings);
    add(DT_SONAME, 13);
    add(DT_STRSZ, strings.size());
    add(DT_NULL, 0);
  }
  void add(std::int32_t tag, std::uint64_t value) {
    typename Bits::Dyn entry{};
    entry.d_tag = tag;
    entry.d_un.d_val = static_cast<decltype(entry.d_un.d_val)>(value);
    entries.push_back(entry);
    dynamic.p_filesz = dynamic.p_memsz =
        static_cast<decltype(dynamic.p_filesz)>(entries.size() * sizeof entry);
  }
  /// The first entry with `tag`.
  auto& value_of(std::int32_t tag) {
    for (auto& entry : entries) {
      if (entry.d_tag == tag) return entry.d_un.d_val;
    }
    ADD_FAILURE() << "no entry with tag " << tag;
    return entries.front().d_un.d_val;
  }
  void put(std::vector<std::byte>& out, std::size_t at, const void* from, std::size_t count) const {
    ASSERT_LE(at + count, out.size());
    std::memcpy(out.data() + at, from, count);
  }
  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(size);
    put(out, 0, &header, sizeof header);
    put(out, kHeaders, &load, sizeof load);
    put(out, kHeaders + sizeof load, &dynamic, sizeof dynamic);
    put(out, kDynamic, entries.data(), entries.size() * sizeof entries[0]);
    put(out, kStrings, strings.data(), strings.size());
    return out;
  }
};
using Image64 = Image<Bits64>;
using Image32 = Image<Bits32>;

TEST(ElfSoname, ReadsTheVdsoOfEachArchitectureAndOfCompat) {
  EXPECT_EQ(elf_soname(Image64(EM_X86_64).bytes()), "linux-vdso.so.1");
  EXPECT_EQ(elf_soname(Image64(EM_AARCH64).bytes()), "linux-vdso.so.1");
  EXPECT_EQ(elf_soname(Image32(EM_386, "linux-gate.so.1").bytes()), "linux-gate.so.1");
  EXPECT_EQ(elf_soname(Image32(EM_ARM).bytes()), "linux-vdso.so.1");
}

TEST(ElfSoname, SaysWhatIsThereWhateverItIs) {
  EXPECT_EQ(elf_soname(Image64(EM_X86_64, "libc.so.6").bytes()), "libc.so.6");
  EXPECT_EQ(elf_soname(Image64(EM_X86_64, "").bytes()), "");
}

TEST(VdsoSoname, IsOneOfTheKernelsAndNothingThatLooksLikeIt) {
  EXPECT_TRUE(image::is_vdso_soname("linux-vdso.so.1"));
  EXPECT_TRUE(image::is_vdso_soname("linux-gate.so.1"));
  for (const std::string_view other : {"", "libc.so.6", "linux-vdso", "linux-vdso.so.1x",
                                       "linux-gate", "xlinux-vdso.so.1", "LINUX-VDSO.SO.1"}) {
    EXPECT_FALSE(image::is_vdso_soname(other)) << other;
  }
  EXPECT_FALSE(image::is_vdso_soname(std::string_view("linux-vdso.so.1\0", 16)));
}

// Cut short at every length: what is left is read within bounds (the sanitizers' run sees to it),
// and the name is told only where its last byte is there.
template <typename Bits>
void cut_everywhere(std::uint16_t machine) {
  const Image<Bits> image(machine);
  const std::vector<std::byte> whole = image.bytes();
  const std::size_t end_of_name = kStrings + image.strings.size();
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    // A copy of just that many bytes, so that one byte too far is past the allocation.
    const std::vector<std::byte> cut(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(length));
    const auto soname = elf_soname(cut);
    ASSERT_EQ(soname.has_value(), length >= end_of_name) << "cut to " << length;
  }
}
TEST(ElfSoname, OfATruncatedFile) {
  cut_everywhere<Bits64>(EM_AARCH64);
  cut_everywhere<Bits32>(EM_ARM);
}

TEST(ElfSoname, OfWhatIsNoElfFile) {
  EXPECT_EQ(elf_soname({}), std::nullopt);
  EXPECT_EQ(elf_soname(std::vector<std::byte>(0x2000)), std::nullopt);
  EXPECT_EQ(elf_soname(std::vector<std::byte>(0x2000, std::byte{0xFF})), std::nullopt);
  std::vector<std::byte> archive(0x1000);
  std::memcpy(archive.data(), "!<arch>\n", 8);
  EXPECT_EQ(elf_soname(archive), std::nullopt) << "libelf knows archives too";
}

/// One way to break an image. What comes of it is nullopt, but for those that change nothing.
struct Broken {
  const char* name;
  void (*how)(Image64& image);
};
constexpr std::uint64_t kHuge = ~std::uint64_t{0};
const Broken kBroken[] = {
    {"BadClass", [](Image64& i) { i.header.e_ident[EI_CLASS] = 7; }},
    {"ClassOfTheOtherSize", [](Image64& i) { i.header.e_ident[EI_CLASS] = ELFCLASS32; }},
    {"OtherByteOrder", [](Image64& i) { i.header.e_ident[EI_DATA] = ELFDATA2MSB; }},
    {"HeadersPastTheEnd", [](Image64& i) { i.header.e_phoff = i.size; }},
    {"HeadersStraddleTheEnd",
     [](Image64& i) { i.header.e_phoff = i.size - sizeof(Elf64_Phdr) / 2; }},
    {"HeadersAtTheLastAddress", [](Image64& i) { i.header.e_phoff = kHuge; }},
    {"HeadersWrapAround", [](Image64& i) { i.header.e_phoff = kHuge - sizeof(Elf64_Phdr) + 1; }},
    {"NoHeaders", [](Image64& i) { i.header.e_phnum = 0; }},
    {"HeaderCountInASectionThatIsNotThere",
     [](Image64& i) {
       i.header.e_phnum = PN_XNUM;
       i.header.e_shoff = kHuge - 8;
       i.header.e_shnum = 1;
     }},
    {"NoDynamicSegment", [](Image64& i) { i.dynamic.p_type = PT_NOTE; }},
    {"DynamicPastTheEnd", [](Image64& i) { i.dynamic.p_offset = i.size + 1; }},
    {"DynamicAtTheEnd", [](Image64& i) { i.dynamic.p_offset = i.size; }},
    {"DynamicAtTheLastAddress", [](Image64& i) { i.dynamic.p_offset = kHuge; }},
    {"DynamicEmpty", [](Image64& i) { i.dynamic.p_filesz = 0; }},
    {"DynamicSmallerThanAnEntry", [](Image64& i) { i.dynamic.p_filesz = 15; }},
    {"DynamicEndsBeforeTheName", [](Image64& i) { i.dynamic.p_filesz = 16; }},
    {"NoSoname", [](Image64& i) { i.entries[1].d_tag = DT_DEBUG; }},
    {"NoStrings", [](Image64& i) { i.entries[0].d_tag = DT_DEBUG; }},
    {"NameBehindTheLastEntry", [](Image64& i) { std::swap(i.entries[1], i.entries[3]); }},
    {"StringsPastTheEnd", [](Image64& i) { i.value_of(DT_STRTAB) = i.size; }},
    {"StringsAtAKernelAddress",
     [](Image64& i) { i.value_of(DT_STRTAB) = 0xffffffff81000000 + kStrings; }},
    {"StringsAtTheLastAddress", [](Image64& i) { i.value_of(DT_STRTAB) = kHuge; }},
    {"NamePastTheEnd", [](Image64& i) { i.value_of(DT_SONAME) = i.size - kStrings; }},
    {"NameAtTheLastAddress", [](Image64& i) { i.value_of(DT_SONAME) = kHuge; }},
    {"SumOfBothWrapsToTheName",
     [](Image64& i) { i.value_of(DT_SONAME) = 0 - kStrings + kStrings / 2; }},
    {"NameWithoutAnEnd",
     [](Image64& i) {
       i.strings.back() = 'x';
       i.strings.resize(i.size - kStrings, 'x');
     }},
};

class BrokenImage : public testing::TestWithParam<Broken> {};
INSTANTIATE_TEST_SUITE_P(Vdso, BrokenImage, testing::ValuesIn(kBroken),
                         [](const auto& one) { return one.param.name; });

TEST_P(BrokenImage, HasNoSoname) {
  Image64 image(EM_X86_64);
  ASSERT_EQ(elf_soname(image.bytes()), "linux-vdso.so.1") << "whole before it was broken";
  GetParam().how(image);
  EXPECT_EQ(elf_soname(image.bytes()), std::nullopt);
}

TEST(ElfSoname, LooksOnlyAtWhatTheDynamicSegmentHas) {
  Image64 longer(EM_X86_64);
  longer.dynamic.p_filesz = kHuge;
  EXPECT_EQ(elf_soname(longer.bytes()), "linux-vdso.so.1") << "cut to the file";
  Image64 odd(EM_X86_64);
  odd.entries.insert(odd.entries.begin(), Elf64_Dyn{DT_HASH, {0x1F0}});
  odd.dynamic.p_filesz = 4 * sizeof(Elf64_Dyn) + 3;
  EXPECT_EQ(elf_soname(odd.bytes()), "linux-vdso.so.1") << "part of an entry does not count";
  // Of several dynamic segments that are there the first counts, as for the dynamic linker.
  Image64 two(EM_X86_64);
  two.load = two.dynamic;
  two.load.p_filesz = 0;
  EXPECT_EQ(elf_soname(two.bytes()), std::nullopt);
}

/// This process's own vdso: a real one, of two pages at most.
std::vector<std::byte> own_vdso() {
  const auto* start = reinterpret_cast<const std::byte*>(::getauxval(AT_SYSINFO_EHDR));
  const Elf64_Ehdr* header = reinterpret_cast<const Elf64_Ehdr*>(start);
  // Section headers are what it ends with.
  return {start, start + header->e_shoff + std::size_t{header->e_shnum} * header->e_shentsize};
}

TEST(ExportedFunctions, AreThoseOfARealVdso) {
  const auto image = own_vdso();
  const auto functions = image::exported_functions(image);
  ASSERT_FALSE(functions.empty());
  EXPECT_TRUE(std::any_of(functions.begin(), functions.end(), [](const auto& function) {
    return function.name.find("clock_gettime") != std::string::npos;
  }));
  for (std::size_t i = 0; i < functions.size(); ++i) {
    EXPECT_LE(functions[i].offset + functions[i].bytes, image.size());
    const std::uint64_t before = i == 0 ? 0 : functions[i - 1].offset + functions[i - 1].bytes;
    EXPECT_GE(functions[i].offset, before);
  }
}

TEST(ExportedFunctions, OfABrokenImageAreNoneOrInside) {
  const auto whole = own_vdso();
  for (std::size_t size = 0; size < whole.size(); size += 61) {
    const std::span<const std::byte> cut(whole.data(), size);
    for (const auto& function : image::exported_functions(cut)) {
      EXPECT_LE(function.offset + function.bytes, size);
    }
  }
  // Each word of the headers in turn is nonsense.
  for (std::size_t at = 0; at + 4 <= sizeof(Elf64_Ehdr); at += 4) {
    auto broken = whole;
    std::memset(broken.data() + at, 0xFF, 4);
    for (const auto& function : image::exported_functions(broken)) {
      EXPECT_LE(function.offset + function.bytes, broken.size());
    }
  }
}

}  // namespace
}  // namespace sealvisor::test
