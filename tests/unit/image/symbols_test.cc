#include "vmm/image/symbols.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace sealvisor::image {
namespace {

struct Symbol {
  const char* name;
  std::uint64_t address;
  std::uint64_t size;
  unsigned char type;
};

/// A minimal ELF file whose sections are: none, .symtab, .strtab.
std::string elf_with(const std::vector<Symbol>& symbols, bool keep_table = true) {
  std::string strings(1, '\0');
  std::vector<Elf64_Sym> entries(1);
  for (const Symbol& symbol : symbols) {
    Elf64_Sym entry{};
    entry.st_name = static_cast<Elf64_Word>(strings.size());
    entry.st_info = ELF64_ST_INFO(STB_GLOBAL, symbol.type);
    entry.st_shndx = SHN_ABS;
    entry.st_value = symbol.address;
    entry.st_size = symbol.size;
    entries.push_back(entry);
    strings += symbol.name;
    strings += '\0';
  }
  const std::size_t symtab_at = sizeof(Elf64_Ehdr);
  const std::size_t symtab_size = entries.size() * sizeof(Elf64_Sym);
  const std::size_t strtab_at = symtab_at + symtab_size;
  const std::size_t sections_at = (strtab_at + strings.size() + 7) & ~std::size_t{7};
  std::string bytes(sections_at + 3 * sizeof(Elf64_Shdr), '\0');
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shoff = sections_at;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + symtab_at, entries.data(), symtab_size);
  std::memcpy(bytes.data() + strtab_at, strings.data(), strings.size());
  Elf64_Shdr sections[3] = {};
  sections[1].sh_type = keep_table ? SHT_SYMTAB : SHT_PROGBITS;
  sections[1].sh_offset = symtab_at;
  sections[1].sh_size = symtab_size;
  sections[1].sh_link = 2;
  sections[1].sh_entsize = sizeof(Elf64_Sym);
  sections[2].sh_type = SHT_STRTAB;
  sections[2].sh_offset = strtab_at;
  sections[2].sh_size = strings.size();
  std::memcpy(bytes.data() + sections_at, sections, sizeof(sections));
  return bytes;
}

class SymbolsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "symbols-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::filesystem::path file(const std::string& bytes) const {
    const std::filesystem::path path = folder_ / "vmlinux";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  std::filesystem::path folder_;
};

TEST_F(SymbolsTest, FindsTheFunctionThatHoldsAnAddress) {
  const auto table = SymbolTable::load(file(elf_with({{"later", 0x2000, 0x10, STT_FUNC},
                                                      {"early", 0x1000, 0x20, STT_FUNC},
                                                      {"assembly", 0x3000, 0, STT_FUNC},
                                                      {"data", 0x1008, 8, STT_OBJECT},
                                                      {"_text", 0x1000, 0, STT_NOTYPE}})));
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().size(), 3U);
  EXPECT_EQ(table.value().describe(0x1000), "early+0x0");
  EXPECT_EQ(table.value().describe(0x101f), "early+0x1f");
  EXPECT_EQ(table.value().describe(0x1020), std::nullopt);
  EXPECT_EQ(table.value().describe(0xfff), std::nullopt);
  EXPECT_EQ(table.value().function(0x200f), "later");
  EXPECT_EQ(table.value().describe(0x3456), "assembly+0x456");
  EXPECT_EQ(table.value().address_of("data"), 0x1008U);
  EXPECT_EQ(table.value().address_of("_text"), 0x1000U);
  EXPECT_EQ(table.value().address_of("nobody"), std::nullopt);
}

TEST_F(SymbolsTest, FindsNamesThatAreTheEndOfOthersAndTheFirstOfSeveral) {
  std::string elf = elf_with({{"my_text", 0x1000, 0x10, STT_FUNC},
                              {"twice", 0x2000, 0x10, STT_FUNC},
                              {"twice", 0x3000, 0x10, STT_FUNC},
                              {"_text", 0x4000, 0, STT_NOTYPE},
                              {"twice", 0x5000, 0, STT_FILE}});
  // As the linker merges strings: the name of the fourth is the end of the first one's.
  const std::size_t entry = sizeof(Elf64_Ehdr) + 4 * sizeof(Elf64_Sym);
  const Elf64_Word merged = 3;  // "my_text" begins at 1
  std::memcpy(elf.data() + entry, &merged, sizeof merged);
  const auto table = SymbolTable::load(file(elf));
  ASSERT_TRUE(table) << table.error().message;
  const std::string_view names[] = {"twice", "_text", "", "text", "my_text", "twice"};
  const auto addresses = table.value().addresses_of(names);
  ASSERT_EQ(addresses.size(), 6U);
  EXPECT_EQ(addresses[0], 0x2000U);
  EXPECT_EQ(addresses[1], 0x4000U);
  EXPECT_EQ(addresses[2], std::nullopt);
  EXPECT_EQ(addresses[3], std::nullopt) << "no symbol begins there";
  EXPECT_EQ(addresses[4], 0x1000U);
  EXPECT_EQ(addresses[5], 0x2000U);
}

