// Turns a raw write into what a person reads: decoded entries, the function, the instruction and
// the code around it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "arch/any_format.h"
#include "arch/arch.h"
#include "vmm/image/symbols.h"
#include "vmm/memory/memory.h"
#include "vmm/model/space.h"
#include "vmm/report/report.h"

namespace sealvisor::run {

class Narrator {
 public:
  /// `symbols` may be nullptr: functions are then addresses.
  Narrator(arch::Arch arch, const memory::Memory& memory, const image::Symbols* symbols)
      : arch_(arch), memory_(memory), symbols_(symbols) {}

  /// Names of functions from now on.
  void set_symbols(const image::Symbols* symbols) { symbols_ = symbols; }

  /// `code_root` translates the writer's pc: the root that it ran on, or arm64's TTBR1 root. Its
  /// code is read when it is told of for the first time, and kept: kernel text does not change.
  [[nodiscard]] report::EntryChange tell(const arch::AnyFormat& format,
                                         const model::Identities& identities,
                                         const model::MappingChange& change, arch::Frame code_root);
  /// "function+0x12", "user mode", or the bare address. tell() says "an unknown writer" where the
  /// lane can't tell it.
  [[nodiscard]] std::string function_at(std::uint64_t pc, bool user_mode) const;

  /// The guest has ended: code that is read from now on is not what ran then, for all one knows. Of
  /// user mode none is read any more.
  void guest_ended() { source_ = report::CodeSource::MemoryAtTheEnd; }
  /// The writers that were told of, in the order of pc; of user mode that at a pc which came first.
  [[nodiscard]] std::vector<report::Writer> take_writers();

  /// Most that are kept; of others the instruction alone is told.
  static constexpr std::size_t kMostWriters = 512;

 private:
  [[nodiscard]] const report::Writer& writer_at(const arch::AnyFormat& format, std::uint64_t pc,
                                                bool user_mode, arch::Frame code_root);
  [[nodiscard]] report::Writer read_writer(const arch::AnyFormat& format, std::uint64_t pc,
                                           bool user_mode, arch::Frame code_root) const;
  /// Code from `first` on, up to `end` or what can't be read.
  [[nodiscard]] std::vector<std::uint8_t> read_code(const arch::AnyFormat& format,
                                                    arch::Frame code_root, std::uint64_t first,
                                                    std::uint64_t end) const;

  arch::Arch arch_;
  const memory::Memory& memory_;
  const image::Symbols* symbols_;
  report::CodeSource source_ = report::CodeSource::Memory;
  std::map<std::uint64_t, report::Writer> writers_;  ///< By pc.
  report::Writer other_;                             ///< Past the bound: the last of them.
};

}  // namespace sealvisor::run
