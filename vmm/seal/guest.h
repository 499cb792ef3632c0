// What a guest is, as far as it decides what is expected of it.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/arch.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal {

struct Guest {
  arch::Arch arch{};
  bool sealed = false;           ///< What its recipe promises.
  bool protection_keys = false;  ///< It has them on (x86-64, CR4.PKE).
  Force force = kAlways;         ///< proc_mem.force_override.
  /// Of an upstream recipe, or of an image of the user's, whose version is not known: the table
  /// speaks only of what both sources that were read, 6.12 and 7.3, answer the same.
  bool any_version = false;
};

/// What the kernel's command line `arguments` says about forced writes; kAlways, the default of
/// our recipes, if it says nothing. The last word counts.
[[nodiscard]] constexpr Force force_of(std::string_view arguments) {
  constexpr std::string_view kWord = "proc_mem.force_override=";
  const std::size_t at = arguments.rfind(kWord);
  if (at == std::string_view::npos) return kAlways;
  const std::string_view value = arguments.substr(at + kWord.size());
  if (value.starts_with("never")) return kNever;
  return value.starts_with("ptrace") ? kPtrace : kAlways;
}

}  // namespace sealvisor::seal
