#include "arch/arm64/format.h"

#include <fmt/format.h>

namespace sealvisor::arch::arm64 {

Entry Format::decode(std::uint64_t entry, unsigned level, Half half) const {
  Entry result;
  if (entry == 0) return result;
  if ((entry & kValid) == 0) {
    result.kind = EntryKind::NonPresent;
    return result;
  }
  const bool table_or_page = (entry & kTableOrPage) != 0;
  // Valid with bit 1 clear is a block, which levels 1 and 4 of this granule do not have (D8.3).
  // An address above TCR_EL1.IPS takes an address size fault (D8.2).
  if ((!table_or_page && (level <= 1 || level >= 4)) || (entry & beyond_output_) != 0) {
    result.kind = EntryKind::Malformed;
    return result;
  }
  if (table_or_page && level > 1) {
    result.kind = EntryKind::Table;
    result.output = Gpa{entry & kAddress};
    const bool ignored = (tcr_ & (half == Half::Lower ? kTcrHpd0 : kTcrHpd1)) != 0;
    const std::uint64_t limits = ignored ? 0 : entry;
    result.permissions.read = (limits & kApTableNoUser) == 0;
    result.permissions.write = result.permissions.read && (limits & kApTableReadOnly) == 0;
    result.permissions.exec = (limits & kUxnTable) == 0;
    return result;
  }
  result.kind = EntryKind::Leaf;
  result.size = level <= 1 ? kPageSize : level_size(level);
  result.output = Gpa{entry & kAddress & ~(result.size - 1)};
  result.permissions.read = (entry & kUserAccess) != 0;
  // A leaf with DBM is writable: hardware clears AP[2] by itself on the first write (D8.5).
  const bool writable =
      (entry & kReadOnly) == 0 || (manages_dirty() && (entry & kDirtyModifier) != 0);
  result.permissions.write = result.permissions.read && writable;
  // AP[1] = 0 with UXN = 0 is execute-only at EL0 (D8.4).
  result.permissions.exec = (entry & kUserNever) == 0;
  return result;
}

namespace {

/// What TCR_EL1 says of one half.
struct HalfFields {
  const char* name;  ///< "0" or "1", as in T0SZ.
  std::uint64_t disabled;
  unsigned size_shift;
  unsigned granule_shift;
  std::uint64_t granule_4k;
};

constexpr HalfFields kHalves[] = {{"0", kTcrEpd0, kTcrT0szShift, kTcrTg0Shift, 0},
                                  {"1", kTcrEpd1, kTcrT1szShift, kTcrTg1Shift, 2}};
/// T0SZ and T1SZ: 16 gives 48-bit addresses and 4 levels, 39 gives 25 bits and 2 levels; more need
/// FEAT_TTST, fewer need 52-bit addresses (D8.2).
constexpr std::uint64_t kLeastSize = 16;
constexpr std::uint64_t kMostSize = 39;

}  // namespace

Result<Format> format_from(const Registers& registers) {
  const auto refuse = [](const std::string& what) {
    return Error{ExitCode::GuestFailed, "arm64 translation: " + what};
  };
  const std::uint64_t tcr = registers.tcr;
  if ((registers.sctlr & kSctlrMmu) == 0) {
    return refuse(fmt::format(
        "SCTLR_EL1.M is 0 (the register is {:#x}), expected 1: the MMU is off", registers.sctlr));
  }
  if ((registers.sctlr & kSctlrBigEndian) != 0) {
    return refuse(
        fmt::format("SCTLR_EL1.EE is 1 (the register is {:#x}), expected 0: big-endian tables are "
                    "not supported",
                    registers.sctlr));
  }
  if ((tcr & kTcrDs) != 0) {
    return refuse(fmt::format(
        "TCR_EL1.DS is 1 (the register is {:#x}), expected 0: 52-bit descriptors are not supported",
        tcr));
  }
  if ((registers.tcr2 & (kTcr2Pie | kTcr2D128)) != 0) {
    return refuse(
        fmt::format("TCR2_EL1 is {:#x}, expected PIE (bit 1) and D128 (bit 5) to be 0: permissions "
                    "by index and 128-bit descriptors are not supported",
                    registers.tcr2));
  }
  const Format format(tcr);
  for (const HalfFields& half : kHalves) {
    if ((tcr & half.disabled) != 0) continue;
    const std::uint64_t granule = (tcr >> half.granule_shift) & 3;
    if (granule != half.granule_4k) {
      return refuse(
          fmt::format("TCR_EL1.TG{} is {}, expected {}: only the 4 KiB granule is supported",
                      half.name, granule, half.granule_4k));
    }
    const std::uint64_t size = (tcr >> half.size_shift) & kTcrSizeMask;
    if (size < kLeastSize || size > kMostSize) {
      return refuse(fmt::format("TCR_EL1.T{}SZ is {}, expected {} to {}", half.name, size,
                                kLeastSize, kMostSize));
    }
    const bool upper = &half == &kHalves[1];
    const std::uint64_t ttbr = upper ? registers.ttbr1 : registers.ttbr0;
    if ((ttbr & kTtbrInPage) != 0 &&
        format.root_slots(upper ? Half::Upper : Half::Lower, Scope::All) < kTableEntries) {
      return refuse(fmt::format("TTBR{}_EL1 is {:#x}, expected a root at the start of a page",
                                half.name, ttbr));
    }
  }
  return format;
}

}  // namespace sealvisor::arch::arm64
