// The symbols of a kernel as it lists them itself, in /proc/kallsyms: for kernels without a
// vmlinux.
#pragma once

#include <elf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/image/symbols.h"

namespace sealvisor::image {

/// Takes the text of /proc/kallsyms in pieces and makes a symbol table of it. The text is a
/// guest's: lines that are none are left out and counted, and there are bounds on everything.
///
/// After create() no file is opened: only write(2) and lseek(2) are used, which a confined thread
/// may do. What is kept lies in a memory file, not in the process.
class SymbolListing {
 public:
  /// Most symbols, and most bytes of their names; a kernel with everything in it has a quarter.
  static constexpr std::size_t kMostSymbols = 1U << 20;
  static constexpr std::uint64_t kMostNameBytes = 64ULL << 20;

  /// Error (HostLacks): no memory file.
  [[nodiscard]] static Result<SymbolListing> create();

  /// The next piece of the text; a line may end in a later one. Errors (GuestFailed): past a bound;
  /// HostLacks: the memory file can't be written.
  [[nodiscard]] Status add(std::string_view text);

  /// The table, once all pieces are there. Errors (GuestFailed): no function with an address, which
  /// is what a kernel shows that hides them (kernel.kptr_restrict). Call it once.
  [[nodiscard]] Result<SymbolTable> finish(arch::Arch arch);

  /// Lines that could not be read.
  [[nodiscard]] std::uint64_t bad_lines() const { return bad_lines_; }

 private:
  explicit SymbolListing(Fd file) : file_(std::move(file)), names_(1, '\0') {}
  [[nodiscard]] Status line(std::string_view text);
  [[nodiscard]] Status flush();
  /// A function reaches to the next one: what is behind the last is no function's.
  void size_functions();

  Fd file_;
  std::string rest_;   ///< Of a line that has not ended.
  std::string names_;  ///< Not written yet.
  std::uint64_t written_ = 0;
  std::vector<Elf64_Sym> symbols_;
  std::uint64_t bad_lines_ = 0;
};

}  // namespace sealvisor::image
