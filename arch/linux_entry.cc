#include "arch/linux_entry.h"

#include "arch/arm64/bits.h"
#include "arch/x86_64/bits.h"

namespace sealvisor::arch {

const char* name_of(NonPresentKind kind) {
  return kind == NonPresentKind::ProtNone ? "PROT_NONE" : "swap or migration";
}

NonPresent decode_non_present(Arch arch, std::uint64_t entry) {
  if (arch == Arch::X86_64) {
    if ((entry & x86_64::kGlobal) == 0) return {};
    return {NonPresentKind::ProtNone, frame_of(Gpa{~entry & x86_64::kAddress})};
  }
  if ((entry & arm64::kNotGlobal) == 0) return {};
  return {NonPresentKind::ProtNone, frame_of(Gpa{entry & arm64::kAddress})};
}

}  // namespace sealvisor::arch
