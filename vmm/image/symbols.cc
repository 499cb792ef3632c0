#include "vmm/image/symbols.h"

#include <algorithm>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <gelf.h>
#include <libelf.h>

#include "vmm/base/fd.h"

namespace sealvisor::image {

Result<SymbolTable> SymbolTable::load(const std::filesystem::path& vmlinux) {
  const Fd fd(::open(vmlinux.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(ExitCode::Usage, "symbols " + vmlinux.string());
  const auto refuse = [&](const char* why) {
    return Error{ExitCode::Usage, fmt::format("symbols {}: {}", vmlinux.string(), why)};
  };
  if (elf_version(EV_CURRENT) == EV_NONE) return refuse("libelf is of another version");
  const std::unique_ptr<Elf, decltype(&elf_end)> elf(elf_begin(fd.get(), ELF_C_READ_MMAP, nullptr),
                                                     &elf_end);
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF) return refuse("not an ELF file");
  SymbolTable table;
  GElf_Ehdr file_header{};
  if (gelf_getehdr(elf.get(), &file_header) == nullptr) return refuse("unreadable ELF header");
  if (file_header.e_machine == EM_X86_64) table.arch_ = arch::Arch::X86_64;
  if (file_header.e_machine == EM_AARCH64) table.arch_ = arch::Arch::Arm64;
  for (Elf_Scn* section = elf_nextscn(elf.get(), nullptr); section != nullptr;
       section = elf_nextscn(elf.get(), section)) {
    GElf_Shdr header{};
    if (gelf_getshdr(section, &header) == nullptr || header.sh_type != SHT_SYMTAB) continue;
    Elf_Data* data = elf_getdata(section, nullptr);
    Elf_Scn* strings = elf_getscn(elf.get(), header.sh_link);
    const Elf_Data* names = strings == nullptr ? nullptr : elf_getdata(strings, nullptr);
    if (data == nullptr || header.sh_entsize == 0 || names == nullptr || names->d_buf == nullptr) {
      return refuse("unreadable symbol table");
    }
    const std::size_t base = table.names_.size();
    table.names_.append(static_cast<const char*>(names->d_buf), names->d_size).push_back('\0');
    const std::size_t count = data->d_size / header.sh_entsize;
    table.symbols_.reserve(table.symbols_.size() + count);
    table.functions_.reserve(table.functions_.size() + count);
    for (std::size_t i = 0; i < count; ++i) {
      GElf_Sym symbol{};
      if (gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr) break;
      if (symbol.st_name >= names->d_size || symbol.st_shndx == SHN_UNDEF) continue;
      const Symbol named{symbol.st_value, symbol.st_size, base + symbol.st_name};
      const unsigned type = GELF_ST_TYPE(symbol.st_info);
      if (table.name_of(named).empty() || type == STT_FILE || type == STT_SECTION) continue;
      table.symbols_.push_back(named);
      if (type == STT_FUNC) table.functions_.push_back(named);
    }
  }
  if (table.functions_.empty()) return refuse("no symbol table with functions");
  std::sort(table.functions_.begin(), table.functions_.end(),
            [&](const Symbol& a, const Symbol& b) {
              if (a.address != b.address) return a.address < b.address;
              return table.name_of(a) < table.name_of(b);
            });
  return table;
}

const SymbolTable::Symbol* SymbolTable::find(std::uint64_t address) const {
  auto next = std::upper_bound(
      functions_.begin(), functions_.end(), address,
      [](std::uint64_t value, const Symbol& function) { return value < function.address; });
  if (next == functions_.begin()) return nullptr;
  const Symbol& function = *std::prev(next);
  // Assembly functions may have no size: they reach to the next one.
  const bool inside = function.size == 0 || address - function.address < function.size;
  return inside ? &function : nullptr;
}

std::optional<std::string_view> SymbolTable::function(std::uint64_t address) const {
  const Symbol* found = find(address);
  if (found == nullptr) return std::nullopt;
  return name_of(*found);
}

std::optional<std::string> SymbolTable::describe(std::uint64_t address) const {
  const Symbol* found = find(address);
  if (found == nullptr) return std::nullopt;
  return fmt::format("{}+{:#x}", name_of(*found), address - found->address);
}

std::optional<std::uint64_t> SymbolTable::address_of(std::string_view name) const {
  for (const Symbol& symbol : symbols_) {
    if (name_of(symbol) == name) return symbol.address;
  }
  return std::nullopt;
}

}  // namespace sealvisor::image
