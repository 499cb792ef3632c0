// Turns a raw write into what a person reads: decoded entries, the function and the instruction.
#pragma once

#include <string>
#include <unordered_map>

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

  /// `code_root` translates the writer's pc: the root that it ran on, or arm64's TTBR1 root.
  [[nodiscard]] report::EntryChange tell(const arch::AnyFormat& format,
                                         const model::Identities& identities,
                                         const model::MappingChange& change, arch::Frame code_root);
  /// "function+0x12", "user mode", or the bare address. tell() says "an unknown writer" where the
  /// lane can't tell it.
  [[nodiscard]] std::string function_at(std::uint64_t pc, bool user_mode) const;

 private:
  [[nodiscard]] const std::string& instruction_at(const arch::AnyFormat& format, std::uint64_t pc,
                                                  arch::Frame code_root);

  arch::Arch arch_;
  const memory::Memory& memory_;
  const image::Symbols* symbols_;
  std::unordered_map<std::uint64_t, std::string> instructions_;  // kernel text does not change
};

}  // namespace sealvisor::run
