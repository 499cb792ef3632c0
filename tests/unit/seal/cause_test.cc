#include "vmm/seal/cause.h"

#include <gtest/gtest.h>

namespace sealvisor::seal {
namespace {

struct CauseCase {
  std::vector<std::string> functions;
  bool complete;
  Cause cause;
  std::string by;
};

TEST(CauseOf, GoesByWhatIsOnThePath) {
  const std::vector<CauseCase> cases = {
      {{"set_pte", "do_fault", "handle_mm_fault", "exc_page_fault", "asm_exc_page_fault"},
       true,
       Cause::Fault,
       "handle_mm_fault"},
      {{"copy_present_ptes", "copy_page_range", "dup_mm", "copy_process", "kernel_clone",
        "__x64_sys_clone", "do_syscall_64"},
       true,
       Cause::Fork,
       "copy_page_range"},
      {{"unmap_page_range", "unmap_vmas", "exit_mmap", "mmput", "do_exit", "__x64_sys_exit_group"},
       true,
       Cause::Exit,
       "exit_mmap"},
      {{"unmap_page_range", "exit_mmap", "mmput", "begin_new_exec", "load_elf_binary",
        "__x64_sys_execve"},
       true,
       Cause::Exec,
       "begin_new_exec"},
      {{"unmap_page_range", "__oom_reap_task_mm", "oom_reaper", "kthread", "ret_from_fork_asm"},
       true,
       Cause::Exit,
       "__oom_reap_task_mm"},
      {{"unmap_page_range", "do_vmi_munmap", "__vm_munmap", "__x64_sys_munmap", "do_syscall_64"},
       true,
       Cause::OwnCall,
       "munmap"},
      {{"move_page_tables", "__arm64_sys_mremap", "invoke_syscall"},
       true,
       Cause::OwnCall,
       "mremap"},
      {{"change_protection", "__ia32_sys_mprotect"}, true, Cause::OwnCall, "mprotect"},
      {{"zap_page_range_single", "vdso_join_timens", "timens_install", "__x64_sys_setns"},
       true,
       Cause::TimeNamespace,
       "vdso_join_timens"},
      // The same in a fork: the namespace is why.
      {{"zap_page_range_single", "vdso_join_timens", "timens_on_fork", "copy_namespaces",
        "copy_process", "__x64_sys_clone"},
       true,
       Cause::TimeNamespace,
       "vdso_join_timens"},
      {{"_copy_from_user", "write_mem", "vfs_write", "__x64_sys_write"},
       true,
       Cause::Outside,
       "write_mem"},
      // It faults the page in to write to it: who asked for that counts.
      {{"do_wp_page", "handle_mm_fault", "access_remote_vm", "mem_rw", "mem_write", "vfs_write",
        "__x64_sys_pwrite64"},
       true,
       Cause::Outside,
       "mem_write"},
      {{"unmap_page_range", "surprise", "get_signal", "exit_to_user_mode_loop"},
       true,
       Cause::Kernel,
       "unmap_page_range"},
      {{"unmap_page_range", "surprise", "__x64_sys_getpid", "do_syscall_64"},
       true,
       Cause::Kernel,
       "getpid"},
      {{"unmap_page_range", "surprise"}, false, Cause::Unknown, "unmap_page_range"},
      {{"unmap_page_range", "exit_mmap"}, false, Cause::Exit, "exit_mmap"},
      {{}, false, Cause::Unknown, ""},
      {{}, true, Cause::Unknown, ""},
  };
  for (const CauseCase& one : cases) {
    const CauseFacts facts = cause_of(one.functions, one.complete);
    const std::string name = one.functions.empty() ? "nothing" : one.functions.back();
    EXPECT_EQ(facts.cause, one.cause) << name << ": " << name_of(facts.cause);
    EXPECT_EQ(facts.by, one.by) << name;
  }
}

TEST(CauseOf, WhatIsNoChangeInALife) {
  for (const Cause cause : {Cause::Fault, Cause::Fork, Cause::Exit, Cause::Exec}) {
    EXPECT_TRUE(is_lifecycle(cause)) << name_of(cause);
  }
  for (const Cause cause : {Cause::OwnCall, Cause::TimeNamespace, Cause::Outside, Cause::UserStore,
                            Cause::Kernel, Cause::Unknown}) {
    EXPECT_FALSE(is_lifecycle(cause)) << name_of(cause);
  }
}

}  // namespace
}  // namespace sealvisor::seal
