#include "vmm/image/symbols.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>

#include <fmt/format.h>

namespace sealvisor::image {

namespace {

/// Read at once: a whole number of symbols.
constexpr std::size_t kSymbolsAtOnce = 1024;
constexpr std::size_t kBytesAtOnce = kSymbolsAtOnce * sizeof(Elf64_Sym);

/// Fills `out` from `offset` on; false: there are fewer bytes, or they can't be read.
bool read_at(const Fd& file, std::uint64_t offset, std::span<char> out) {
  if (::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return false;
  while (!out.empty()) {
    const ssize_t got = ::read(file.get(), out.data(), out.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

/// Calls `each` with the symbols of a table in turn, until it returns false. False: unreadable.
bool for_each_symbol(const Fd& file, std::uint64_t offset, std::uint64_t bytes,
                     const std::function<bool(const Elf64_Sym&)>& each) {
  std::vector<Elf64_Sym> some(kSymbolsAtOnce);
  for (std::uint64_t left = bytes / sizeof(Elf64_Sym); left > 0;) {
    const std::size_t count = std::min<std::uint64_t>(left, some.size());
    if (!read_at(file, offset, {reinterpret_cast<char*>(some.data()), count * sizeof(Elf64_Sym)})) {
      return false;
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (!each(some[i])) return true;
    }
    left -= count;
    offset += count * sizeof(Elf64_Sym);
  }
  return true;
}

/// Whether it names a place in the kernel.
bool is_named(const Elf64_Sym& symbol) {
  const unsigned type = ELF64_ST_TYPE(symbol.st_info);
  return symbol.st_name != 0 && symbol.st_shndx != SHN_UNDEF && type != STT_FILE &&
         type != STT_SECTION;
}

/// Code that does not follow the rules of calls, as where the kernel is entered, has a size and no
/// type (6.12: include/linux/linkage.h, SYM_CODE_START).
bool is_function(const Elf64_Sym& symbol) {
  const unsigned type = ELF64_ST_TYPE(symbol.st_info);
  return is_named(symbol) && (type == STT_FUNC || (type == STT_NOTYPE && symbol.st_size != 0));
}

/// A place in the strings where one of the wanted names stands.
struct NamePlace {
  std::uint32_t offset = 0;
  std::size_t wanted = 0;  ///< Which one.
};

/// Finds all of them. The linker lets a name be the end of a longer one (ld's string merging), so
/// each string is compared from its end.
class NameSearch {
 public:
  explicit NameSearch(std::span<const std::string_view> names) : names_(names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i].empty() || names[i].size() > kLongestSymbolName) continue;
      by_last_.at(static_cast<unsigned char>(names[i].back())).push_back(i);
    }
  }

  /// In order of their offsets; empty if the strings can't be read.
  [[nodiscard]] std::vector<NamePlace> run(const Fd& file, std::uint64_t offset,
                                           std::uint64_t bytes) {
    // What was read last stays before what is read next: a name may lie across.
    std::string text;
    for (std::uint64_t done = 0; done < bytes;) {
      text.erase(0, text.size() - std::min(text.size(), kLongestSymbolName));
      const std::size_t kept = text.size();
      const std::size_t count = std::min<std::uint64_t>(bytes - done, kBytesAtOnce);
      text.resize(kept + count);
      if (!read_at(file, offset + done, std::span(text).subspan(kept))) return {};
      look(text, kept, done - kept);
      done += count;
    }
    std::sort(found_.begin(), found_.end(),
              [](const NamePlace& a, const NamePlace& b) { return a.offset < b.offset; });
    return std::move(found_);
  }

 private:
  /// `text`, of which [0, kept) was looked at before, begins at `base` of the strings.
  void look(const std::string& text, std::size_t kept, std::uint64_t base) {
    for (std::size_t end = text.find('\0', kept); end != std::string::npos;
         end = text.find('\0', end + 1)) {
      if (end == 0) continue;
      for (const std::size_t i : by_last_[static_cast<unsigned char>(text[end - 1])]) {
        const std::string_view name = names_[i];
        if (end < name.size()) continue;
        const std::size_t start = end - name.size();
        if (std::memcmp(text.data() + start, name.data(), name.size()) != 0) continue;
        found_.push_back({static_cast<std::uint32_t>(base + start), i});
      }
    }
  }

  std::span<const std::string_view> names_;
  std::array<std::vector<std::size_t>, 256> by_last_;
  std::vector<NamePlace> found_;
};

}  // namespace

Result<SymbolTable> SymbolTable::load(const std::filesystem::path& vmlinux) {
  const auto refuse = [&](const char* why) {
    return Error{ExitCode::Usage, fmt::format("symbols {}: {}", vmlinux.string(), why)};
  };
  SymbolTable table;
  // Not blocking: a FIFO is refused rather than waited for.
  table.file_ = Fd(::open(vmlinux.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!table.file_.valid() || ::fstat(table.file_.get(), &status) != 0) {
    return errno_error(ExitCode::Usage, "symbols " + vmlinux.string());
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (!S_ISREG(status.st_mode)) return refuse("not an ELF file");
  if (elf_version(EV_CURRENT) == EV_NONE) return refuse("libelf is of another version");
  // Goes when this returns: what is asked for later is read without it, in pieces.
  const std::unique_ptr<Elf, decltype(&elf_end)> elf(
      elf_begin(table.file_.get(), ELF_C_READ, nullptr), &elf_end);
  GElf_Ehdr header{};
  if (elf == nullptr || elf_kind(elf.get()) != ELF_K_ELF) return refuse("not an ELF file");
  if (gelf_getehdr(elf.get(), &header) == nullptr) return refuse("unreadable ELF header");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return refuse("not a 64-bit little-endian ELF file");
  }
  if (header.e_machine == EM_X86_64) table.arch_ = arch::Arch::X86_64;
  if (header.e_machine == EM_AARCH64) table.arch_ = arch::Arch::Arm64;

  GElf_Shdr symbols{};
  Elf_Scn* section = nullptr;
  do {
    section = elf_nextscn(elf.get(), section);
  } while (section != nullptr &&
           (gelf_getshdr(section, &symbols) == nullptr || symbols.sh_type != SHT_SYMTAB));
  if (section == nullptr) return refuse("no symbol table with functions");
  GElf_Shdr names{};
  Elf_Scn* strings = elf_getscn(elf.get(), symbols.sh_link);
  const auto inside = [&](const GElf_Shdr& one) {
    return one.sh_offset <= size && one.sh_size <= size - one.sh_offset;
  };
  // A name's offset has 32 bits.
  if (symbols.sh_entsize != sizeof(Elf64_Sym) || strings == nullptr ||
      gelf_getshdr(strings, &names) == nullptr || !inside(symbols) || !inside(names) ||
      names.sh_size > std::numeric_limits<std::uint32_t>::max()) {
    return refuse("unreadable symbol table");
  }
  table.table_ = {symbols.sh_offset, symbols.sh_size};
  table.names_ = {names.sh_offset, names.sh_size};
  bool has_function = false;
  const bool readable = for_each_symbol(table.file_, table.table_.offset, table.table_.bytes,
                                        [&](const Elf64_Sym& symbol) {
                                          has_function = is_function(symbol);
                                          return !has_function;
                                        });
  if (!readable) return refuse("unreadable symbol table");
  if (!has_function) return refuse("no symbol table with functions");
  return table;
}

const std::vector<SymbolTable::Function>& SymbolTable::functions() const {
  if (functions_) return *functions_;
  std::vector<Function>& functions = functions_.emplace();
  const auto each_function = [this](const std::function<void(const Elf64_Sym&)>& what) {
    return for_each_symbol(file_, table_.offset, table_.bytes, [&](const Elf64_Sym& symbol) {
      if (is_function(symbol) && symbol.st_name < names_.bytes) what(symbol);
      return true;
    });
  };
  // Counted first: a vector that grows takes up to three times as much memory while it does.
  std::size_t count = 0;
  if (!each_function([&](const Elf64_Sym&) { ++count; })) return functions;
  functions.reserve(count);
  static_cast<void>(each_function([&](const Elf64_Sym& symbol) {
    functions.push_back({symbol.st_value,
                         static_cast<std::uint32_t>(std::min<std::uint64_t>(
                             symbol.st_size, std::numeric_limits<std::uint32_t>::max())),
                         symbol.st_name});
  }));
  std::sort(functions.begin(), functions.end(), [](const Function& a, const Function& b) {
    return a.address != b.address ? a.address < b.address : a.name < b.name;
  });
  return functions;
}

std::size_t SymbolTable::size() const { return functions().size(); }

std::vector<SymbolTable::Extent> SymbolTable::extents() const {
  std::vector<Extent> extents;
  extents.reserve(functions().size());
  for (const Function& function : functions()) {
    if (!extents.empty()) {
      Extent& last = extents.back();
      const std::uint64_t room = function.address - last.start;
      if (room == 0) {
        last.bytes = std::max<std::uint64_t>(last.bytes, function.size);
        continue;
      }
      if (last.bytes == 0 || last.bytes > room) last.bytes = room;
    }
    extents.push_back({function.address, function.size});
  }
  return extents;
}

std::string SymbolTable::name_at(std::uint32_t offset) const {
  std::string name(std::min<std::uint64_t>(kLongestSymbolName, names_.bytes - offset), '\0');
  if (!read_at(file_, names_.offset + offset, name)) return {};
  name.resize(std::min(name.find('\0'), name.size()));
  return name;
}

std::optional<SymbolTable::Found> SymbolTable::find(std::uint64_t address) const {
  auto next = std::upper_bound(
      functions().begin(), functions().end(), address,
      [](std::uint64_t value, const Function& function) { return value < function.address; });
  if (next == functions().begin()) return std::nullopt;
  const std::uint64_t start = std::prev(next)->address;
  // Of several names for one place the same one each time: the last by name.
  std::string name;
  std::uint32_t size = 0;
  while (next != functions().begin() && std::prev(next)->address == start) {
    --next;
    std::string other = name_at(next->name);
    if (other < name) continue;
    name = std::move(other);
    size = next->size;
  }
  // Assembly functions may have no size: they reach to the next one.
  if (name.empty() || (size != 0 && address - start >= size)) return std::nullopt;
  return Found{start, std::move(name)};
}

std::optional<std::string> SymbolTable::function(std::uint64_t address) const {
  auto found = find(address);
  if (!found) return std::nullopt;
  return std::move(found->name);
}

std::optional<std::string> SymbolTable::describe(std::uint64_t address) const {
  const auto found = find(address);
  if (!found) return std::nullopt;
  return fmt::format("{}+{:#x}", found->name, address - found->start);
}

std::vector<std::optional<std::uint64_t>> SymbolTable::addresses_of(
    std::span<const std::string_view> names) const {
  std::vector<std::optional<std::uint64_t>> addresses(names.size());
  const std::vector<NamePlace> candidates =
      NameSearch(names).run(file_, names_.offset, names_.bytes);
  if (candidates.empty()) return addresses;
  const auto at = [&](std::uint32_t offset) {
    return std::lower_bound(
        candidates.begin(), candidates.end(), offset,
        [](const NamePlace& one, std::uint32_t value) { return one.offset < value; });
  };
  static_cast<void>(
      for_each_symbol(file_, table_.offset, table_.bytes, [&](const Elf64_Sym& symbol) {
        for (auto found = at(symbol.st_name);
             found != candidates.end() && found->offset == symbol.st_name; ++found) {
          auto& address = addresses[found->wanted];
          if (!address && is_named(symbol)) address = symbol.st_value;
        }
        return true;
      }));
  return addresses;
}

}  // namespace sealvisor::image
