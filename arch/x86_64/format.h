// The x86-64 paging format: 4 or 5 levels, 4 KiB, 2 MiB and 1 GiB leaves.
#pragma once

#include <cstdint>

#include "arch/format.h"
#include "arch/x86_64/bits.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::x86_64 {

/// Register values as read from the vCPU.
struct Registers {
  std::uint64_t cr0 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
};

/// Satisfies PagingFormat. Takes 1 GiB pages to exist (CPUID 8000_0001 EDX[26]).
///
/// Not judged: shadow-stack pages (SDM 4.6.1, CR4.CET with R/W = 0 and D = 1), which only
/// shadow-stack instructions write, and tagged pointers (LAM), which are not canonical here.
class Format {
 public:
  /// `no_execute`: EFER.NXE. `keys`: CR4.PKE. `phys_bits`: MAXPHYADDR, 32..52; with the default no
  /// address bit is reserved, and an address past guest RAM is found unreadable by the walker.
  constexpr Format(bool five_levels, bool no_execute, bool keys, unsigned phys_bits = kMostPhysBits)
      : five_levels_(five_levels),
        keys_(keys),
        reserved_((no_execute ? 0 : kExecuteDisable) |
                  (kAddress & ~((std::uint64_t{1} << phys_bits) - 1))) {}

  [[nodiscard]] constexpr bool has_protection_keys() const { return keys_; }
  [[nodiscard]] constexpr unsigned top_level(Half /*half*/) const { return five_levels_ ? 5 : 4; }
  [[nodiscard]] static constexpr Half half_of(Gva gva) {
    return (gva.value >> 63) != 0 ? Half::Upper : Half::Lower;
  }
  /// All bits above the translated ones equal the highest translated one (SDM 3.3.7.1 of vol. 1).
  [[nodiscard]] constexpr bool is_canonical(Gva gva) const {
    const unsigned bits = five_levels_ ? 57 : 48;
    const auto high = static_cast<std::int64_t>(gva.value) >> (bits - 1);
    return high == 0 || high == -1;
  }
  [[nodiscard]] static constexpr std::size_t index(Gva gva, unsigned level) {
    return static_cast<std::size_t>((gva.value >> level_shift(level)) & (kTableEntries - 1));
  }
  /// One root has both halves; user mode's is the lower 256 slots.
  [[nodiscard]] static constexpr std::size_t root_slots(Half /*half*/, Scope scope) {
    return scope == Scope::UserHalf ? kTableEntries / 2 : kTableEntries;
  }
  [[nodiscard]] constexpr Gva root_slot_gva(Half /*half*/, std::size_t index) const {
    const unsigned top = five_levels_ ? 5 : 4;
    const std::uint64_t low = static_cast<std::uint64_t>(index) << level_shift(top);
    if (index < kTableEntries / 2) return Gva{low};
    return Gva{low | ~((std::uint64_t{1} << (level_shift(top) + 9)) - 1)};
  }
  [[nodiscard]] Entry decode(std::uint64_t entry, unsigned level, Half half) const;
  [[nodiscard]] static constexpr Permissions combine(Permissions upper, Permissions lower) {
    return {upper.read && lower.read, upper.write && lower.write, upper.exec && lower.exec,
            lower.key};
  }
  /// Accessed at every level, dirty in leaves (SDM 4.8). In a table entry bit 6 is ignored, and
  /// only a leaf can be at level 1, so it is masked from level 3 down.
  [[nodiscard]] static constexpr std::uint64_t hardware_bits(unsigned level) {
    return level <= 3 ? kAccessed | kDirty : kAccessed;
  }

  friend constexpr bool operator==(const Format&, const Format&) = default;

 private:
  bool five_levels_;
  bool keys_;
  std::uint64_t reserved_;  ///< Bits that are reserved in every present entry.
};
static_assert(PagingFormat<Format>);

/// The format that the registers select. `phys_bits` as in Format; out of range is a Usage error.
/// Refuses by name: paging off, no PAE, not long mode (exit code GuestFailed).
[[nodiscard]] Result<Format> format_from(const Registers& registers,
                                         unsigned phys_bits = kMostPhysBits);

/// The root's frame: CR3 without PCID, LAM and no-flush bits.
[[nodiscard]] constexpr Frame root_of(std::uint64_t cr3) {
  return frame_of(Gpa{cr3 & kCr3Address});
}

}  // namespace sealvisor::arch::x86_64
