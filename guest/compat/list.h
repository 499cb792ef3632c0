// What is known of software that moves or unmaps system mappings: the sequences of system calls
// that it makes on them, one file of this folder each. Shared by the guest (which makes the calls)
// and the VMM (which says what became of them). Constant tables only.
//
// The facts are from the public source of each program; the field `source` names repository, file
// and function. Nothing of their code is here.
#pragma once

#include <array>
#include <string_view>

#include "guest/scenario/scenario.h"

namespace sealvisor::compat {

/// One sequence, as scenario `compat/<name>`.
struct Sequence {
  std::string_view scenario;  ///< One of scenario::kScenarios, kind Sequence.
  std::string_view software;  ///< "CRIU".
  std::string_view when;      ///< When the software makes these calls.
  std::string_view source;    ///< Repository, file, function.
  std::string_view then;      ///< What the software does when one of them fails.
  bool x86_only = false;      ///< The software has it on x86-64 alone.
  /// Makes calls that a kernel has with CONFIG_CHECKPOINT_RESTORE only.
  bool checkpoint_restore = false;
  /// Its stub lies below all other memory: /helpers/compat-low, else /helpers/compat. x86-64 only.
  bool low = false;
};

inline constexpr auto kSequences = std::to_array<Sequence>({
    {"compat/criu-park", "CRIU",
     "restore: moves vdso and vvar away, unmaps the rest, moves them to where the image has them",
     "checkpoint-restore/criu: criu/pie/restorer.c (__export_restore_task, unmap_old_vmas), "
     "criu/pie/parasite-vdso.c (vdso_do_park, park_at, remap_rt_vdso)",
     "the restorer ends with 'Restorer fail' and the whole restore is undone"},
    {"compat/criu-proxy", "CRIU",
     "restore of another kernel's image: moves vdso and vvar away, unmaps the rest, marks the vdso",
     "checkpoint-restore/criu: criu/pie/parasite-vdso.c (vdso_do_park, park_at, add_vdso_proxy)",
     "the restorer ends with 'Restorer fail' and the whole restore is undone"},
    {"compat/criu-start", "CRIU",
     "first start, to dump or restore, where arch_prctl maps a vdso: a helper drops its vdso and "
     "vvar to look at the 32-bit vdso",
     "checkpoint-restore/criu: criu/vdso.c (vdso_fill_compat_symtable), criu/vdso-compat.c "
     "(compat_vdso_helper)",
     "'Failed to unmap native vdso', and criu ends before it has begun", true},
    {"compat/criu-map", "CRIU",
     "restore where arch_prctl maps a vdso: unmaps everything old, maps a new vdso, moves it",
     "checkpoint-restore/criu: criu/pie/restorer.c (vdso_needs_parking, unmap_old_vmas, "
     "arch_map_vdso), criu/pie/parasite-vdso.c (remap_rt_vdso); pull request 3012",
     "'Unable to unmap', the restorer ends and the whole restore is undone", true, true},
    {"compat/uml-stub", "UML",
     "a new address space, from 6.13 on: the stub process unmaps all below itself",
     "torvalds/linux: arch/um/kernel/skas/mmu.c (init_new_context), arch/um/kernel/um_arch.c "
     "(linux_main), arch/um/os-Linux/skas/process.c (userspace); commits 68b9883cc16e, "
     "e167cc7a95fe",
     "'Error flushing stub syscalls', and UML ends", true},
    {"compat/uml-flush", "UML",
     "exec, up to 5.11, 32-bit: the stub process unmaps all below itself, then all above",
     "torvalds/linux: arch/um/kernel/exec.c (flush_thread), arch/um/include/shared/as-layout.h "
     "(STUB_START), arch/x86/um/os-Linux/task_size.c (os_get_top_address)",
     "'flush_thread - clearing address space failed', and the program is killed", true, false,
     true},
    {"compat/gvisor-stub", "gVisor",
     "a new stub process of systrap: unmaps all above the stub, then all below it",
     "google/gvisor: pkg/sentry/platform/systrap/subprocess_linux.go (forkStub), "
     "pkg/sentry/platform/systrap/subprocess.go (unmap)",
     "an error or a panic of the sentry: no sandbox starts"},
    {"compat/gvisor-ptrace", "gVisor",
     "a new stub process of ptrace: unmaps all below the stub, then all above it",
     "google/gvisor: pkg/sentry/platform/ptrace/subprocess.go (newSubprocess, unmap), "
     "pkg/sentry/platform/ptrace/stub_unsafe.go (stubInit)",
     "a panic of the sentry: no sandbox starts"},
    {"compat/rr-record", "rr", "record: after each exec vvar is unmapped",
     "rr-debugger/rr: src/record_syscall.cc (process_execve)",
     "an assertion fails (the call is an infallible one) and the recording ends"},
    {"compat/rr-replay", "rr", "replay of an exec, checkpoints: unmaps each mapping but its own",
     "rr-debugger/rr: src/AddressSpace.cc (unmap_all_but_rr_mappings), src/replay_syscall.cc "
     "(process_execve)",
     "an assertion fails (the calls are infallible ones) and the replay ends"},
    {"compat/rr-move", "rr",
     "a process is copied into a fresh one, whose vdso and vvar are moved away and then to where "
     "the copied one has them",
     "rr-debugger/rr: src/Task.cc (dup_from, move_vdso_and_vvar_mappings)",
     "an assertion fails ('Failed to move') and rr ends"},
});

/// The sequence of `scenario`; nullptr: that is none.
[[nodiscard]] constexpr const Sequence* find(std::string_view scenario) {
  for (const Sequence& sequence : kSequences) {
    if (sequence.scenario == scenario) return &sequence;
  }
  return nullptr;
}

}  // namespace sealvisor::compat
