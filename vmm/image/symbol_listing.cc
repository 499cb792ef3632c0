#include "vmm/image/symbol_listing.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <numeric>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "vmm/image/symbols.h"

namespace sealvisor::image {

namespace {

/// An address, a type, two spaces, and a module's name in brackets.
constexpr std::size_t kLongestLine = kLongestSymbolName + 128;
constexpr std::size_t kNamesAtOnce = 64 * 1024;

Status write_all(const Fd& file, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file.get(), bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno_error(ExitCode::HostLacks, "keeping the guest's symbols");
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

/// nm(1): code that is global or not, and weak symbols, which are code in a kernel.
bool is_code(char type) { return type == 't' || type == 'T' || type == 'w' || type == 'W'; }

bool is_printable(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Result<SymbolListing> SymbolListing::create() {
  auto file = memory_file("sealvisor-symbols", 0, false);
  if (!file) return file.error();
  return SymbolListing(std::move(file).value());
}

Status SymbolListing::flush() {
  if (auto written = write_all(file_, names_); !written) return written;
  written_ += names_.size();
  names_.clear();
  return {};
}

Status SymbolListing::line(std::string_view text) {
  // "<address> <type> <name>"; of a module's there is a tab behind it (kernel/kallsyms.c, s_show).
  if (text.find('\t') != std::string_view::npos) return {};
  std::uint64_t address = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), address, 16);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || text.size() < digits + 4 || text[digits] != ' ' ||
      text[digits + 2] != ' ') {
    ++bad_lines_;
    return {};
  }
  const char type = text[digits + 1];
  const std::string_view name = text.substr(digits + 3);
  if (name.size() > kLongestSymbolName || !is_printable(name)) {
    ++bad_lines_;
    return {};
  }
  if (address == 0) return {};  // What is hidden, and offsets of data of each CPU.
  const std::uint64_t at = written_ + names_.size();
  if (symbols_.size() >= kMostSymbols || at + name.size() >= kMostNameBytes) {
    return Error{
        ExitCode::GuestFailed,
        fmt::format("the guest's /proc/kallsyms: more than {} symbols or {} bytes of names",
                    kMostSymbols, kMostNameBytes)};
  }
  Elf64_Sym symbol{};
  symbol.st_name = static_cast<Elf64_Word>(at);
  symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, is_code(type) ? STT_FUNC : STT_OBJECT);
  symbol.st_shndx = SHN_ABS;
  symbol.st_value = address;
  symbols_.push_back(symbol);
  names_.append(name).push_back('\0');
  return names_.size() < kNamesAtOnce ? Status() : flush();
}

Status SymbolListing::add(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view part = text.substr(0, end);
    // A line that never ends is not kept whole.
    rest_.append(part.substr(0, kLongestLine - std::min(kLongestLine, rest_.size())));
    if (end == std::string_view::npos) break;
    if (auto taken = line(rest_); !taken) return taken;
    rest_.clear();
    text.remove_prefix(end + 1);
  }
  return {};
}

void SymbolListing::size_functions() {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < symbols_.size(); ++i) {
    if (ELF64_ST_TYPE(symbols_[i].st_info) == STT_FUNC) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [this](std::size_t one, std::size_t other) {
    return symbols_[one].st_value < symbols_[other].st_value;
  });
  std::uint64_t next = 0;  // The least address above those that are behind.
  std::uint64_t here = 0;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    Elf64_Sym& symbol = symbols_[*i];
    if (symbol.st_value != here) next = std::exchange(here, symbol.st_value);
    symbol.st_size = next == 0 ? 1 : next - here;
  }
}

Result<SymbolTable> SymbolListing::finish(arch::Arch arch) {
  if (!rest_.empty()) {
    if (auto taken = line(rest_); !taken) return taken.error();
  }
  const bool any = std::any_of(symbols_.begin(), symbols_.end(), [](const Elf64_Sym& symbol) {
    return ELF64_ST_TYPE(symbol.st_info) == STT_FUNC;
  });
  if (!any) {
    return Error{ExitCode::GuestFailed,
                 "the guest's /proc/kallsyms has no function with an address"};
  }
  size_functions();
  if (auto written = flush(); !written) return written.error();
  const std::span<const Elf64_Sym> all(symbols_);
  if (auto written =
          write_all(file_, {reinterpret_cast<const char*>(all.data()), all.size_bytes()});
      !written) {
    return written.error();
  }
  SymbolTable table;
  table.arch_ = arch;
  table.file_ = std::move(file_);
  table.names_ = {0, written_};
  table.table_ = {written_, all.size_bytes()};
  symbols_ = {};
  return table;
}

}  // namespace sealvisor::image
