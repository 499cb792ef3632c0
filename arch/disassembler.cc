#include "arch/disassembler.h"

#include <capstone/capstone.h>
#include <fmt/format.h>

#include <memory>
#include <type_traits>

#include "arch/arm64/instructions.h"
#include "arch/arm64/memory_text.h"
#include "arch/x86_64/instructions.h"

namespace sealvisor::arch {

namespace {

static_assert(std::is_same_v<csh, std::size_t>);

}  // namespace

Disassembler::Disassembler(Arch arch) : arch_(arch) {
  const bool x86 = arch == Arch::X86_64;
  good_ = cs_open(x86 ? CS_ARCH_X86 : CS_ARCH_ARM64, x86 ? CS_MODE_64 : CS_MODE_ARM, &handle_) ==
          CS_ERR_OK;
}

Disassembler::~Disassembler() {
  if (good_) cs_close(&handle_);
}

Decoded Disassembler::capstone(std::span<const std::uint8_t> bytes, std::uint64_t address) const {
  if (!good_) return {};
  cs_insn* found = nullptr;
  const std::size_t count = cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found);
  if (count == 0) return {};
  const auto free_one = [](cs_insn* insn) { cs_free(insn, 1); };
  const std::unique_ptr<cs_insn, decltype(free_one)> insn(found, free_one);
  const std::string operands = insn->op_str;
  return {insn->size,
          operands.empty() ? insn->mnemonic : std::string(insn->mnemonic) + " " + operands};
}

Decoded Disassembler::one(std::span<const std::uint8_t> bytes, std::uint64_t address) const {
  if (bytes.empty()) return {};
  const bool arm_instruction = arch_ == Arch::Arm64 && bytes.size() >= arm64::kInstructionSize;
  if (arch_ == Arch::X86_64) {
    // First, because Capstone 4 takes eretu for clac.
    const x86_64::SystemName known = x86_64::describe_system(bytes);
    if (known.size != 0) return {known.size, std::string(known.name)};
  }
  Decoded decoded = capstone(bytes, address);
  if (decoded.size != 0) return decoded;
  if (arm_instruction) {
    decoded = {arm64::kInstructionSize, arm64::describe_memory_access(arm64::word_of(bytes))};
    if (decoded.text.empty()) decoded.text = fmt::format(".inst {:#010x}", arm64::word_of(bytes));
    return decoded;
  }
  decoded = {bytes.size(), ".byte"};
  for (const std::uint8_t byte : bytes) decoded.text += fmt::format(" {:02x}", byte);
  return decoded;
}

std::string disassembler_version() {
  int major = 0;
  int minor = 0;
  static_cast<void>(cs_version(&major, &minor));
  return fmt::format("{}.{}", major, minor);
}

}  // namespace sealvisor::arch
