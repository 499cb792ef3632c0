#include "arch/instructions.h"

#include "arch/arm64/instructions.h"
#include "arch/disassembler.h"
#include "arch/x86_64/instructions.h"

namespace sealvisor::arch {

InstructionFacts classify(Arch arch, std::span<const std::uint8_t> bytes) {
  if (arch == Arch::X86_64) return x86_64::classify(bytes);
  if (bytes.size() < arm64::kInstructionSize) return {};
  return arm64::classify(arm64::word_of(bytes));
}

bool never_stores(Arch arch, std::span<const std::uint8_t> bytes) {
  if (arch == Arch::X86_64) return x86_64::never_stores(bytes);
  return bytes.size() >= arm64::kInstructionSize && arm64::never_stores(arm64::word_of(bytes));
}

std::string disassemble(Arch arch, std::span<const std::uint8_t> bytes, std::uint64_t address) {
  return Disassembler(arch).one(bytes, address).text;
}

}  // namespace sealvisor::arch
