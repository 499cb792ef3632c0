// UML makes an address space, from 6.13 on: the process that stands for it unmaps everything below
// the stub's pages, which are the last of the address space.
//
// Source: torvalds/linux, arch/um/kernel/skas/mmu.c (init_new_context: unmap(new_id, 0,
// STUB_START)), arch/um/kernel/um_arch.c (linux_main: the stub is put at host_task_size). Since
// commits 68b9883cc16e ("um: Discover host_task_size from envp") and e167cc7a95fe ("um: clear all
// memory in new userspace processes") that is the host's own end of memory; before, 64-bit UML
// ended at 0x7fc0002000 (arch/x86/um/os-Linux/task_size.c), below the place where a host puts vdso
// and vvar, and never met them. x86 only: arch/um has no other subarchitecture.
#include "guest/compat/program.h"

namespace sealvisor::compat {

void uml_stub(Program& program) {
  program.munmap("all below the stub", {0, program.window().start});
}

}  // namespace sealvisor::compat
