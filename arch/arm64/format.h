// The arm64 translation format: 4 KiB granule, up to 48-bit addresses, 2 MiB and 1 GiB blocks.
#pragma once

#include <cstdint>

#include "arch/arm64/bits.h"
#include "arch/format.h"
#include "vmm/base/result.h"

namespace sealvisor::arch::arm64 {

/// Register values as read from the vCPU.
struct Registers {
  std::uint64_t tcr = 0;
  std::uint64_t ttbr0 = 0;
  std::uint64_t ttbr1 = 0;
  std::uint64_t sctlr = 0;
};

/// Satisfies PagingFormat. Level 1 here is "level 3" of the Arm ARM, level 4 its "level 0".
///
/// The access flag is not a permission: an entry without it faults once and the kernel sets it, so
/// it counts as a translation. The contiguous bit is a TLB hint and changes nothing.
class Format {
 public:
  /// Raw TCR_EL1. Precondition: format_from accepted it.
  constexpr explicit Format(std::uint64_t tcr) : tcr_(tcr & kUsed) {}

  [[nodiscard]] constexpr unsigned address_bits(Half half) const {
    const unsigned shift = half == Half::Lower ? kTcrT0szShift : kTcrT1szShift;
    return 64 - static_cast<unsigned>((tcr_ >> shift) & kTcrSizeMask);
  }
  /// Arm ARM D8.2.8, table for the 4 KiB granule: each level resolves 9 bits above bit 12.
  [[nodiscard]] constexpr unsigned top_level(Half half) const {
    return (address_bits(half) - kPageShift + 8) / 9;
  }
  /// Bit 55 selects the root (D8.2.3).
  [[nodiscard]] static constexpr Half half_of(Gva gva) {
    return ((gva.value >> 55) & 1) != 0 ? Half::Upper : Half::Lower;
  }
  [[nodiscard]] constexpr bool is_canonical(Gva gva) const {
    const Half half = half_of(gva);
    if ((tcr_ & (half == Half::Lower ? kTcrEpd0 : kTcrEpd1)) != 0) return false;
    const bool top_byte_ignored = (tcr_ & (half == Half::Lower ? kTcrTbi0 : kTcrTbi1)) != 0;
    const std::uint64_t kept = top_byte_ignored ? (std::uint64_t{1} << 56) - 1 : ~std::uint64_t{0};
    const std::uint64_t above = ~((std::uint64_t{1} << address_bits(half)) - 1) & kept;
    return (gva.value & above) == (half == Half::Upper ? above : 0);
  }
  [[nodiscard]] static constexpr std::size_t index(Gva gva, unsigned level) {
    return static_cast<std::size_t>((gva.value >> level_shift(level)) & (kTableEntries - 1));
  }
  [[nodiscard]] constexpr std::size_t root_slots(Half half, Scope /*scope*/) const {
    if ((tcr_ & (half == Half::Lower ? kTcrEpd0 : kTcrEpd1)) != 0) return 0;
    return std::size_t{1} << (address_bits(half) - level_shift(top_level(half)));
  }
  [[nodiscard]] constexpr Gva root_slot_gva(Half half, std::size_t index) const {
    const std::uint64_t low = static_cast<std::uint64_t>(index) << level_shift(top_level(half));
    if (half == Half::Lower) return Gva{low};
    return Gva{low | ~((std::uint64_t{1} << address_bits(half)) - 1)};
  }
  [[nodiscard]] Entry decode(std::uint64_t entry, unsigned level, Half half) const;
  [[nodiscard]] static constexpr Permissions combine(Permissions upper, Permissions lower) {
    return {upper.read && lower.read, upper.write && lower.write, upper.exec && lower.exec, 0};
  }
  /// With TCR_EL1.HA the walker sets AF; with HD it clears AP[2] of entries with DBM (D8.4.5). Both
  /// are off in the kernels that sealvisor builds.
  [[nodiscard]] constexpr std::uint64_t hardware_bits(unsigned /*level*/) const {
    return ((tcr_ & kTcrHa) != 0 ? kAccessFlag : 0) | ((tcr_ & kTcrHd) != 0 ? kReadOnly : 0);
  }

  friend constexpr bool operator==(const Format&, const Format&) = default;

 private:
  static constexpr std::uint64_t kUsed = (kTcrSizeMask << kTcrT0szShift) |
                                         (kTcrSizeMask << kTcrT1szShift) | kTcrEpd0 | kTcrEpd1 |
                                         kTcrTbi0 | kTcrTbi1 | kTcrHa | kTcrHd | kTcrHpd0 | kTcrHpd1;
  std::uint64_t tcr_;
};
static_assert(PagingFormat<Format>);

/// The format that the registers select. Refuses by name: MMU off, a granule that is not 4 KiB,
/// 52-bit descriptors (TCR_EL1.DS), sizes that need more or fewer levels than 2 to 4 (exit code
/// GuestFailed).
[[nodiscard]] Result<Format> format_from(const Registers& registers);

/// The root's frame: TTBR without ASID and CNP. Roots that are smaller than a page (address sizes
/// that leave few root entries) are page-aligned in Linux and so read as whole tables.
[[nodiscard]] constexpr Frame root_of(std::uint64_t ttbr) {
  return frame_of(Gpa{ttbr & kTtbrAddress});
}

}  // namespace sealvisor::arch::arm64
