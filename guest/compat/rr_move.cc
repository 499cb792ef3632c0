// rr copies a process into a fresh one: the fresh one's vdso and vvar are moved to where the copied
// process has them. First all of them go to free memory near the bottom of the address space, for
// old and new places may overlap, then to their new places.
//
// Source: rr-debugger/rr, src/Task.cc (dup_from, move_vdso_and_vvar_mappings, mremap_move:
// MREMAP_MAYMOVE | MREMAP_FIXED). Why it is done: issue 3586. What becomes of vvar behind that
// (AddressSpace::unmap_all_but_rr_mappings with exclude_vdso_vvar) is left out.
#include "guest/compat/program.h"
#include "guest/compat/text.h"

namespace sealvisor::compat {
namespace {

constexpr std::string_view kNames[] = {"[vdso]", "[vvar]", "[vvar_vclock]"};

/// Moves them side by side to `to`. False: rr gives up.
bool move_all(Program& program, std::uintptr_t to, std::string_view where) {
  for (const std::string_view name : kNames) {
    Place* const place = program.find(name);
    if (place == nullptr) continue;
    if (!program.move(Text({name, where}).view(), *place, to)) return false;
    to += place->size();
  }
  return true;
}

}  // namespace

void rr_move(Program& program) {
  constexpr std::uintptr_t kBottom = 65536;  // The place from which rr looks for free memory.
  constexpr std::uintptr_t kCopied = 0x2000'0000'0000;
  if (!move_all(program, kBottom, " to free memory")) return;
  (void)move_all(program, kCopied, " to its place in the copy");
}

}  // namespace sealvisor::compat
