// CRIU restores a process where arch_prctl can map a vdso (x86-64 with CONFIG_CHECKPOINT_RESTORE):
// nothing is parked. Everything old is unmapped, vdso and vvar with it, a new vdso is mapped into
// the restorer and moved to where the image has it.
//
// Source: checkpoint-restore/criu, criu/pie/restorer.c (vdso_needs_parking: not if can_map_vdso;
// unmap_old_vmas; arch_map_vdso), criu/pie/parasite-vdso.c (remap_rt_vdso). The kernel's
// half: 6.12, arch/x86/kernel/process_64.c (prctl_map_vdso), arch/x86/entry/vdso/vma.c
// (map_vdso_once, map_vdso). The place is a hint to the kernel, and taken if nothing is there: so
// it is made free first, as pull request 3012 of CRIU has it.
#include "guest/compat/criu.h"

namespace sealvisor::compat {

void criu_map(Program& program) {
  constexpr int kMapVdso64 = 0x2003;  // arch/x86/include/uapi/asm/prctl.h, ARCH_MAP_VDSO_64
  const Premapped premapped(program);
  if (!unmap_old(program, premapped)) return;
  const std::uintptr_t park = program.park();
  if (!program.munmap("a place in the restorer", {park, park + kParkPages * kPage})) return;
  if (!program.arch_prctl("a new vdso into the restorer", kMapVdso64, park)) return;
  // The kernel keeps their order and distance.
  std::uintptr_t at = park;
  for (Place& place : program.places()) {
    place.now = at;
    at += place.size();
  }
  move_to_image(program, premapped);
}

}  // namespace sealvisor::compat
