// Why an entry of a system mapping was written: what the call path of the writer says. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sealvisor::seal {

enum class Cause : std::uint8_t {
  Fault,          ///< A page fault, or the kernel's own access to the page: the page is filled in.
  Fork,           ///< Copied to a child.
  Exit,           ///< The process ends: everything goes.
  Exec,           ///< It execs another program: everything goes.
  OwnCall,        ///< A system call that is there to change mappings: user mode asked for it.
  TimeNamespace,  ///< It enters a time namespace: vvar is zapped, to show another page then.
  Outside,        ///< Somebody else's access to memory: /dev/mem, /proc/PID/mem, ptrace.
  UserStore,      ///< A store of user mode itself, through some mapping of the tables.
  Kernel,         ///< The kernel by itself, and none of the above.
  Unknown,        ///< The path could not be told.
};
/// "first touch or refault", "fork", ...: in words.
[[nodiscard]] const char* name_of(Cause cause);

/// Causes that are no change of the mapping in a process's life, if what they do is what their name
/// says: filled in, copied, gone with the process.
[[nodiscard]] bool is_lifecycle(Cause cause);

struct CauseFacts {
  Cause cause = Cause::Unknown;
  std::string by;  ///< "munmap", "vdso_join_timens": the call or function that decided it.
};

/// What a call path says, the function that stored first. `complete`: it leads to where the kernel
/// was entered. Names that several causes could have are judged in the order of the table in
/// cause.cc; without one of them a path that is not complete says nothing.
[[nodiscard]] CauseFacts cause_of(const std::vector<std::string>& functions, bool complete);

}  // namespace sealvisor::seal
