// rr makes a private mapping one that it shares with the process: the mapping is moved away, shared
// memory is mapped in its place, filled from the moved one, and that is unmapped.
//
// Source: rr-debugger/rr, src/Session.cc (make_private_shared: mremap with MREMAP_MAYMOVE |
// MREMAP_FIXED, steal_mapping, munmap). Here it is done to [vdso], which is a private mapping.
#include <sys/mman.h>

#include "guest/compat/program.h"

namespace sealvisor::compat {

void rr_share(Program& program) {
  constexpr std::uintptr_t kFree = 0x2000'0000'0000;
  Place* const vdso = program.find("[vdso]");
  if (vdso == nullptr) return;
  const Range old{vdso->start(), vdso->start() + vdso->size()};
  if (!program.move("[vdso] to free memory", *vdso, kFree)) return;
  if (!program.map("shared memory in its place", old, MAP_SHARED)) return;
  program.munmap("the moved [vdso]", {kFree, kFree + vdso->size()});
}

}  // namespace sealvisor::compat
