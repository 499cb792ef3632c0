// UML execs a program, up to 6.8: the process that stands for the address space unmaps everything
// below the stub's pages and everything above.
//
// Source: torvalds/linux, arch/um/kernel/exec.c (flush_thread: unmap(0, STUB_START), then
// unmap(STUB_END, host_task_size - STUB_END); the second only if the first was good).
#include "guest/compat/program.h"

namespace sealvisor::compat {

void uml_flush(Program& program) {
  const Range window = program.window();
  if (!program.munmap("all below the stub", {0, window.start})) return;
  program.munmap("all above the stub", {window.end, Program::task_size()});
}

}  // namespace sealvisor::compat
