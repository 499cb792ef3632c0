#include "vmm/image/vdso.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <gelf.h>
#include <libelf.h>

namespace sealvisor::image {

std::optional<std::string> elf_soname(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Elf32_Ehdr)) return std::nullopt;
  if (elf_version(EV_CURRENT) == EV_NONE) return std::nullopt;
  // libelf wants memory that it may convert in place.
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  const std::unique_ptr<Elf, decltype(&elf_end)> elf(
      elf_memory(reinterpret_cast<char*>(copy.data()), copy.size()), &elf_end);
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF) return std::nullopt;
  std::size_t headers = 0;
  if (elf_getphdrnum(elf.get(), &headers) != 0) return std::nullopt;
  for (std::size_t i = 0; i < headers; ++i) {
    GElf_Phdr header{};
    if (gelf_getphdr(elf.get(), static_cast<int>(i), &header) == nullptr) return std::nullopt;
    if (header.p_type != PT_DYNAMIC || header.p_offset > copy.size()) continue;
    const std::size_t size = std::min<std::size_t>(header.p_filesz, copy.size() - header.p_offset);
    Elf_Data* data = elf_getdata_rawchunk(elf.get(), static_cast<std::int64_t>(header.p_offset),
                                          size, ELF_T_DYN);
    if (data == nullptr) return std::nullopt;
    const std::size_t entry = gelf_fsize(elf.get(), ELF_T_DYN, 1, EV_CURRENT);
    std::optional<std::size_t> soname;
    std::optional<std::size_t> strings;
    for (std::size_t n = 0; entry != 0 && n < data->d_size / entry; ++n) {
      GElf_Dyn dynamic{};
      if (gelf_getdyn(data, static_cast<int>(n), &dynamic) == nullptr) break;
      if (dynamic.d_tag == DT_NULL) break;
      if (dynamic.d_tag == DT_SONAME) soname = dynamic.d_un.d_val;
      // A vdso is linked at 0, so its string table's address is its offset in the file.
      if (dynamic.d_tag == DT_STRTAB) strings = dynamic.d_un.d_ptr;
    }
    if (!soname || !strings || *strings >= bytes.size() || *soname >= bytes.size() - *strings) {
      return std::nullopt;
    }
    const auto* first = reinterpret_cast<const char*>(bytes.data() + *strings + *soname);
    const auto* last = reinterpret_cast<const char*>(bytes.data() + bytes.size());
    const auto* end = std::find(first, last, '\0');
    if (end == last) return std::nullopt;
    return std::string(first, end);
  }
  return std::nullopt;
}

std::vector<ExportedFunction> exported_functions(std::span<const std::byte> bytes) {
  std::vector<ExportedFunction> functions;
  if (bytes.size() < sizeof(Elf64_Ehdr) || elf_version(EV_CURRENT) == EV_NONE) return functions;
  // libelf wants memory that it may convert in place.
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  const std::unique_ptr<Elf, decltype(&elf_end)> elf(
      elf_memory(reinterpret_cast<char*>(copy.data()), copy.size()), &elf_end);
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF ||
      gelf_getclass(elf.get()) != ELFCLASS64) {
    return functions;
  }
  for (Elf_Scn* section = elf_nextscn(elf.get(), nullptr); section != nullptr;
       section = elf_nextscn(elf.get(), section)) {
    GElf_Shdr header{};
    if (gelf_getshdr(section, &header) == nullptr || header.sh_type != SHT_DYNSYM) continue;
    Elf_Data* data = elf_getdata(section, nullptr);
    GElf_Sym symbol{};
    for (int i = 0; data != nullptr && gelf_getsym(data, i, &symbol) != nullptr; ++i) {
      const char* name = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
      const bool inside =
          symbol.st_value < copy.size() && symbol.st_size <= copy.size() - symbol.st_value;
      if (name == nullptr || *name == 0 || symbol.st_shndx == SHN_UNDEF || symbol.st_size == 0 ||
          !inside || GELF_ST_TYPE(symbol.st_info) != STT_FUNC) {
        continue;
      }
      functions.push_back({symbol.st_value, symbol.st_size, name});
    }
  }
  std::sort(functions.begin(), functions.end(),
            [](const ExportedFunction& a, const ExportedFunction& b) {
              return a.offset != b.offset ? a.offset < b.offset : a.name < b.name;
            });
  // Each place once, none in another.
  std::vector<ExportedFunction> apart;
  for (ExportedFunction& function : functions) {
    if (!apart.empty() && function.offset - apart.back().offset < apart.back().bytes) continue;
    apart.push_back(std::move(function));
  }
  return apart;
}

bool is_vdso_soname(std::string_view soname) {
  return soname == "linux-vdso.so.1" || soname == "linux-gate.so.1";
}

}  // namespace sealvisor::image
