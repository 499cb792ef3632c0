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

/// Satisfies PagingFormat. Assumes MAXPHYADDR = 52: an address past guest RAM is not reserved here
/// but unreadable, which the walker reports too.
class Format {
 public:
  /// `no_execute`: EFER.NXE. `keys`: CR4.PKE.
  constexpr Format(bool five_levels, bool no_execute, bool keys)
      : five_levels_(five_levels), no_execute_(no_execute), keys_(keys) {}

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
  bool no_execute_;
  bool keys_;
};
static_assert(PagingFormat<Format>);

/// The format that the registers select. Refuses by name: paging off, no PAE, not long mode
/// (exit code GuestFailed).
[[nodiscard]] Result<Format> format_from(const Registers& registers);

/// The root's frame: CR3 without PCID, LAM and no-flush bits.
[[nodiscard]] constexpr Frame root_of(std::uint64_t cr3) {
  return frame_of(Gpa{cr3 & kCr3Address});
}

}  // namespace sealvisor::arch::x86_64
