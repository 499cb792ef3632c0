// rr records an exec: the new program's vvar is unmapped, so that the recording looks like the
// replay, which has none.
//
// Source: rr-debugger/rr, src/record_syscall.cc (process_execve). What rr does to the vdso then, it
// does through /proc/PID/mem (src/Monkeypatcher.cc), which no seal forbids.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void rr_record(Program& program) {
  for (const char* const name : {"[vvar]", "[vvar_vclock]"}) {
    const Place* const place = program.find(name);
    if (place == nullptr) continue;
    if (!program.munmap(name, {place->now, place->now + place->size()})) return;
  }
}

}  // namespace sealvisor::compat
