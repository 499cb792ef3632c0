// Symbols of a kernel: addresses to functions and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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
  [[nodiscard]] std::optional<std::uint64_t> address_of(std::string_view name) const;
  [[nodiscard]] std::size_t size() const { return functions_.size(); }

 private:
  struct Function {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::string name;
  };
  [[nodiscard]] const Function* find(std::uint64_t address) const;

  std::vector<Function> functions_;  // sorted by address
  std::unordered_map<std::string, std::uint64_t> addresses_;
};

}  // namespace sealvisor::image
