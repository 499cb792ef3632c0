// What the kernel tells about another process: its image, its mappings, where its stack lies.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// The process that the thread `tid` belongs to; 0: there is no such thread any more.
[[nodiscard]] pid_t process_of(pid_t tid);

/// Reads the mappings of the process of the stopped thread `tid` and reads one byte of each of
/// their pages, by /proc/PID/mem: the kernel populates those of [vdso] for it, as a touch of the
/// process's own would. It does not do so for [vvar] (mm/memory.c, __access_remote_vm: not for
/// VM_PFNMAP). Then rings for each mapping, and for `process` with what is known of it now.
/// `write_stack`: the byte at the stack pointer is written again, so that no other process has that
/// page. `root`: what paths of images begin with and is left out of them.
void tell_process(Doorbell& doorbell, pid_t tid, protocol::Process& process, const char* root,
                  bool write_stack);

}  // namespace sealvisor::agent
