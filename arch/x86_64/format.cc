#include "arch/x86_64/format.h"

namespace sealvisor::arch::x86_64 {

Entry Format::decode(std::uint64_t entry, unsigned level, Half /*half*/) const {
  Entry result;
  if (entry == 0) return result;
  if ((entry & kPresent) == 0) {
    result.kind = EntryKind::NonPresent;
    return result;
  }
  const bool large = (entry & kPageSizeBit) != 0;
  const bool reserved = (!no_execute_ && (entry & kExecuteDisable) != 0) ||
                        (level >= 4 && large) ||
                        (level == 2 && large && (entry & kReserved2M) != 0) ||
                        (level == 3 && large && (entry & kReserved1G) != 0);
  if (reserved) {
    result.kind = EntryKind::Malformed;
    return result;
  }
  const bool user = (entry & kUser) != 0;
  result.permissions.read = user;
  result.permissions.write = user && (entry & kWritable) != 0;
  result.permissions.exec = user && (entry & kExecuteDisable) == 0;
  if (level > 1 && !(large && level <= 3)) {
    result.kind = EntryKind::Table;
    result.output = Gpa{entry & kAddress};
    return result;
  }
  result.kind = EntryKind::Leaf;
  result.size = level_size(level);
  result.output = Gpa{entry & kAddress & ~(result.size - 1)};
  if (keys_ && user) {
    result.permissions.key = static_cast<std::uint8_t>((entry >> kKeyShift) & kKeyMask);
  }
  return result;
}

Result<Format> format_from(const Registers& registers) {
  const auto refuse = [](const char* what) {
    return Error{ExitCode::GuestFailed, std::string("x86-64 paging: ") + what};
  };
  if ((registers.cr0 & kCr0Paging) == 0) return refuse("CR0.PG = 0, paging is off");
  if ((registers.cr4 & kCr4Pae) == 0) return refuse("CR4.PAE = 0, 32-bit paging is not supported");
  if ((registers.efer & kEferLongModeActive) == 0) {
    return refuse("EFER.LMA = 0, PAE paging outside long mode is not supported");
  }
  return Format((registers.cr4 & kCr4La57) != 0, (registers.efer & kEferNoExecute) != 0,
                (registers.cr4 & kCr4ProtectionKeys) != 0);
}

}  // namespace sealvisor::arch::x86_64
