#include "guest/agent/vdso_symbols.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace sealvisor::agent {
namespace {

/// Where an Image has what.
constexpr std::size_t kHeaders = 0x80;
constexpr std::size_t kDynamic = 0x200;
constexpr std::size_t kSymbols = 0x300;
constexpr std::size_t kSize = 0x1000;

/// An image laid out as a vdso is, with two functions. Tests break it.
template <typename Elf>
struct Image {
  typename Elf::Header header{};
  typename Elf::Segment load{};
  typename Elf::Segment dynamic{};
  typename Elf::Dynamic entries[3]{};
  typename Elf::Symbol symbols[3]{};  // The first one is empty in each file.
  std::string names{"\0__vdso_time\0__vdso_getcpu\0", 27};

  static constexpr std::size_t kNames = kSymbols + sizeof symbols;

  Image() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = Elf::kClass;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_phoff = kHeaders;
    header.e_phnum = 2;
    load.p_type = PT_LOAD;
    dynamic.p_type = PT_DYNAMIC;
    dynamic.p_offset = kDynamic;
    entries[0].d_tag = DT_STRTAB;
    entries[0].d_un.d_ptr = kNames;
    entries[1].d_tag = DT_SYMTAB;
    entries[1].d_un.d_ptr = kSymbols;
    symbols[1] = function(1, 0x800);
    symbols[2] = function(13, 0x905);
  }
  static typename Elf::Symbol function(std::uint32_t name, std::uint32_t value) {
    typename Elf::Symbol symbol{};
    symbol.st_name = name;
    symbol.st_value = value;
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 5;
    return symbol;
  }
  static void put(std::vector<std::byte>& out, std::size_t at, const void* from,
                  std::size_t count) {
    std::memcpy(out.data() + at, from, count);
  }
  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(kSize);
    put(out, 0, &header, sizeof header);
    put(out, kHeaders, &load, sizeof load);
    put(out, kHeaders + sizeof load, &dynamic, sizeof dynamic);
    put(out, kDynamic, entries, sizeof entries);
    put(out, kSymbols, symbols, sizeof symbols);
    put(out, kNames, names.data(), names.size());
    return out;
  }
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view name) const {
    return find_vdso_function<Elf>(bytes(), name);
  }
};

TEST(VdsoSymbols, FindsAFunctionByItsWholeName) {
  EXPECT_EQ(Image<Elf64>().find("__vdso_time"), 0x800U);
  EXPECT_EQ(Image<Elf64>().find("__vdso_getcpu"), 0x905U) << "odd as Thumb code is";
  EXPECT_EQ(Image<Elf32>().find("__vdso_time"), 0x800U);
  EXPECT_EQ(Image<Elf32>().find("__vdso_getcpu"), 0x905U);
  for (const char* other : {"", "time", "__vdso_tim", "__vdso_time_", "__vdso_getcpu2"}) {
    EXPECT_EQ(Image<Elf64>().find(other), std::nullopt) << other;
    EXPECT_EQ(Image<Elf32>().find(other), std::nullopt) << other;
  }
}

TEST(VdsoSymbols, OfTheOtherClassAreNone) {
  EXPECT_EQ(find_vdso_function<Elf64>(Image<Elf32>().bytes(), "__vdso_time"), std::nullopt);
  EXPECT_EQ(find_vdso_function<Elf32>(Image<Elf64>().bytes(), "__vdso_time"), std::nullopt);
}

// A copy of just that many bytes, so that one byte too far is past the allocation: the sanitizers'
// run sees to it.
template <typename Elf>
void cut_everywhere() {
  const std::vector<std::byte> whole = Image<Elf>().bytes();
  // The value lies in the image, and so does the name with its NUL.
  const std::size_t least = 0x906;
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    const std::vector<std::byte> cut(whole.begin(),
                                     whole.begin() + static_cast<std::ptrdiff_t>(length));
    ASSERT_EQ(find_vdso_function<Elf>(cut, "__vdso_getcpu").has_value(), length >= least) << length;
  }
}

