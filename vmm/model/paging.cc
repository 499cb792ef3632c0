#include "vmm/model/paging.h"

namespace sealvisor::model {

Result<arch::AnyFormat> format_of(arch::Arch arch, const PagingRegisters& registers) {
  if (arch == arch::Arch::X86_64) {
    auto format = arch::x86_64::format_from(
        {.cr0 = registers.first, .cr3 = 0, .cr4 = registers.second, .efer = registers.third});
    if (!format) return format.error();
    return arch::AnyFormat(format.value());
  }
  // The kernel loads its roots while the MMU is still off and turns it on next: decode them as they
  // will be used (SCTLR_EL1.M, Arm ARM D19.2.132).
  auto format = arch::arm64::format_from(
      {.tcr = registers.first, .ttbr0 = 0, .ttbr1 = 0, .sctlr = registers.second | 1});
  if (!format) return format.error();
  return arch::AnyFormat(format.value());
}

arch::Frame root_of(arch::Arch arch, std::uint64_t raw) {
  return arch == arch::Arch::X86_64 ? arch::x86_64::root_of(raw) : arch::arm64::root_of(raw);
}

}  // namespace sealvisor::model
