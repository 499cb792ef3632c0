// Finding a function in a vdso by its name. Pure: works on the bytes of the image, whatever they
// are.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace sealvisor::agent {

/// The types of an ELF file of 64 bits, and of 32.
struct Elf64 {
  static constexpr unsigned char kClass = ELFCLASS64;
  using Header = Elf64_Ehdr;
  using Segment = Elf64_Phdr;
  using Dynamic = Elf64_Dyn;
  using Symbol = Elf64_Sym;
};
struct Elf32 {
  static constexpr unsigned char kClass = ELFCLASS32;
  using Header = Elf32_Ehdr;
  using Segment = Elf32_Phdr;
  using Dynamic = Elf32_Dyn;
  using Symbol = Elf32_Sym;
};

namespace detail {

/// The `Part` at `offset`; nullopt if it is not all there.
template <typename Part>
[[nodiscard]] std::optional<Part> part_at(std::span<const std::byte> image, std::uint64_t offset) {
  if (offset > image.size() || image.size() - offset < sizeof(Part)) return std::nullopt;
  Part part;
  std::memcpy(&part, image.data() + offset, sizeof part);
  return part;
}

/// True if a string that equals `name` lies at `offset`, with its NUL.
[[nodiscard]] inline bool name_is_at(std::span<const std::byte> image, std::uint64_t offset,
                                     std::string_view name) {
  if (offset >= image.size() || image.size() - offset <= name.size()) return false;
  const std::byte* at = image.data() + offset;
  return std::memcmp(at, name.data(), name.size()) == 0 && at[name.size()] == std::byte{0};
}

/// Offsets of the dynamic symbols and of their names.
struct Tables {
  std::uint64_t symbols = 0;
  std::uint64_t names = 0;
};

template <typename Elf>
[[nodiscard]] Tables find_tables(std::span<const std::byte> image, std::uint64_t dynamic) {
  Tables tables;
  for (;; dynamic += sizeof(typename Elf::Dynamic)) {
    const auto entry = part_at<typename Elf::Dynamic>(image, dynamic);
    if (!entry || entry->d_tag == DT_NULL) return tables;
    if (entry->d_tag == DT_SYMTAB) tables.symbols = entry->d_un.d_ptr;
    if (entry->d_tag == DT_STRTAB) tables.names = entry->d_un.d_ptr;
  }
}

/// Offset of the dynamic section; 0: none.
template <typename Elf>
[[nodiscard]] std::uint64_t find_dynamic(std::span<const std::byte> image) {
  const auto header = part_at<typename Elf::Header>(image, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != Elf::kClass || header->e_ident[EI_DATA] != ELFDATA2LSB) {
    return 0;
  }
  std::uint64_t at = header->e_phoff;
  for (unsigned i = 0; i < header->e_phnum; ++i, at += sizeof(typename Elf::Segment)) {
    const auto segment = part_at<typename Elf::Segment>(image, at);
    if (!segment) return 0;
    if (segment->p_type == PT_DYNAMIC) return segment->p_offset;
  }
  return 0;
}

}  // namespace detail

/// Where the function `name` is, in bytes from the start of `image`: a vdso as it is in memory,
/// linked at 0 (vdso(7)). nullopt: no such function, or no such image.
///
/// A vdso has no word on how many symbols there are that each version of it has; its linker puts
/// their names behind them, and there the search ends.
template <typename Elf>
[[nodiscard]] std::optional<std::uint64_t> find_vdso_function(std::span<const std::byte> image,
                                                              std::string_view name) {
  const std::uint64_t dynamic = detail::find_dynamic<Elf>(image);
  if (dynamic == 0) return std::nullopt;
  const detail::Tables tables = detail::find_tables<Elf>(image, dynamic);
  if (tables.symbols == 0 || tables.names == 0) return std::nullopt;
  constexpr std::uint64_t kSize = sizeof(typename Elf::Symbol);
  for (std::uint64_t at = tables.symbols; at < tables.names; at += kSize) {
    const auto symbol = detail::part_at<typename Elf::Symbol>(image, at);
    if (!symbol) return std::nullopt;
    // The same bits in both classes (ELF specification, "Symbol Table").
    const bool function = ELF64_ST_TYPE(symbol->st_info) == STT_FUNC;
    if (!function || symbol->st_shndx == SHN_UNDEF || symbol->st_value >= image.size()) continue;
    if (symbol->st_name >= image.size() || tables.names >= image.size()) continue;
    if (detail::name_is_at(image, tables.names + symbol->st_name, name)) return symbol->st_value;
  }
  return std::nullopt;
}

}  // namespace sealvisor::agent
