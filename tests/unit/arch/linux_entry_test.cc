#include "arch/linux_entry.h"

#include <gtest/gtest.h>

#include "arch/linux_swap.h"

namespace sealvisor::arch {
namespace {

constexpr std::uint64_t kAddress52 = 0x000F'FFFF'FFFF'F000;

/// arch/x86/include/asm/pgtable_64.h, __swp_entry.
constexpr std::uint64_t x86_swap(std::uint64_t type, std::uint64_t offset) {
  return (~offset << 14 >> 5) | type << 59;
}
/// arch/arm64/include/asm/pgtable.h, __swp_entry.
constexpr std::uint64_t arm_swap(std::uint64_t type, std::uint64_t offset) {
  return type << 6 | offset << 12;
}

TEST(SoftEntry, X86ProtNoneHasTheFrameInverted) {
  // PAGE_NONE = _PAGE_PROTNONE | _PAGE_ACCESSED (pgtable_types.h), as the kernel stores it.
  const std::uint64_t entry = (~0x1234'5000ULL & kAddress52) | 0x120 | 1ULL << 63;
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, entry),
            (SoftEntry{SoftEntryKind::ProtNone, Frame{0x12345}}));
  // A huge page's has PS as well.
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, (~0x4020'0000ULL & kAddress52) | 0x1A0),
            (SoftEntry{SoftEntryKind::ProtNone, Frame{0x40200}}));
}

TEST(SoftEntry, X86InvalidatedHugePage) {
  // pmd_mkinvalid: P and G cleared, PS kept, address inverted; bit 12 is PAT, not address.
  const std::uint64_t entry = (~0x4020'0000ULL & kAddress52 & ~0x1000ULL) | 0xE6;
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, entry),
            (SoftEntry{SoftEntryKind::Invalidated, Frame{0x40200}}));
}

TEST(SoftEntry, X86SwapTypes) {
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(0, 0x1234)),
            (SoftEntry{SoftEntryKind::Swap, std::nullopt}));
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(27, 0x1234)),
            (SoftEntry{SoftEntryKind::Swap, std::nullopt}));
  for (std::uint64_t type = 28; type <= 30; ++type) {
    EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(type, 0x12345)),
              (SoftEntry{SoftEntryKind::Migration, Frame{0x12345}}));
    // SWP_MIG_YOUNG and SWP_MIG_DIRTY above the 34 bits of the frame (swapops.h).
    EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(type, 0x12345 | 3ULL << 34)),
              (SoftEntry{SoftEntryKind::Migration, Frame{0x12345}}));
  }
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(31, 1)),
            (SoftEntry{SoftEntryKind::Marker, std::nullopt}));
  // Soft-dirty, userfaultfd and exclusive flags (bits 1 to 3) change nothing.
  EXPECT_EQ(decode_soft_entry(Arch::X86_64, x86_swap(28, 0x12345) | 0xE),
            (SoftEntry{SoftEntryKind::Migration, Frame{0x12345}}));
}

TEST(SoftEntry, X86ErratumBitsAreAnEmptyEntry) {
  for (const std::uint64_t entry : {0x20ULL, 0x40ULL, 0x60ULL}) {
    EXPECT_EQ(decode_soft_entry(Arch::X86_64, entry).kind, SoftEntryKind::Empty);
  }
  EXPECT_NE(decode_soft_entry(Arch::X86_64, 0x62).kind, SoftEntryKind::Empty);
}

TEST(SoftEntry, ArmProtNoneAndInvalidated) {
  // PAGE_NONE: PTE_PRESENT_INVALID (nG), RDONLY, PXN, UXN, no USER (pgtable-prot.h).
  const std::uint64_t none = 0x4123'4000 | 0xF82 | 3ULL << 53;
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, none),
            (SoftEntry{SoftEntryKind::ProtNone, Frame{0x41234}}));
  // pmd_mkinvalid of a user block keeps AP[1].
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, 0x4120'0000 | 0xF40 | 3ULL << 53),
            (SoftEntry{SoftEntryKind::Invalidated, Frame{0x41200}}));
  // An execute-only one keeps UXN = 0.
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, 0x4120'0000 | 0xF80 | 1ULL << 53),
            (SoftEntry{SoftEntryKind::Invalidated, Frame{0x41200}}));
}

TEST(SoftEntry, ArmSwapTypes) {
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, arm_swap(0, 0x1234)),
            (SoftEntry{SoftEntryKind::Swap, std::nullopt}));
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, arm_swap(27, 0x1234)),
            (SoftEntry{SoftEntryKind::Swap, std::nullopt}));
  for (std::uint64_t type = 28; type <= 30; ++type) {
    EXPECT_EQ(decode_soft_entry(Arch::Arm64, arm_swap(type, 0x41234 | 3ULL << 36) | 0xC),
              (SoftEntry{SoftEntryKind::Migration, Frame{0x41234}}));
  }
  EXPECT_EQ(decode_soft_entry(Arch::Arm64, arm_swap(31, 2)),
            (SoftEntry{SoftEntryKind::Marker, std::nullopt}));
}

TEST(NonPresent, HasTwoClasses) {
  const NonPresent none = decode_non_present(Arch::X86_64, (~0x1234'5000ULL & kAddress52) | 0x120);
  EXPECT_EQ(none.kind, NonPresentKind::ProtNone);
  EXPECT_EQ(none.frame, Frame{0x12345});
  // The page is still there, whatever took it away.
  const NonPresent invalid = decode_non_present(Arch::Arm64, 0x4120'0000 | 0xF40);
  EXPECT_EQ(invalid.kind, NonPresentKind::ProtNone);
  EXPECT_EQ(invalid.frame, Frame{0x41200});
  for (const std::uint64_t type : {0U, 28U, 31U}) {
    for (const Arch arch : kAllArchs) {
      const NonPresent gone = decode_non_present(
          arch, arch == Arch::X86_64 ? x86_swap(type, 0x1234) : arm_swap(type, 0x1234));
      EXPECT_EQ(gone.kind, NonPresentKind::Swap);
      EXPECT_EQ(gone.frame, std::nullopt);
    }
  }
  EXPECT_EQ(decode_non_present(Arch::X86_64, 0x60).kind, NonPresentKind::Swap);
}

TEST(NonPresent, KindsHaveNames) {
  EXPECT_STREQ(name_of(NonPresentKind::ProtNone), "PROT_NONE");
  EXPECT_STREQ(name_of(NonPresentKind::Swap), "swap or migration");
  EXPECT_STREQ(name_of(SoftEntryKind::ProtNone), "PROT_NONE");
  EXPECT_STREQ(name_of(SoftEntryKind::Invalidated), "invalidated");
  EXPECT_STREQ(name_of(SoftEntryKind::Swap), "swap");
  EXPECT_STREQ(name_of(SoftEntryKind::Migration), "migration");
  EXPECT_STREQ(name_of(SoftEntryKind::Marker), "marker");
  EXPECT_STREQ(name_of(SoftEntryKind::Empty), "empty");
}

}  // namespace
}  // namespace sealvisor::arch
