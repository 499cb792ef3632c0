// gVisor (platform ptrace) makes a stub process: all below the stub goes, then all above it.
//
// Source: google/gvisor, pkg/sentry/platform/ptrace/subprocess.go (newSubprocess, unmap: "This will
// panic on failure"), pkg/sentry/platform/ptrace/stub_unsafe.go (stubInit: from the end of the
// address space on downwards). Release makes the same calls when a process has ended.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void gvisor_ptrace(Program& program) {
  const Range window = program.window();
  if (!program.munmap("all below the stub", {0, window.start})) return;
  program.munmap("all above the stub", {window.end, Program::task_size()});
}

}  // namespace sealvisor::compat
