// UML execs a program, up to 5.11: the process that stands for the address space unmaps everything
// below the stub's pages, which are at 1 MiB, and everything above.
//
// Source: torvalds/linux, arch/um/kernel/exec.c (flush_thread: unmap(0, STUB_START), then
// unmap(STUB_END, host_task_size - STUB_END); the second only if the first was good),
// arch/um/include/shared/as-layout.h (STUB_START). 32-bit UML looks for the end of the host's
// address space (arch/x86/um/os-Linux/task_size.c, os_get_top_address) and so meets vdso and vvar;
// here a 64-bit process makes its calls. That of 64-bit UML was 0x7fc0002000, below both.
// Since 5.12 (9f0b4807a44f, bfc58e2b98e9) the stub is the last of the address space, and there is
// nothing above it that has to go.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void uml_flush(Program& program) {
  const Range window = program.window();
  if (!program.munmap("all below the stub", {0, window.start})) return;
  program.munmap("all above the stub", {window.end, Program::task_size()});
}

}  // namespace sealvisor::compat
