#include "arch/x86_64/format.h"

#include <fmt/format.h>

namespace sealvisor::arch::x86_64 {

Entry Format::decode(std::uint64_t entry, unsigned level, Half /*half*/) const {
  Entry result;
  if (entry == 0) return result;
  if ((entry & kPresent) == 0) {
    result.kind = EntryKind::NonPresent;
    return result;
  }
  // Bit 7 of a level-1 entry is PAT: every entry there is a leaf.
  const bool large = level > 1 && (entry & kPageSizeBit) != 0;
  std::uint64_t reserved = reserved_;
  if (large) {
    reserved |= level == 2 ? kReserved2M : level == 3 ? kReserved1G : kPageSizeBit;
  }
  if ((entry & reserved) != 0) {
    result.kind = EntryKind::Malformed;
    return result;
  }
  const bool user = (entry & kUser) != 0;
  result.permissions.read = user;
  result.permissions.write = user && (entry & kWritable) != 0;
  result.permissions.exec = user && (entry & kExecuteDisable) == 0;
  if (level > 1 && !large) {
    result.kind = EntryKind::Table;
    result.output = Gpa{entry & kAddress};
    return result;
  }
  result.kind = EntryKind::Leaf;
  result.size = large ? level_size(level) : kPageSize;
  result.output = Gpa{entry & kAddress & ~(result.size - 1)};
  // Keys restrict data accesses to user pages only (SDM 4.6.2).
  if (keys_ && user) {
    result.permissions.key = static_cast<std::uint8_t>((entry >> kKeyShift) & kKeyMask);
  }
  return result;
}

Result<Format> format_from(const Registers& registers, unsigned phys_bits) {
  if (phys_bits < kLeastPhysBits || phys_bits > kMostPhysBits) {
    return Error{ExitCode::Usage, fmt::format("x86-64 paging: MAXPHYADDR is {}, expected {} to {}",
                                              phys_bits, kLeastPhysBits, kMostPhysBits)};
  }
  const auto refuse = [](const char* bit, std::uint64_t value, const char* meaning) {
    return Error{ExitCode::GuestFailed,
                 fmt::format("x86-64 paging: {} is 0 (the register is {:#x}), expected 1: {}", bit,
                             value, meaning)};
  };
  if ((registers.cr0 & kCr0Paging) == 0) {
    return refuse("CR0.PG", registers.cr0, "paging is off");
  }
  if ((registers.cr4 & kCr4Pae) == 0) {
    return refuse("CR4.PAE", registers.cr4, "32-bit paging is not supported");
  }
  if ((registers.efer & kEferLongModeActive) == 0) {
    return refuse("EFER.LMA", registers.efer, "PAE paging outside long mode is not supported");
  }
  return Format((registers.cr4 & kCr4La57) != 0, (registers.efer & kEferNoExecute) != 0,
                (registers.cr4 & kCr4ProtectionKeys) != 0, phys_bits);
}

}  // namespace sealvisor::arch::x86_64
