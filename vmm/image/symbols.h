// Symbols of a kernel: addresses to functions and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::image {

/// Linux, include/linux/kallsyms.h, KSYM_NAME_LEN.
inline constexpr std::size_t kLongestSymbolName = 512;

/// What the monitor asks of a kernel's symbols. Addresses are link-time ones: right for a guest
/// that boots with nokaslr.
class Symbols {
 public:
  virtual ~Symbols() = default;
  /// "function+0x12" for an address inside a known function; nullopt elsewhere.
  [[nodiscard]] virtual std::optional<std::string> describe(std::uint64_t address) const = 0;
  /// Of each of `names` its address; of several symbols of a name the first one's. Names that are
  /// empty, or of no symbol, have none.
  [[nodiscard]] virtual std::vector<std::optional<std::uint64_t>> addresses_of(
      std::span<const std::string_view> names) const = 0;
  /// The same of one name.
  [[nodiscard]] std::optional<std::uint64_t> address_of(std::string_view name) const {
    return addresses_of({&name, 1}).front();
  }

 protected:
  Symbols() = default;
  Symbols(const Symbols&) = default;
  Symbols(Symbols&&) = default;
  Symbols& operator=(const Symbols&) = default;
  Symbols& operator=(Symbols&&) = default;
};

/// The symbol table of a 64-bit little-endian ELF file (vmlinux).
///
/// load() looks at headers only, with libelf, which has no way to read a table but as a whole. What
/// is asked for is read then, through the file that stays open, with lseek(2) and read(2) alone:
/// that is what a confined thread may do. Names are never kept: a kernel has megabytes of them, and
/// few are asked for. A file that can't be read any more has no symbols. Not for two threads at
/// once.
class SymbolTable final : public Symbols {
 public:
  /// Errors: unreadable, no ELF file of that kind, truncated, no symbol table with functions (exit
  /// code Usage, the path is named).
  [[nodiscard]] static Result<SymbolTable> load(const std::filesystem::path& vmlinux);

  [[nodiscard]] std::optional<std::string> describe(std::uint64_t address) const override;
  /// The name of the function that holds `address`.
  [[nodiscard]] std::optional<std::string> function(std::uint64_t address) const;
  /// In one pass over the table.
  [[nodiscard]] std::vector<std::optional<std::uint64_t>> addresses_of(
      std::span<const std::string_view> names) const override;
  /// Where functions lie, in address order, none in another. One that has no size reaches to the
  /// next; names are function()'s to tell.
  struct Extent {
    std::uint64_t start = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::vector<Extent> extents() const;
  /// The architecture of the file; nullopt: one that sealvisor does not verify.
  [[nodiscard]] std::optional<arch::Arch> arch() const { return arch_; }
  /// Functions.
  [[nodiscard]] std::size_t size() const;

 private:
  friend class SymbolListing;  // Makes one of what a guest lists (symbol_listing.h).
  /// A part of the file.
  struct Part {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  struct Function {
    std::uint64_t address = 0;
    std::uint32_t size = 0;
    std::uint32_t name = 0;  ///< Where it begins in names_.
  };
  struct Found {
    std::uint64_t start = 0;
    std::string name;
  };

  [[nodiscard]] const std::vector<Function>& functions() const;
  [[nodiscard]] std::optional<Found> find(std::uint64_t address) const;
  [[nodiscard]] std::string name_at(std::uint32_t offset) const;

  std::optional<arch::Arch> arch_;
  Fd file_;
  Part table_;  ///< Whole entries.
  Part names_;
  mutable std::optional<std::vector<Function>> functions_;  ///< In address order; read on demand.
};

}  // namespace sealvisor::image
