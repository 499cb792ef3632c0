// The kinds of entry that Linux keeps where hardware does not translate, told apart in full.
// arch/linux_entry.h has the two classes that verdicts need.
//
// Sources, Linux 6.12 and 7.3 (the layouts are the same in both): include/linux/swap.h and
// swapops.h; arch/x86/include/asm/pgtable_64.h, pgtable_types.h, pgtable-invert.h, pgtable.h;
// arch/arm64/include/asm/pgtable.h, pgtable-prot.h.
#pragma once

#include <cstdint>
#include <optional>

#include "arch/address.h"
#include "arch/arch.h"

namespace sealvisor::arch {

enum class SoftEntryKind : std::uint8_t {
  ProtNone,     ///< The page is there; PROT_NONE or NUMA hinting took every permission.
  Invalidated,  ///< A huge page is there, taken out of use for a moment (pmd_mkinvalid).
  Swap,         ///< The page is in swap space, or of a kind of special entry not told apart.
  Migration,    ///< The page is being moved to another frame; faults wait for it.
  Marker,       ///< No page; information about the place (userfaultfd, poison, guard).
  Empty,        ///< x86-64: only accessed and dirty bits, which Linux takes for an empty entry.
};

/// "PROT_NONE", "invalidated", "swap", "migration", "marker", "empty".
[[nodiscard]] const char* name_of(SoftEntryKind kind);

struct SoftEntry {
  SoftEntryKind kind = SoftEntryKind::Swap;
  /// ProtNone, Invalidated: the first frame of the page that it still refers to. Migration: the
  /// frame that the page is moved from.
  std::optional<Frame> frame;
  friend constexpr bool operator==(const SoftEntry&, const SoftEntry&) = default;
};

/// Decodes a non-zero entry with its valid or present bit clear.
///
/// x86-64: bit 8 set = PROT_NONE, bit 7 set without it = invalidated huge page; both have the
/// address bits 51:12 inverted against L1TF. Else a swap entry: type in 63:59, inverted offset in
/// 58:9. arm64: bit 11 set = present to the kernel (PTE_PRESENT_INVALID), and then PROT_NONE if EL0
/// may neither access (AP[1] = 0) nor execute (UXN = 1). Else a swap entry: type in 10:6, offset in
/// 61:12.
///
/// Swap types from the top down depend on the kernel's configuration. 31 is always a marker; 28 to
/// 30 are migration without CONFIG_DEVICE_PRIVATE, as in the recipes' kernels. In a kernel with it
/// they are device entries, and migration is reported as Swap.
[[nodiscard]] SoftEntry decode_soft_entry(Arch arch, std::uint64_t entry);

}  // namespace sealvisor::arch
