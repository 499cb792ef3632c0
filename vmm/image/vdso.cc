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

bool is_vdso_soname(std::string_view soname) {
  return soname == "linux-vdso.so.1" || soname == "linux-gate.so.1";
}

}  // namespace sealvisor::image
