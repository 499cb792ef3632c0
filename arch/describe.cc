#include "arch/describe.h"

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "arch/linux_swap.h"

namespace sealvisor::arch {

namespace {

struct Named {
  std::uint64_t bit;
  std::string_view name;
};

// Hardware ignores D in a table entry, but Linux sets it there.
constexpr Named kX86Table[] = {{x86_64::kPresent, "P"},        {x86_64::kWritable, "RW"},
                               {x86_64::kUser, "US"},          {x86_64::kWriteThrough, "PWT"},
                               {x86_64::kCacheDisable, "PCD"}, {x86_64::kAccessed, "A"},
                               {x86_64::kDirty, "D"},          {x86_64::kExecuteDisable, "NX"}};
constexpr Named kX86Small[] = {{x86_64::kPresent, "P"},        {x86_64::kWritable, "RW"},
                               {x86_64::kUser, "US"},          {x86_64::kWriteThrough, "PWT"},
                               {x86_64::kCacheDisable, "PCD"}, {x86_64::kAccessed, "A"},
                               {x86_64::kDirty, "D"},          {x86_64::kSmallPat, "PAT"},
                               {x86_64::kGlobal, "G"},         {x86_64::kExecuteDisable, "NX"}};
constexpr Named kX86Large[] = {
    {x86_64::kPresent, "P"},        {x86_64::kWritable, "RW"},      {x86_64::kUser, "US"},
    {x86_64::kWriteThrough, "PWT"}, {x86_64::kCacheDisable, "PCD"}, {x86_64::kAccessed, "A"},
    {x86_64::kDirty, "D"},          {x86_64::kPageSizeBit, "PS"},   {x86_64::kGlobal, "G"},
    {x86_64::kLargePat, "PAT"},     {x86_64::kExecuteDisable, "NX"}};

constexpr Named kArmTable[] = {{arm64::kValid, "V"},
                               {arm64::kTableOrPage, "T"},
                               {arm64::kPxnTable, "PXNTable"},
                               {arm64::kUxnTable, "UXNTable"},
                               {arm64::kApTableNoUser, "noEL0Table"},
                               {arm64::kApTableReadOnly, "ROTable"},
                               {arm64::kNsTable, "NSTable"}};
constexpr Named kArmPage[] = {
    {arm64::kValid, "V"},         {arm64::kTableOrPage, "T"},       {arm64::kNonSecure, "NS"},
    {arm64::kUserAccess, "EL0"},  {arm64::kReadOnly, "RO"},         {arm64::kAccessFlag, "AF"},
    {arm64::kNotGlobal, "nG"},    {arm64::kGuarded, "GP"},          {arm64::kDirtyModifier, "DBM"},
    {arm64::kContiguous, "CONT"}, {arm64::kPrivilegedNever, "PXN"}, {arm64::kUserNever, "UXN"}};
constexpr Named kArmBlock[] = {
    {arm64::kValid, "V"},          {arm64::kNonSecure, "NS"},        {arm64::kUserAccess, "EL0"},
    {arm64::kReadOnly, "RO"},      {arm64::kAccessFlag, "AF"},       {arm64::kNotGlobal, "nG"},
    {arm64::kNoTranslation, "nT"}, {arm64::kGuarded, "GP"},          {arm64::kDirtyModifier, "DBM"},
    {arm64::kContiguous, "CONT"},  {arm64::kPrivilegedNever, "PXN"}, {arm64::kUserNever, "UXN"}};

std::span<const Named> names_for(Arch arch, const Entry& decoded) {
  const bool x86 = arch == Arch::X86_64;
  if (decoded.kind == EntryKind::Table) {
    return x86 ? std::span<const Named>(kX86Table) : std::span<const Named>(kArmTable);
  }
  if (decoded.size == kPageSize) {
    return x86 ? std::span<const Named>(kX86Small) : std::span<const Named>(kArmPage);
  }
  return x86 ? std::span<const Named>(kX86Large) : std::span<const Named>(kArmBlock);
}

/// Takes the multi-bit field at `shift` out of `rest` and names its value if it is not 0.
void append_field(std::string& text, std::uint64_t& rest, std::string_view name, unsigned shift,
                  std::uint64_t mask) {
  const std::uint64_t value = (rest >> shift) & mask;
  rest &= ~(mask << shift);
  if (value != 0) text += fmt::format(" {} {}", name, value);
}

/// Every set bit except those of the address: by name, as a field, or at the end as a number, so
/// that two different entries never read alike.
std::string describe_bits(Arch arch, const Entry& decoded, std::uint64_t entry) {
  std::uint64_t rest = entry & ~decoded.output.value;
  std::string text;
  for (const auto& [bit, name] : names_for(arch, decoded)) {
    if ((entry & bit) == 0) continue;
    rest &= ~bit;
    if (!text.empty()) text += ' ';
    text += name;
  }
  if (decoded.kind == EntryKind::Leaf) {
    if (arch == Arch::X86_64) {
      append_field(text, rest, "key", x86_64::kKeyShift, x86_64::kKeyMask);
    } else {
      append_field(text, rest, "attr", arm64::kAttributeShift, arm64::kAttributeMask);
      append_field(text, rest, "SH", arm64::kShareShift, arm64::kShareMask);
    }
  }
  // What is left means nothing to hardware; kernels keep notes there.
  if (rest != 0) text += fmt::format(" soft {:#x}", rest);
  return text;
}

}  // namespace

std::string describe_permissions(const Permissions& permissions) {
  std::string text = {permissions.read ? 'r' : '-', permissions.write ? 'w' : '-',
                      permissions.exec ? 'x' : '-'};
  if (permissions.key != 0) text += fmt::format(" key {}", permissions.key);
  return text;
}

std::string describe_entry(const AnyFormat& format, std::uint64_t entry, unsigned level) {
  const Arch arch = arch_of(format);
  const Entry decoded = decode(format, entry, level, Half::Lower);
  switch (decoded.kind) {
    case EntryKind::Absent:
      return "absent";
    case EntryKind::NonPresent: {
      const SoftEntry kept = decode_soft_entry(arch, entry);
      std::string text = fmt::format("non-present ({}) {:#x}", name_of(kept.kind), entry);
      if (kept.frame) text += fmt::format(" gpa {:#x}", kept.frame->gpa().value);
      return text;
    }
    case EntryKind::Malformed:
      return fmt::format("malformed {:#x}", entry);
    case EntryKind::Table:
      return fmt::format("table {:#x} {}", decoded.output.value,
                         describe_bits(arch, decoded, entry));
    case EntryKind::Leaf:
      break;
  }
  std::string text =
      fmt::format("{} gpa {:#x}", describe_bits(arch, decoded, entry), decoded.output.value);
  if (decoded.size == level_size(2)) text += " 2 MiB";
  if (decoded.size == level_size(3)) text += " 1 GiB";
  return text;
}

}  // namespace sealvisor::arch
