// CRIU starts, to dump or to restore: a helper process drops its vdso and vvar, to have a 32-bit
// vdso mapped instead and look at it.
//
// Source: checkpoint-restore/criu, criu/vdso.c (vdso_fill_compat_symtable: munmap of vdso, of vvar,
// then arch_prctl ARCH_MAP_VDSO_32; exit codes 1, 2, 3). The last of them is left out here: it
// needs a kernel with CONFIG_CHECKPOINT_RESTORE, and changes nothing that was there.
#include "guest/compat/program.h"
#include "guest/compat/text.h"

namespace sealvisor::compat {

void criu_start(Program& program) {
  for (const char* const name : {"[vdso]", "[vvar]"}) {
    const Place* const place = program.find(name);
    if (place == nullptr) continue;
    if (!program.munmap(name, {place->now, place->now + place->size()})) return;
  }
}

}  // namespace sealvisor::compat
