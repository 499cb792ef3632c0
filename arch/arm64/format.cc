#include "arch/arm64/format.h"

#include <string>

namespace sealvisor::arch::arm64 {

Entry Format::decode(std::uint64_t entry, unsigned level, Half half) const {
  Entry result;
  if (entry == 0) return result;
  if ((entry & kValid) == 0) {
    result.kind = EntryKind::NonPresent;
    return result;
  }
  const bool table_or_page = (entry & kTableOrPage) != 0;
  // Valid with bit 1 clear is a block, which levels 1 and 4 of this granule do not have.
  if (!table_or_page && (level == 1 || level >= 4)) {
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
  result.size = level_size(level);
  result.output = Gpa{entry & kAddress & ~(result.size - 1)};
  result.permissions.read = (entry & kUserAccess) != 0;
  result.permissions.write = result.permissions.read && (entry & kReadOnly) == 0;
  // AP[1] = 0 with UXN = 0 is execute-only at EL0 (D8.4.1.2).
  result.permissions.exec = (entry & kUserNever) == 0;
  return result;
}

Result<Format> format_from(const Registers& registers) {
  const auto refuse = [](const std::string& what) {
    return Error{ExitCode::GuestFailed, "arm64 translation: " + what};
  };
  const std::uint64_t tcr = registers.tcr;
  if ((registers.sctlr & kSctlrMmu) == 0) return refuse("SCTLR_EL1.M = 0, the MMU is off");
  if ((tcr & kTcrDs) != 0) return refuse("TCR_EL1.DS = 1, 52-bit descriptors are not supported");
  const bool lower = (tcr & kTcrEpd0) == 0;
  const bool upper = (tcr & kTcrEpd1) == 0;
  if (lower && ((tcr >> kTcrTg0Shift) & 3) != 0) {
    return refuse("TCR_EL1.TG0 is not the 4 KiB granule, which alone is supported");
  }
  if (upper && ((tcr >> kTcrTg1Shift) & 3) != 2) {
    return refuse("TCR_EL1.TG1 is not the 4 KiB granule, which alone is supported");
  }
  const auto size_ok = [&](unsigned shift) {
    const std::uint64_t size = (tcr >> shift) & kTcrSizeMask;
    return size >= 16 && size <= 39;
  };
  if (lower && !size_ok(kTcrT0szShift)) {
    return refuse("TCR_EL1.T0SZ = " + std::to_string(tcr & kTcrSizeMask) + ", expected 16 to 39");
  }
  if (upper && !size_ok(kTcrT1szShift)) {
    return refuse("TCR_EL1.T1SZ = " + std::to_string((tcr >> kTcrT1szShift) & kTcrSizeMask) +
                  ", expected 16 to 39");
  }
  return Format(tcr);
}

}  // namespace sealvisor::arch::arm64
