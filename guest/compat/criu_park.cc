// CRIU restores a process whose image is of this kernel: vdso and vvar are parked in the restorer,
// everything old is unmapped, and they are moved to where the image has them.
//
// Source: checkpoint-restore/criu, criu/pie/restorer.c (__export_restore_task: vdso_do_park, then
// unmap_old_vmas, then vdso_proxify), criu/pie/parasite-vdso.c (vdso_do_park, park_at: the vdso
// first, and nothing more if that fails; remap_one: MREMAP_MAYMOVE | MREMAP_FIXED; remap_rt_vdso).
// On x86-64 it does so where arch_prctl can't map a vdso (criu_map.cc), on arm64 always.
#include "guest/compat/criu.h"

namespace sealvisor::compat {

void criu_park(Program& program) {
  const Premapped premapped(program);
  if (!park_all(program) || !unmap_old(program, premapped)) return;
  move_to_image(program, premapped);
}

}  // namespace sealvisor::compat
