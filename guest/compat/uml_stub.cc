// UML makes an address space: the process that stands for it unmaps everything below the stub's
// pages, which are the last of the address space.
//
// Source: torvalds/linux, arch/um/kernel/skas/mmu.c (init_new_context: "Ensure the new MM is clean
// and nothing unwanted is mapped", unmap(0, STUB_START)), arch/um/kernel/skas/stub_exe.c. x86 only:
// arch/um has no other subarchitecture.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void uml_stub(Program& program) {
  program.munmap("all below the stub", {0, program.window().start});
}

}  // namespace sealvisor::compat
