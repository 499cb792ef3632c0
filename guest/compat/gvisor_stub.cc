// gVisor (platform systrap) makes a stub process: a fork of the sentry that keeps the stub's code
// alone. What is above goes first, when it is forked; then all below, and once more all above.
//
// Source: google/gvisor, pkg/sentry/platform/systrap/subprocess_linux.go (forkStub: munmap from
// stubROMapEnd to maximumUserAddress), pkg/sentry/platform/systrap/subprocess.go (unmap: "This will
// panic on failure"), pkg/sentry/platform/systrap/stub_unsafe.go (stubInit: the stub is put at
// random into the last 128th of the address space). Where it lies decides whether the first or the
// second call meets vdso and vvar; here it is above them.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void gvisor_stub(Program& program) {
  const Range window = program.window();
  if (!program.munmap("all above the stub's code", {window.end, Program::task_size()})) return;
  if (!program.munmap("all below the stub", {0, window.start})) return;
  program.munmap("all above the stub", {window.end, Program::task_size()});
}

}  // namespace sealvisor::compat
