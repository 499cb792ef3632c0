// From the three register values of a Registers event to the format that they select.
#pragma once

#include <cstdint>

#include "arch/any_format.h"
#include "arch/arch.h"
#include "vmm/base/result.h"

namespace sealvisor::model {

/// The registers that decide how addresses are translated, as event::Kind::Registers carries them.
struct PagingRegisters {
  std::uint64_t first = 0;   ///< x86-64 CR0, arm64 TCR_EL1.
  std::uint64_t second = 0;  ///< x86-64 CR4, arm64 SCTLR_EL1.
  std::uint64_t third = 0;   ///< x86-64 EFER, arm64 0.
  friend bool operator==(const PagingRegisters&, const PagingRegisters&) = default;
};

/// The format, or an error while paging is off or of a kind that is refused by name.
[[nodiscard]] Result<arch::AnyFormat> format_of(arch::Arch arch, const PagingRegisters& registers);

/// The frame of a raw root register: CR3 without PCID and no-flush, TTBR without ASID and CNP.
[[nodiscard]] arch::Frame root_of(arch::Arch arch, std::uint64_t raw);

}  // namespace sealvisor::model
