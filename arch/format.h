// What the walker needs to know of a paging format, and what it makes of one entry.
#pragma once

#include <concepts>
#include <cstdint>

#include "arch/address.h"

namespace sealvisor::arch {

/// What a user-mode instruction may do through a translation, as the tables say it. Features that
/// depend on live register state beyond the tables (SMAP, PAN, the PKRU value) are left out on
/// purpose: they never widen what user mode can do.
struct Permissions {
  bool read = false;
  bool write = false;
  bool exec = false;
  /// x86 protection key (bits 62:59 of the leaf); 0 on arm64.
  std::uint8_t key = 0;
  friend constexpr bool operator==(const Permissions&, const Permissions&) = default;
};

/// What one 64-bit entry is at its level.
enum class EntryKind : std::uint8_t {
  Absent,      ///< All zero: nothing is mapped.
  NonPresent,  ///< Non-zero, but hardware does not translate through it (PROT_NONE, swap,
               ///< migration).
  Table,       ///< Points at a table of the next level down.
  Leaf,        ///< Maps memory.
  Malformed,   ///< Hardware would fault on a reserved bit or an undefined encoding.
};

/// One decoded entry. A value: it never refers back to guest memory.
struct Entry {
  EntryKind kind = EntryKind::Absent;
  /// Table: the next table. Leaf: first byte of the mapped memory. Else 0.
  Gpa output{};
  /// Leaf: bytes that it maps (4 KiB, 2 MiB, 1 GiB, 512 GiB). Else 0.
  std::uint64_t size = 0;
  /// Leaf and Table: what this entry by itself allows to user mode. The walker combines levels.
  Permissions permissions{};
};

/// Which half of the virtual address space a root translates. x86-64 has one root for both; arm64
/// has TTBR0 for the lower and TTBR1 for the upper.
enum class Half : std::uint8_t { Lower, Upper };

/// How much of a root to look at.
enum class Scope : std::uint8_t {
  UserHalf,  ///< Only what the architecture gives to user mode: slots 0..255 of an x86-64 root.
  All,       ///< The whole root.
};

/// Levels that the deepest known format has (x86-64 with LA57).
inline constexpr unsigned kMaxLevels = 5;

/// Lowest bit of a gva that indexes a table of `level` (1..5): 12, 21, 30, 39, 48. Each level
/// resolves 9 bits (Intel SDM vol. 3A 4.5; Arm ARM DDI 0487 D8.2, 4 KiB granule).
[[nodiscard]] constexpr unsigned level_shift(unsigned level) {
  return kPageShift + 9 * (level - 1);
}
/// Bytes that one entry of a table of `level` (1..5) covers.
[[nodiscard]] constexpr std::uint64_t level_size(unsigned level) {
  return std::uint64_t{1} << level_shift(level);
}

/// A paging format: pure functions of an entry's bits and of the register values it was made from.
///
/// Levels are counted from the leaves: a level-1 entry maps 4 KiB, level 2 is the x86 PD and the
/// arm64 level-2 table, up to top_level(half), the level of the root table (4, or 5 with LA57).
template <typename F>
concept PagingFormat = requires(const F& format, std::uint64_t entry, unsigned level, Gva gva,
                                Half half, Permissions upper, Permissions lower) {
  /// Level of the root table.
  { format.top_level(half) } -> std::same_as<unsigned>;
  /// Half that `gva` belongs to. Non-canonical addresses: see is_canonical.
  { format.half_of(gva) } -> std::same_as<Half>;
  { format.is_canonical(gva) } -> std::same_as<bool>;
  /// Index 0..511 into the table of `level` for `gva`.
  { format.index(gva, level) } -> std::same_as<std::size_t>;
  /// Entries at the start of the root table that belong to `half` and `scope`: 0..512. Where a root
  /// holds one half only (arm64) `scope` changes nothing; 0 if the half is switched off.
  { format.root_slots(half, Scope::All) } -> std::same_as<std::size_t>;
  /// First gva that `index` of the root table translates, sign-extended where the format does.
  /// `half` picks the arm64 root; x86-64 ignores it.
  { format.root_slot_gva(half, std::size_t{}) } -> std::same_as<Gva>;
  /// Decodes `entry` as read from a table of `level` (1..top_level). Never a Table at level 1.
  { format.decode(entry, level, half) } -> std::same_as<Entry>;
  /// Permissions of a leaf below an upper entry (hierarchical restriction).
  { format.combine(upper, lower) } -> std::same_as<Permissions>;
  /// Bits of an entry of `level` that the hardware table walker may set by itself (accessed,
  /// dirty). Compare entries with these masked out.
  { format.hardware_bits(level) } -> std::same_as<std::uint64_t>;
};

}  // namespace sealvisor::arch
