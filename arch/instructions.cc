#include "arch/instructions.h"

#include <cstring>
#include <memory>

#include <capstone/capstone.h>
#include <fmt/format.h>

#include "arch/arm64/atomics.h"

namespace sealvisor::arch {

namespace {

using Kind = InstructionFacts::Kind;

/// Legacy prefixes: Intel SDM vol. 2, 2.1.1.
bool is_prefix(std::uint8_t byte) {
  switch (byte) {
    case 0x26:
    case 0x2E:
    case 0x36:
    case 0x3E:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xF0:
    case 0xF2:
    case 0xF3:
      return true;
    default:
      return false;
  }
}

InstructionFacts classify_x86(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && is_prefix(bytes[at])) ++at;
  std::uint8_t rex = 0;
  // A REX prefix counts only directly before the opcode (SDM vol. 2, 2.2.1).
  if (at < bytes.size() && (bytes[at] & 0xF0) == 0x40) rex = bytes[at++];
  if (bytes.size() - at < 3 || bytes[at] != 0x0F) {
    // wrmsr is two bytes and so may end the buffer.
    const bool wrmsr = bytes.size() - at == 2 && bytes[at] == 0x0F && bytes[at + 1] == 0x30;
    return wrmsr ? InstructionFacts{Kind::ControlRegister} : InstructionFacts{};
  }
  const std::uint8_t opcode = bytes[at + 1];
  const std::uint8_t modrm = bytes[at + 2];
  const auto reg = static_cast<std::uint8_t>((modrm >> 3) & 7);
  const auto rm = static_cast<std::uint8_t>((modrm & 7) | ((rex & 1) << 3));
  switch (opcode) {
    case 0x22:  // mov crN, r64: SDM vol. 2, MOV - Move to/from Control Registers
      if ((rex & 4) != 0) return {};  // cr8
      if (reg == 3) return {Kind::RootLoad, rm};
      if (reg == 0 || reg == 4) return {Kind::ControlRegister};
      return {};
    case 0x30:  // wrmsr may write IA32_EFER
      return {Kind::ControlRegister};
    case 0x01:  // group 7: /7 with a memory operand is invlpg
      return reg == 7 && (modrm >> 6) != 3 ? InstructionFacts{Kind::TlbInvalidate}
                                           : InstructionFacts{};
    case 0x38:  // invpcid: 66 0F 38 82 /r
      return modrm == 0x82 ? InstructionFacts{Kind::TlbInvalidate} : InstructionFacts{};
    default:
      return {};
  }
}

InstructionFacts classify_arm64(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 4) return {};
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data(), sizeof(word));
  const auto reg = static_cast<std::uint8_t>(word & 0x1F);
  // MSR (register), Arm ARM C6.2: 1101 0101 0001 o0 op1 CRn CRm op2 Rt; register encodings D19.2.
  switch (word & 0xFFFFFFE0U) {
    case 0xD5182000U:  // ttbr0_el1: S3_0_C2_C0_0
      return {Kind::RootLoad, reg, false};
    case 0xD5182020U:  // ttbr1_el1: S3_0_C2_C0_1
      return {Kind::RootLoad, reg, true};
    case 0xD5182040U:  // tcr_el1: S3_0_C2_C0_2
    case 0xD5181000U:  // sctlr_el1: S3_0_C1_C0_0
      return {Kind::ControlRegister};
    case 0xD50B7420U:  // dc zva: SYS #3, C7, C4, #1
      return {Kind::ZeroBlock, reg};
    default:
      break;
  }
  // TLBI is SYS with CRn = 8, or 9 for the nXS forms (Arm ARM C5.5).
  const std::uint32_t sys = word & 0xFFF8F000U;
  if (sys == 0xD5088000U || sys == 0xD5089000U) return {Kind::TlbInvalidate};
  return {};
}

/// Owns a Capstone handle.
class Disassembler {
 public:
  explicit Disassembler(Arch arch) {
    const bool x86 = arch == Arch::X86_64;
    good_ = cs_open(x86 ? CS_ARCH_X86 : CS_ARCH_ARM64, x86 ? CS_MODE_64 : CS_MODE_ARM, &handle_) ==
            CS_ERR_OK;
  }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;
  ~Disassembler() {
    if (good_) cs_close(&handle_);
  }
  [[nodiscard]] std::string one(std::span<const std::uint8_t> bytes, std::uint64_t address) const {
    if (!good_) return "";
    cs_insn* found = nullptr;
    const std::size_t count = cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found);
    if (count == 0) return "";
    const auto free_one = [](cs_insn* insn) { cs_free(insn, 1); };
    const std::unique_ptr<cs_insn, decltype(free_one)> insn(found, free_one);
    const std::string operands = insn->op_str;
    return operands.empty() ? insn->mnemonic : std::string(insn->mnemonic) + " " + operands;
  }

 private:
  csh handle_ = 0;
  bool good_ = false;
};

}  // namespace

InstructionFacts classify(Arch arch, std::span<const std::uint8_t> bytes) {
  return arch == Arch::X86_64 ? classify_x86(bytes) : classify_arm64(bytes);
}

std::string disassemble(Arch arch, std::span<const std::uint8_t> bytes, std::uint64_t address) {
  const Disassembler disassembler(arch);
  std::string text = disassembler.one(bytes, address);
  if (!text.empty()) return text;
  if (arch == Arch::Arm64 && bytes.size() >= 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    text = arm64::describe_atomic(word);
    return text.empty() ? fmt::format(".inst {:#010x}", word) : text;
  }
  text = ".byte";
  for (const std::uint8_t byte : bytes) text += fmt::format(" {:02x}", byte);
  return text;
}

}  // namespace sealvisor::arch
