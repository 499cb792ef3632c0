#include "arch/linux_swap.h"

#include "arch/arm64/bits.h"
#include "arch/x86_64/bits.h"

namespace sealvisor::arch {

namespace {

// include/linux/swap.h: SWP_PTE_MARKER is the last of 32 types, SWP_MIGRATION_READ,
// SWP_MIGRATION_READ_EXCLUSIVE and SWP_MIGRATION_WRITE are the three before it.
constexpr std::uint64_t kMarkerType = 31;
constexpr std::uint64_t kFirstMigrationType = 28;
// include/linux/swapops.h: above the frame number a migration entry has a young and a dirty bit.
// SWP_PFN_BITS is MAX_PHYSMEM_BITS - 12 (asm/sparsemem.h): 46 on x86-64 with 4 levels (52 with 5,
// but then the bits between are 0 for any frame below 64 TiB), 48 on arm64.
constexpr unsigned kX86FrameBits = 34;
constexpr unsigned kArmFrameBits = 36;

constexpr std::uint64_t low_bits(std::uint64_t value, unsigned bits) {
  return value & ((std::uint64_t{1} << bits) - 1);
}

SoftEntry decode_swap(std::uint64_t type, std::uint64_t offset, unsigned frame_bits) {
  if (type == kMarkerType) return {SoftEntryKind::Marker, std::nullopt};
  if (type >= kFirstMigrationType) {
    return {SoftEntryKind::Migration, Frame{low_bits(offset, frame_bits)}};
  }
  return {SoftEntryKind::Swap, std::nullopt};
}

SoftEntry decode_x86(std::uint64_t entry) {
  // asm/pgtable_types.h, _PAGE_KNL_ERRATUM_MASK: a processor erratum can set these two by itself.
  if ((entry & ~(x86_64::kAccessed | x86_64::kDirty)) == 0) {
    return {SoftEntryKind::Empty, std::nullopt};
  }
  const Frame inverted = frame_of(Gpa{~entry & x86_64::kAddress});
  if ((entry & x86_64::kGlobal) != 0) return {SoftEntryKind::ProtNone, inverted};
  if ((entry & x86_64::kPageSizeBit) != 0) {
    // The page is huge, so the bits below its address are not part of it: 21 bits at least.
    return {SoftEntryKind::Invalidated, Frame{inverted.number & ~std::uint64_t{0x1FF}}};
  }
  return decode_swap(entry >> 59, low_bits(~entry >> 9, 50), kX86FrameBits);
}

SoftEntry decode_arm(std::uint64_t entry) {
  if ((entry & arm64::kNotGlobal) != 0) {
    const bool no_access = (entry & arm64::kUserAccess) == 0 && (entry & arm64::kUserNever) != 0;
    return {no_access ? SoftEntryKind::ProtNone : SoftEntryKind::Invalidated,
            frame_of(Gpa{entry & arm64::kAddress})};
  }
  return decode_swap((entry >> 6) & 31, low_bits(entry >> 12, 50), kArmFrameBits);
}

}  // namespace

const char* name_of(SoftEntryKind kind) {
  switch (kind) {
    case SoftEntryKind::ProtNone:
      return "PROT_NONE";
    case SoftEntryKind::Swap:
      return "swap";
    case SoftEntryKind::Invalidated:
      return "invalidated";
    case SoftEntryKind::Migration:
      return "migration";
    case SoftEntryKind::Marker:
      return "marker";
    case SoftEntryKind::Empty:
      return "empty";
  }
  return "swap";
}

SoftEntry decode_soft_entry(Arch arch, std::uint64_t entry) {
  return arch == Arch::X86_64 ? decode_x86(entry) : decode_arm(entry);
}

}  // namespace sealvisor::arch
