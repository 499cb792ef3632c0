// CRIU starts for the first time, to dump or to restore, where arch_prctl maps a vdso (x86-64 with
// CONFIG_CHECKPOINT_RESTORE): a helper process drops its vdso and vvar, to have a 32-bit vdso
// mapped instead and look at it. What it finds out is kept in /run/criu.kdat.
//
// Source: checkpoint-restore/criu, criu/kerndat.c (kerndat_init), criu/vdso.c
// (kerndat_vdso_fill_symtable, vdso_fill_compat_symtable: if kdat.compat_cr), criu/vdso-compat.c
// (compat_vdso_helper: munmap of vdso, of vvar, then arch_prctl ARCH_MAP_VDSO_32). The last of them
// is left out here: it changes nothing that was there.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void criu_start(Program& program) {
  for (const char* const name : {"[vdso]", "[vvar]", "[vvar_vclock]"}) {
    const Place* const place = program.find(name);
    if (place == nullptr) continue;
    if (!program.munmap(name, {place->now, place->now + place->size()})) return;
  }
}

}  // namespace sealvisor::compat
