#include "arch/instructions.h"

#include <capstone/capstone.h>
#include <fmt/format.h>

#include <memory>

#include "arch/arm64/instructions.h"
#include "arch/arm64/memory_text.h"
#include "arch/x86_64/instructions.h"

namespace sealvisor::arch {

namespace {

constexpr std::size_t kArmSize = 4;

/// A64 instructions are little-endian whatever the host and the data are.
std::uint32_t arm_word(std::span<const std::uint8_t> bytes) {
  return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
         std::uint32_t{bytes[3]} << 24;
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
  /// Empty if Capstone does not know the instruction.
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
  if (arch == Arch::X86_64) return x86_64::classify(bytes);
  if (bytes.size() < kArmSize) return {};
  return arm64::classify(arm_word(bytes));
}

bool never_stores(Arch arch, std::span<const std::uint8_t> bytes) {
  if (arch == Arch::X86_64) return x86_64::never_stores(bytes);
  return bytes.size() >= kArmSize && arm64::never_stores(arm_word(bytes));
}

std::string disassemble(Arch arch, std::span<const std::uint8_t> bytes, std::uint64_t address) {
  if (bytes.empty()) return "";
  const bool arm_instruction = arch == Arch::Arm64 && bytes.size() >= kArmSize;
  if (arch == Arch::X86_64) {
    // First, because Capstone 4 takes eretu for clac.
    const std::string_view name = x86_64::describe_system(bytes);
    if (!name.empty()) return std::string(name);
  }
  std::string text = Disassembler(arch).one(bytes, address);
  if (text.empty() && arm_instruction) text = arm64::describe_memory_access(arm_word(bytes));
  if (!text.empty()) return text;
  if (arm_instruction) return fmt::format(".inst {:#010x}", arm_word(bytes));
  text = ".byte";
  for (const std::uint8_t byte : bytes) text += fmt::format(" {:02x}", byte);
  return text;
}

std::string disassembler_version() {
  int major = 0;
  int minor = 0;
  static_cast<void>(cs_version(&major, &minor));
  return fmt::format("{}.{}", major, minor);
}

}  // namespace sealvisor::arch
