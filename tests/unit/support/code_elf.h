// A minimal ELF file with code: its sections are none and .text.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace sealvisor::test {

inline std::string elf_with_code(std::uint64_t address, const std::string& code) {
  const std::size_t code_at = sizeof(Elf64_Ehdr);
  const std::size_t sections_at = (code_at + code.size() + 7) & ~std::size_t{7};
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
  header.e_shnum = 2;
  Elf64_Shdr sections[2] = {};
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_flags = SHF_ALLOC | SHF_EXECINSTR;
  sections[1].sh_addr = address;
  sections[1].sh_offset = code_at;
  sections[1].sh_size = code.size();
  std::string bytes(sections_at + sizeof(sections), '\0');
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + code_at, code.data(), code.size());
  std::memcpy(bytes.data() + sections_at, sections, sizeof(sections));
  return bytes;
}

}  // namespace sealvisor::test
