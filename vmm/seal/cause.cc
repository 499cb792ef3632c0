#include "vmm/seal/cause.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sealvisor::seal {

namespace {

struct KnownCause {
  std::string_view function;
  Cause cause;
};

// 6.12. The order matters: what stands first wins. None of these is a function that the compiler
// can do away with: they are called from other files, or through pointers.
constexpr auto kKnownCauses = std::to_array<KnownCause>({
    // drivers/char/mem.c: stores to physical memory.
    {"write_mem", Cause::Outside},
    // kernel/time/namespace.c and the vdso's file of each architecture. Called by setns, fork and
    // exec: before these.
    {"vdso_join_timens", Cause::TimeNamespace},
    // fs/proc/base.c; kernel/ptrace.c; mm/process_vm_access.c. They fault the page in, and may copy
    // it: before the fault.
    {"mem_write", Cause::Outside},
    {"ptrace_access_vm", Cause::Outside},
    {"process_vm_rw", Cause::Outside},
    // mm/memory.c. A fault of user mode, or of the kernel on its behalf (get_user_pages).
    {"handle_mm_fault", Cause::Fault},
    // mm/memory.c: kernel/fork.c's copy of the parent's tables.
    {"copy_page_range", Cause::Fork},
    {"copy_process", Cause::Fork},
});

/// What takes all memory of a process: mm/mmap.c; mm/oom_kill.c, of one that is killed.
constexpr auto kTeardowns = std::to_array<std::string_view>({"exit_mmap", "__oom_reap_task_mm"});
/// fs/exec.c: the old memory goes in here.
constexpr std::string_view kExec = "begin_new_exec";

// How a system call's function is called (arch/*/include/asm/syscall_wrapper.h).
constexpr auto kCallPrefixes = std::to_array<std::string_view>(
    {"__x64_sys_", "__ia32_compat_sys_", "__ia32_sys_", "__arm64_compat_sys_", "__arm64_sys_",
     "__se_compat_sys_", "__se_sys_", "__do_sys_", "__do_compat_sys_"});

/// Calls whose purpose is to change mappings, of the caller or of another process.
constexpr auto kMappingCalls = std::to_array<std::string_view>({"munmap",
                                                                "mremap",
                                                                "mprotect",
                                                                "pkey_mprotect",
                                                                "mmap",
                                                                "mmap2",
                                                                "mmap_pgoff",
                                                                "old_mmap",
                                                                "madvise",
                                                                "process_madvise",
                                                                "brk",
                                                                "shmat",
                                                                "shmdt",
                                                                "remap_file_pages",
                                                                "mlock",
                                                                "mlock2",
                                                                "mlockall",
                                                                "munlock",
                                                                "munlockall",
                                                                "mseal",
                                                                "arch_prctl",
                                                                "prctl",
                                                                "process_mrelease",
                                                                "process_vm_writev",
                                                                "ptrace",
                                                                "userfaultfd",
                                                                "migrate_pages",
                                                                "move_pages",
                                                                "mbind"});

std::string_view call_name(std::string_view function) {
  for (const std::string_view prefix : kCallPrefixes) {
    if (function.starts_with(prefix)) return function.substr(prefix.size());
  }
  return {};
}

bool has(const std::vector<std::string>& functions, std::string_view name) {
  return std::find(functions.begin(), functions.end(), name) != functions.end();
}

}  // namespace

const char* name_of(Cause cause) {
  switch (cause) {
    case Cause::Fault:
      return "fault";
    case Cause::Fork:
      return "fork";
    case Cause::Exit:
      return "exit";
    case Cause::Exec:
      return "exec";
    case Cause::OwnCall:
      return "system call";
    case Cause::TimeNamespace:
      return "time namespace";
    case Cause::Outside:
      return "outside";
    case Cause::UserStore:
      return "store of user mode";
    case Cause::Kernel:
      return "kernel";
    case Cause::Unknown:
      return "unknown";
  }
  return "unknown";
}

bool is_lifecycle(Cause cause) {
  return cause == Cause::Fault || cause == Cause::Fork || cause == Cause::Exit ||
         cause == Cause::Exec;
}

CauseFacts cause_of(const std::vector<std::string>& functions, bool complete) {
  for (const std::string_view teardown : kTeardowns) {
    if (!has(functions, teardown)) continue;
    const bool exec = has(functions, kExec);
    return {exec ? Cause::Exec : Cause::Exit, std::string(exec ? kExec : teardown)};
  }
  for (const KnownCause& known : kKnownCauses) {
    if (has(functions, known.function)) return {known.cause, std::string(known.function)};
  }
  std::string call;
  for (const std::string& function : functions) {
    const std::string_view name = call_name(function);
    if (!name.empty()) call = name;
  }
  if (std::find(kMappingCalls.begin(), kMappingCalls.end(), call) != kMappingCalls.end()) {
    return {Cause::OwnCall, call};
  }
  if (functions.empty()) return {};
  if (!complete) return {Cause::Unknown, functions.front()};
  return {Cause::Kernel, call.empty() ? functions.front() : call};
}

}  // namespace sealvisor::seal