TEST(VdsoSymbols, OfACutImageStayWithinIt) {
  cut_everywhere<Elf64>();
  cut_everywhere<Elf32>();
}

TEST(VdsoSymbols, OfWhatIsNoElfFileAreNone) {
  EXPECT_EQ(find_vdso_function<Elf64>({}, "x"), std::nullopt);
  EXPECT_EQ(find_vdso_function<Elf64>(std::vector<std::byte>(kSize), "x"), std::nullopt);
  EXPECT_EQ(find_vdso_function<Elf64>(std::vector<std::byte>(kSize, std::byte{0xff}), "x"),
            std::nullopt);
}

struct Broken {
  const char* name;
  void (*how)(Image<Elf64>& image);
};
constexpr std::uint64_t kHuge = ~std::uint64_t{0};
const Broken kBroken[] = {
    {"OtherByteOrder", [](Image<Elf64>& i) { i.header.e_ident[EI_DATA] = ELFDATA2MSB; }},
    {"NoHeaders", [](Image<Elf64>& i) { i.header.e_phnum = 0; }},
    {"HeadersAtTheLastAddress", [](Image<Elf64>& i) { i.header.e_phoff = kHuge; }},
    {"HeadersThatNeverEnd",
     [](Image<Elf64>& i) {
       i.header.e_phnum = 0xffff;
       i.dynamic.p_type = PT_NOTE;
     }},
    {"NoDynamicSegment", [](Image<Elf64>& i) { i.dynamic.p_type = PT_NOTE; }},
    {"DynamicAtTheLastAddress", [](Image<Elf64>& i) { i.dynamic.p_offset = kHuge; }},
    {"DynamicAtTheEnd", [](Image<Elf64>& i) { i.dynamic.p_offset = kSize - 8; }},
    {"NoSymbols", [](Image<Elf64>& i) { i.entries[1].d_tag = DT_DEBUG; }},
    {"NoNames", [](Image<Elf64>& i) { i.entries[0].d_tag = DT_DEBUG; }},
    {"SymbolsAtTheLastAddress", [](Image<Elf64>& i) { i.entries[1].d_un.d_ptr = kHuge - 4; }},
    {"SymbolsBehindTheirNames", [](Image<Elf64>& i) { i.entries[1].d_un.d_ptr = kSize - 64; }},
    {"NamesAtTheLastAddress", [](Image<Elf64>& i) { i.entries[0].d_un.d_ptr = kHuge; }},
    {"NameAtTheLastAddress", [](Image<Elf64>& i) { i.symbols[1].st_name = 0xffffffff; }},
    {"SumOfBothWraps",
     [](Image<Elf64>& i) {
       i.entries[0].d_un.d_ptr = kHuge - 3;
       i.symbols[1].st_name = Image<Elf64>::kNames + 5;
     }},
    {"ValuePastTheEnd", [](Image<Elf64>& i) { i.symbols[1].st_value = kSize; }},
    {"ValueAtTheLastAddress", [](Image<Elf64>& i) { i.symbols[1].st_value = kHuge; }},
    {"NoFunction",
     [](Image<Elf64>& i) { i.symbols[1].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT); }},
    {"FunctionOfAnotherFile", [](Image<Elf64>& i) { i.symbols[1].st_shndx = SHN_UNDEF; }},
};

class BrokenVdso : public testing::TestWithParam<Broken> {};
INSTANTIATE_TEST_SUITE_P(VdsoSymbols, BrokenVdso, testing::ValuesIn(kBroken),
                         [](const auto& one) { return one.param.name; });

TEST_P(BrokenVdso, HasNoSuchFunction) {
  Image<Elf64> image;
  ASSERT_TRUE(image.find("__vdso_time").has_value());
  GetParam().how(image);
  EXPECT_EQ(image.find("__vdso_time"), std::nullopt);
}

}  // namespace
}  // namespace sealvisor::agent
