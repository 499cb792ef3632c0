// Facts about single instructions that the monitor must know of, from their bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "arch/arch.h"

namespace sealvisor::arch {

/// What an instruction does to address translation, or to memory without a store callback.
struct InstructionFacts {
  enum class Kind : std::uint8_t {
    None,
    RootLoad,         ///< mov cr3 / msr ttbr0_el1, ttbr1_el1.
    TlbInvalidate,    ///< invlpg, invpcid / tlbi.
    ControlRegister,  ///< mov cr0, cr4, wrmsr / msr tcr_el1, sctlr_el1.
    ZeroBlock,        ///< dc zva.
    ExceptionReturn,  ///< arm64 eret: the only way into EL0.
  };
  Kind kind = Kind::None;
  /// RootLoad, ZeroBlock: the general register that holds the operand, as the instruction encodes
  /// it (x86-64 0..15, arm64 0..31 with 31 = xzr).
  std::uint8_t reg = 0;
  /// RootLoad: TTBR1_EL1.
  bool upper = false;
  friend constexpr bool operator==(const InstructionFacts&, const InstructionFacts&) = default;
};

/// Classifies one instruction. Runs for every translated instruction, so it matches encodings
/// directly. `bytes` may be cut short or garbage: then None.
[[nodiscard]] InstructionFacts classify(Arch arch, std::span<const std::uint8_t> bytes);

/// True for an instruction that surely writes no memory, so that nobody need wait for its store:
/// true only for encodings that are listed as such, false for all others and for `bytes` that are
/// cut short. Precondition: 64-bit code (A64, x86 64-bit mode).
[[nodiscard]] bool never_stores(Arch arch, std::span<const std::uint8_t> bytes);

/// One line of assembly for the instruction that `bytes` begins with, at `address`. Capstone; what
/// Capstone does not know comes as ".inst 0x.." or ".byte ..".
[[nodiscard]] std::string disassemble(Arch arch, std::span<const std::uint8_t> bytes,
                                      std::uint64_t address);

}  // namespace sealvisor::arch
