#include "arch/linux_entry.h"

#include "arch/linux_swap.h"

namespace sealvisor::arch {

const char* name_of(NonPresentKind kind) {
  return kind == NonPresentKind::ProtNone ? "PROT_NONE" : "swap or migration";
}

NonPresent decode_non_present(Arch arch, std::uint64_t entry) {
  const SoftEntry decoded = decode_soft_entry(arch, entry);
  switch (decoded.kind) {
    case SoftEntryKind::ProtNone:
    case SoftEntryKind::Invalidated:
      // Two reasons, one meaning: the page is still there and user mode can't reach it.
      return {NonPresentKind::ProtNone, decoded.frame};
    case SoftEntryKind::Swap:
    case SoftEntryKind::Migration:
    case SoftEntryKind::Marker:
    case SoftEntryKind::Empty:
      break;
  }
  return {};
}

}  // namespace sealvisor::arch
