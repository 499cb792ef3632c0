// What Linux keeps in entries that hardware does not translate through.
#pragma once

#include <cstdint>
#include <optional>

#include "arch/address.h"
#include "arch/arch.h"

namespace sealvisor::arch {

enum class NonPresentKind : std::uint8_t {
  ProtNone,  ///< The page is there; PROT_NONE or NUMA hinting took every permission.
  Swap,      ///< A swap, migration or other special entry: the page is elsewhere.
};
[[nodiscard]] const char* name_of(NonPresentKind kind);

struct NonPresent {
  NonPresentKind kind = NonPresentKind::Swap;
  std::optional<Frame> frame;  ///< ProtNone: the page that it still refers to.
};

/// Decodes a non-zero level-1 entry with its valid or present bit clear.
///
/// x86-64 (Linux arch/x86/include/asm/pgtable_64.h, pgtable-invert.h): bit 8 set = PROT_NONE, the
/// address bits inverted against L1TF. arm64 (arch/arm64/include/asm/pgtable-prot.h, 6.12): bit 11
/// set = PTE_PRESENT_INVALID.
[[nodiscard]] NonPresent decode_non_present(Arch arch, std::uint64_t entry);

/// Whether Linux marked a leaf of level 1 as special: a frame that it keeps for itself and does not
/// count as user memory, as those of [vvar], of devices, and the page of zeroes. x86-64: bit 9
/// (arch/x86/include/asm/pgtable_types.h, _PAGE_BIT_SPECIAL); arm64: bit 56
/// (arch/arm64/include/asm/pgtable-prot.h, PTE_SPECIAL).
[[nodiscard]] constexpr bool is_special(Arch arch, std::uint64_t leaf) {
  return (leaf >> (arch == Arch::X86_64 ? 9U : 56U) & 1U) != 0;
}

}  // namespace sealvisor::arch