TEST_F(SymbolsTest, TellsWhereFunctionsLieNoneInAnother) {
  auto table = SymbolTable::load(file(elf_with({{"sized", 0x1000, 0x20, STT_FUNC},
                                                {"alias", 0x1000, 0x30, STT_FUNC},
                                                {"data", 0x1100, 0x40, STT_OBJECT},
                                                {"without_size", 0x2000, 0, STT_FUNC},
                                                {"reaches_into_the_next", 0x2040, 0x100, STT_FUNC},
                                                {"last", 0x2080, 0x10, STT_FUNC}})));
  ASSERT_TRUE(table.ok());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  for (const auto& one : table.value().extents()) extents.emplace_back(one.start, one.bytes);
  EXPECT_EQ(extents, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                         {0x1000, 0x30}, {0x2000, 0x40}, {0x2040, 0x40}, {0x2080, 0x10}}));
}

TEST_F(SymbolsTest, OfSeveralNamesForOnePlaceItIsTheSameOneEachTime) {
  const auto table = SymbolTable::load(file(elf_with({{"zeta", 0x1000, 0x20, STT_FUNC},
                                                      {"alpha", 0x1000, 0x10, STT_FUNC},
                                                      {"next", 0x2000, 0x10, STT_FUNC}})));
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().describe(0x1018), "zeta+0x18");
}

/// More than is read at once, with names that lie across two pieces.
TEST_F(SymbolsTest, ReadsALargeTableInPieces) {
  constexpr std::size_t kCount = 5000;
  std::vector<std::string> names;
  std::vector<Symbol> symbols;
  for (std::size_t i = 0; i < kCount; ++i) {
    names.push_back("function_with_a_name_of_its_own_" + std::to_string(i * i));
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    symbols.push_back({names[i].c_str(), 0x100000 - i * 0x10, 0x10, STT_FUNC});
  }
  const auto table = SymbolTable::load(file(elf_with(symbols)));
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().size(), kCount);
  const std::vector<std::string_view> wanted(names.begin(), names.end());
  const auto addresses = table.value().addresses_of(wanted);
  for (std::size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(addresses[i], symbols[i].address) << names[i];
    ASSERT_EQ(table.value().describe(symbols[i].address + 1), names[i] + "+0x1");
  }
}

TEST_F(SymbolsTest, AFileThatIsCutLaterHasNoSymbols) {
  const std::filesystem::path path =
      file(elf_with({{"early", 0x1000, 0x20, STT_FUNC}, {"_text", 0x1000, 0, STT_NOTYPE}}));
  const auto table = SymbolTable::load(path);
  ASSERT_TRUE(table) << table.error().message;
  std::filesystem::resize_file(path, sizeof(Elf64_Ehdr));
  EXPECT_EQ(table.value().address_of("_text"), std::nullopt);
  EXPECT_EQ(table.value().describe(0x1000), std::nullopt);
  EXPECT_EQ(table.value().size(), 0U);
}

TEST_F(SymbolsTest, NamesWhatCantBeRead) {
  const auto expect = [](const std::filesystem::path& path, const char* why) {
    const auto table = SymbolTable::load(path);
    ASSERT_FALSE(table.ok()) << why;
    EXPECT_EQ(table.error().code, ExitCode::Usage);
    EXPECT_NE(table.error().message.find(path.string()), std::string::npos);
    EXPECT_NE(table.error().message.find(why), std::string::npos) << table.error().message;
  };
  expect(folder_ / "absent", "No such file");
  expect(file("not an ELF file at all"), "not an ELF file");
  expect(file(""), "not an ELF file");
  expect(folder_, "not an ELF file");
  std::string narrow = elf_with({{"early", 0x1000, 0x20, STT_FUNC}});
  narrow[EI_CLASS] = ELFCLASS32;
  expect(file(narrow), "not a 64-bit little-endian ELF file");
  expect(file(elf_with({{"data", 0x1000, 0x20, STT_OBJECT}})), "no symbol table with functions");
  std::string far = elf_with({{"early", 0x1000, 0x20, STT_FUNC}});
  const std::uint64_t huge = ~std::uint64_t{0} - 7;
  const std::size_t section = far.size() - 2 * sizeof(Elf64_Shdr);
  std::memcpy(far.data() + section + offsetof(Elf64_Shdr, sh_size), &huge, sizeof huge);
  expect(file(far), "unreadable symbol table");
  expect(file(elf_with({{"early", 0x1000, 0x20, STT_FUNC}}, false)), "no symbol table");
}

TEST_F(SymbolsTest, SurvivesATruncatedFile) {
  const std::string whole = elf_with({{"early", 0x1000, 0x20, STT_FUNC}});
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    EXPECT_FALSE(SymbolTable::load(file(whole.substr(0, size))).ok()) << size;
  }
}

}  // namespace
}  // namespace sealvisor::image
