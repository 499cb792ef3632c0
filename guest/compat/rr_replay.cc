// rr replays an exec, or restores a checkpoint: every mapping of the stub process is unmapped but
// rr's own page (here: the window), one call each, by rising address. The recorded ones, a copy of
// the vdso among them, are mapped then.
//
// Source: rr-debugger/rr, src/AddressSpace.cc (unmap_all_but_rr_mappings, "Do not attempt to unmap
// [vsyscall]"), src/replay_syscall.cc (process_execve).
#include "guest/compat/program.h"

namespace sealvisor::compat {

void rr_replay(Program& program) {
  std::array<Mapped, protocol::kMaxCalls> mapped{};
  const std::size_t count = Program::all_mappings(mapped);
  const Range window = program.window();
  for (const Mapped& one : std::span(mapped).first(count)) {
    const bool own = one.range.start < window.end && one.range.end > window.start;
    if (own || one.range.start >> 63 != 0) continue;
    if (!program.munmap(one.name(), one.range)) return;
  }
}

}  // namespace sealvisor::compat
