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
  std::uint64_t tcr2 = 0;  ///< TCR2_EL1; 0 where the CPU has none.
};

/// Satisfies PagingFormat. Level 1 here is "level 3" of the Arm ARM, level 4 its "level 0".
///
/// The access flag is not a permission: an entry without it faults once and the kernel sets it, so
/// it counts as a translation. The contiguous bit is a TLB hint and changes nothing: what a CPU
/// makes of a run whose entries do not fit together is a matter of its TLB, out of scope.
///
/// Register state that can only narrow what EL0 does is left out, so that nothing reachable is
/// missed: SCTLR_EL1.WXN, TCR_EL1.E0PD0/1 and TBID0/1, permission overlays (FEAT_S1POE).
class Format {
 public:
  /// Raw TCR_EL1. Precondition: format_from accepted it.
  constexpr explicit Format(std::uint64_t tcr)
      : tcr_(with_known_sizes(tcr & kUsed)),
        beyond_output_(kAddress & ~((std::uint64_t{1} << output_bits(tcr)) - 1)) {}

  [[nodiscard]] constexpr unsigned address_bits(Half half) const {
    const unsigned shift = half == Half::Lower ? kTcrT0szShift : kTcrT1szShift;
    return 64 - static_cast<unsigned>((tcr_ >> shift) & kTcrSizeMask);
  }
  /// Arm ARM D8.2, table for the 4 KiB granule: each level resolves 9 bits above bit 12.
  [[nodiscard]] constexpr unsigned top_level(Half half) const {
    return (address_bits(half) - kPageShift + 8) / 9;
  }
  /// Bit 55 selects the root (D8.2).
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
  [[nodiscard]] constexpr std::size_t index(Gva gva, unsigned level) const {
    const Half half = half_of(gva);
    const std::size_t entries = level == top_level(half) ? root_entries(half) : kTableEntries;
    return static_cast<std::size_t>(gva.value >> level_shift(level)) & (entries - 1);
  }
  [[nodiscard]] constexpr std::size_t root_slots(Half half, Scope /*scope*/) const {
    return (tcr_ & (half == Half::Lower ? kTcrEpd0 : kTcrEpd1)) != 0 ? 0 : root_entries(half);
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
  /// With TCR_EL1.HA the walker sets AF; with HD as well it clears AP[2] of leaves with DBM (D8.5).
  /// The mask is per level, so it has AP[2] of leaves without DBM too: compare permissions also.
  /// Both are off on CPUs without FEAT_HAFDBS, which is what sealvisor starts.
  [[nodiscard]] static constexpr bool has_protection_keys() { return false; }
  [[nodiscard]] constexpr std::uint64_t hardware_bits(unsigned level) const {
    if ((tcr_ & kTcrHa) == 0) return 0;
    return kAccessFlag | (manages_dirty() && level <= 3 ? kReadOnly : 0);
  }

  friend constexpr bool operator==(const Format&, const Format&) = default;

 private:
  static constexpr std::uint64_t kUsed =
      (kTcrSizeMask << kTcrT0szShift) | (kTcrSizeMask << kTcrT1szShift) | kTcrEpd0 | kTcrEpd1 |
      (kTcrIpsMask << kTcrIpsShift) | kTcrTbi0 | kTcrTbi1 | kTcrHa | kTcrHd | kTcrHpd0 | kTcrHpd1;

  /// The size of a half that is off may be anything; 48 bits in its place keep every function
  /// total.
  [[nodiscard]] static constexpr std::uint64_t with_known_sizes(std::uint64_t tcr) {
    if ((tcr & kTcrEpd0) != 0)
      tcr = (tcr & ~(kTcrSizeMask << kTcrT0szShift)) | 16U << kTcrT0szShift;
    if ((tcr & kTcrEpd1) != 0)
      tcr = (tcr & ~(kTcrSizeMask << kTcrT1szShift)) | 16U << kTcrT1szShift;
    return tcr;
  }
  /// Bits of an output address. An entry with a bit above them takes an address size fault. Values
  /// of TCR_EL1.IPS as its description has them; 52 bits need descriptors that are refused, so 48
  /// is the most.
  [[nodiscard]] static constexpr unsigned output_bits(std::uint64_t tcr) {
    constexpr unsigned kBits[] = {32, 36, 40, 42, 44, 48, 48, 48};
    return kBits[(tcr >> kTcrIpsShift) & kTcrIpsMask];
  }
  /// D8.2: the root resolves what is left above the lower levels, 1 to 9 bits.
  [[nodiscard]] constexpr std::size_t root_entries(Half half) const {
    return std::size_t{1} << (address_bits(half) - level_shift(top_level(half)));
  }
  /// Without HA, HD does nothing (D8.5).
  [[nodiscard]] constexpr bool manages_dirty() const {
    return (tcr_ & (kTcrHa | kTcrHd)) == (kTcrHa | kTcrHd);
  }

  std::uint64_t tcr_;
  std::uint64_t beyond_output_;  ///< Address bits that must be 0.
};
static_assert(PagingFormat<Format>);

/// The format that the registers select. Refuses by name: MMU off, big-endian tables, a granule
/// that is not 4 KiB, 52-bit or 128-bit descriptors, permissions by index, sizes that need other
/// than 2 to 4 levels, a root smaller than a page that is not at the start of one (exit code
/// GuestFailed). A half with TCR_EL1.EPDn is not checked: it translates nothing.
[[nodiscard]] Result<Format> format_from(const Registers& registers);

/// The root's frame: TTBR without ASID and CnP. A root smaller than a page (root_slots < 512) need
/// not start a frame; Linux page-aligns them all, and format_from refuses others.
[[nodiscard]] constexpr Frame root_of(std::uint64_t ttbr) {
  return frame_of(Gpa{ttbr & kTtbrAddress});
}

}  // namespace sealvisor::arch::arm64
