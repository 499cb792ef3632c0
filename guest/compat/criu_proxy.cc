// CRIU restores a process whose image is of another kernel: the image's vdso stays where it was and
// is made to jump into this kernel's, which stays parked and gets a mark in its ELF header.
//
// Source: checkpoint-restore/criu, criu/pie/parasite-vdso.c (vdso_do_park; add_vdso_proxy: mprotect
// to PROT_WRITE, vdso_put_mark, mprotect back; the answers are not looked at). The jumps are
// written into the image's copy, which is memory as any other.
#include <sys/mman.h>

#include "guest/compat/criu.h"

namespace sealvisor::compat {

void criu_proxy(Program& program) {
  const Premapped premapped(program);
  if (!park_all(program) || !unmap_old(program, premapped)) return;
  const Place* const vdso = program.find("[vdso]");
  if (vdso == nullptr) return;
  const Range range{vdso->now, vdso->now + vdso->size()};
  program.mprotect("the parked [vdso], to mark it", range, PROT_WRITE, Failure::Ignored);
  program.store(range.start);
  program.mprotect("the parked [vdso], marked", range, PROT_READ | PROT_EXEC, Failure::Ignored);
}

}  // namespace sealvisor::compat
