// Symbols of a kernel: addresses to functions and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::image {

/// The symbol table of an ELF file (vmlinux), read once with libelf. Addresses are link-time ones:
/// right for a guest that boots with nokaslr.
class SymbolTable {
 public:
  /// Errors: unreadable, no ELF file, no symbol table (exit code Usage, the path is named).
  [[nodiscard]] static Result<SymbolTable> load(const std::filesystem::path& vmlinux);

  /// "function+0x12" for an address inside a known function; nullopt elsewhere.
  [[nodiscard]] std::optional<std::string> describe(std::uint64_t address) const;
  /// The name of the function that holds `address`.
  [[nodiscard]] std::optional<std::string_view> function(std::uint64_t address) const;
  /// Looks through all symbols: for the few that a run asks for.
  [[nodiscard]] std::optional<std::uint64_t> address_of(std::string_view name) const;
  /// The architecture of the file; nullopt: one that sealvisor does not verify.
  [[nodiscard]] std::optional<arch::Arch> arch() const { return arch_; }
  [[nodiscard]] std::size_t size() const { return functions_.size(); }

 private:
  struct Symbol {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::size_t name = 0;  ///< Where it begins in names_.
  };
  [[nodiscard]] const Symbol* find(std::uint64_t address) const;
  [[nodiscard]] std::string_view name_of(const Symbol& symbol) const {
    return names_.c_str() + symbol.name;
  }

  std::optional<arch::Arch> arch_;
  std::string names_;              // as in the file: each ends in a NUL
  std::vector<Symbol> functions_;  // sorted by address
  std::vector<Symbol> symbols_;    // all but files and sections
};

}  // namespace sealvisor::image
