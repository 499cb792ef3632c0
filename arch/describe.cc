#include "arch/describe.h"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "arch/linux_entry.h"

namespace sealvisor::arch {

namespace {

using Bit = std::pair<std::uint64_t, std::string_view>;

constexpr std::array<Bit, 8> kX86Bits = {{{x86_64::kPresent, "P"},
                                          {x86_64::kWritable, "RW"},
                                          {x86_64::kUser, "US"},
                                          {x86_64::kCacheDisable, "PCD"},
                                          {x86_64::kAccessed, "A"},
                                          {x86_64::kDirty, "D"},
                                          {x86_64::kGlobal, "G"},
                                          {x86_64::kExecuteDisable, "NX"}}};
constexpr std::array<Bit, 9> kArmBits = {{{arm64::kValid, "V"},
                                          {arm64::kUserAccess, "EL0"},
                                          {arm64::kReadOnly, "RO"},
                                          {arm64::kAccessFlag, "AF"},
                                          {arm64::kNotGlobal, "nG"},
                                          {arm64::kDirtyModifier, "DBM"},
                                          {arm64::kContiguous, "CONT"},
                                          {arm64::kPrivilegedNever, "PXN"},
                                          {arm64::kUserNever, "UXN"}}};

template <std::size_t N>
std::string bits_of(const std::array<Bit, N>& bits, std::uint64_t entry) {
  std::string text;
  for (const auto& [bit, name] : bits) {
    if ((entry & bit) == 0) continue;
    if (!text.empty()) text += ' ';
    text += name;
  }
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
  const std::string bits =
      arch == Arch::X86_64 ? bits_of(kX86Bits, entry) : bits_of(kArmBits, entry);
  switch (decoded.kind) {
    case EntryKind::Absent:
      return "absent";
    case EntryKind::NonPresent: {
      const NonPresent kept = decode_non_present(arch, entry);
      std::string text = fmt::format("non-present ({}) {:#x}", name_of(kept.kind), entry);
      if (kept.frame) text += fmt::format(" gpa {:#x}", kept.frame->gpa().value);
      return text;
    }
    case EntryKind::Malformed:
      return fmt::format("malformed {:#x}", entry);
    case EntryKind::Table:
      return fmt::format("table {:#x} {}", decoded.output.value, bits);
    case EntryKind::Leaf:
      break;
  }
  std::string text = fmt::format("{} gpa {:#x}", bits, decoded.output.value);
  if (decoded.size != kPageSize) text += fmt::format(" {} MiB", decoded.size >> 20);
  if (decoded.permissions.key != 0) text += fmt::format(" key {}", decoded.permissions.key);
  return text;
}

}  // namespace sealvisor::arch
