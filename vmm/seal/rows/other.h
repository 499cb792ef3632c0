// Everything else that is done to a mapping or to its process.
#pragma once

#include <array>
#include <cerrno>

#include "vmm/seal/rows/advise.h"
#include "vmm/seal/rows/map.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal::rows {

inline constexpr std::string_view kNoFaults =
    "fs/userfaultfd.c userfaultfd_register: -EINVAL for VM_SPECIAL (vma_can_userfault). mseal.rst "
    "says that mseal does not block userfaultfd: what keeps it out is another check";
inline constexpr std::string_view kNoFaultMove =
    "mm/userfaultfd.c validate_move_areas: -EINVAL where the two mappings have not the same "
    "permissions, or are not anonymous";
inline constexpr std::string_view kNoFaultCopy =
    "mm/userfaultfd.c uffd_mfill_lock: -ENOENT where no userfaultfd is registered";
inline constexpr std::string_view kSealedAgain =
    "mm/mseal.c mseal_fixup: the flags are the same. mseal.rst agrees: no action, no error";
inline constexpr std::string_view kSealIt =
    "mm/mseal.c mseal_fixup: sets VM_SEALED, which no entry shows";
inline constexpr std::string_view kSealPart =
    "mm/mseal.c mseal_fixup, vma_modify_flags: the split is refused (mm/mmap.c "
    "special_mapping_split): -EINVAL. mseal.rst has errors of splitting, and calls them rare";
inline constexpr std::string_view kSealNothing = "mm/mseal.c do_mseal: 0 for length 0";
inline constexpr std::string_view kSealThenUnmap =
    "mm/mseal.c sets VM_SEALED, mm/vma.c vms_gather_munmap_vmas then answers -EPERM. mseal.rst "
    "agrees";
inline constexpr std::string_view kNoNames =
    "kernel/sys.c prctl_set_vma: -EINVAL without CONFIG_ANON_VMA_NAME, which these kernels lack";
inline constexpr std::string_view kNoNodes =
    "kernel/sys_ni.c: -ENOSYS without CONFIG_NUMA, which these kernels lack";
inline constexpr std::string_view kForced =
    "mm/gup.c check_vma_flags: FOLL_FORCE may write where VM_MAYWRITE of a private mapping "
    "(is_cow_mapping) is, seal or not; mm/memory.c do_cow_fault, do_wp_page: into a copy. "
    "mseal.rst "
    "agrees, under \"mseal doesn't block\"";
inline constexpr std::string_view kNotForced =
    "mm/gup.c check_vma_flags: -EFAULT for VM_IO or VM_PFNMAP, and with FOLL_FORCE for a mapping "
    "without VM_MAYWRITE; mm/mmap.c special_mapping_vmops has no access: fs/proc/base.c mem_rw and "
    "kernel/ptrace.c generic_ptrace_pokedata answer -EIO";
inline constexpr std::string_view kForceOff =
    "fs/proc/base.c proc_mem_foll_force: without FOLL_FORCE, as proc_mem.force_override says, "
    "mm/gup.c check_vma_flags refuses a write without VM_WRITE, and mem_rw answers -EIO";
inline constexpr std::string_view kReadMemory =
    "mm/gup.c check_vma_flags: a read of what may be read";
inline constexpr std::string_view kNoReadMemory =
    "mm/gup.c check_vma_flags: -EFAULT for VM_IO or VM_PFNMAP, and mm/mmap.c special_mapping_vmops "
    "has no access: fs/proc/base.c mem_rw answers -EIO, mm/process_vm_access.c -EFAULT";
inline constexpr std::string_view kNoRemoteWrite =
    "mm/process_vm_access.c process_vm_rw_single_vec: pins pages with FOLL_WRITE and without "
    "FOLL_FORCE: -EFAULT. process_vm_writev(2) agrees";
inline constexpr std::string_view kForcedThenSealed =
    "mm/gup.c check_vma_flags: the write goes into a copy; mm/mseal.c can_modify_vma_madv: the "
    "advice that would drop the copy is refused, so that it stays";
inline constexpr std::string_view kForcedThenDropped =
    "mm/gup.c check_vma_flags: the write goes into a copy; mm/madvise.c "
    "madvise_dontneed_single_vma drops it, and the touch faults the kernel's frame in again";
inline constexpr std::string_view kPersonality =
    "kernel/exec_domain.c personality: a word that later calls and the next exec look at";
inline constexpr std::string_view kKnob =
    "kernel/sysctl.c, fs/drop_caches.c, mm/util.c: later calls and the next exec look at it; pages "
    "of the kernel's image are in no cache";
inline constexpr std::string_view kTimeNamespace =
    "kernel/time/namespace.c timens_commit, vdso_join_timens (arch/x86/entry/vdso/vma.c, "
    "arch/arm64/kernel/vdso.c): zaps [vvar]; vvar_fault then shows the page of the namespace first "
    "and the page that was there further back. time_namespaces(7) does not say so; a seal is not "
    "asked";
inline constexpr std::string_view kTimeNamespaceElse =
    "vdso_join_timens (arch/x86/entry/vdso/vma.c, arch/arm64/kernel/vdso.c): zaps the mapping of "
    "vvar data only";
inline constexpr std::string_view kProbe =
    "kernel/events/uprobes.c xol_add_vma, uprobe_write_opcode: a new mapping, and a copy of the "
    "program's page with the probe; nothing else";
inline constexpr std::string_view kForkCopies =
    "kernel/fork.c dup_mmap: the child gets each mapping without VM_DONTCOPY; those with VM_PFNMAP "
    "are copied (mm/memory.c vma_needs_copy), the others it faults in";
inline constexpr std::string_view kSharedMemory =
    "kernel/fork.c copy_mm: CLONE_VM shares the address space";
inline constexpr std::string_view kNotReclaimed =
    "mm/vmscan.c, mm/compaction.c, mm/ksm.c: take pages from the lists of folios, or from "
    "mappings that are mergeable; pages of the kernel's image are on none, and that of [uprobes] "
    "is on none either";
inline constexpr std::string_view kRaceSealed =
    "mm/vma.c vms_gather_munmap_vmas, mm/mremap.c mremap, mm/mprotect.c mprotect_fixup: each asks "
    "can_modify_vma with the lock of the address space held for writing, so that threads change "
    "nothing";

namespace other {

inline constexpr Calls kFaults = calls(Call::UffdRegister);
inline constexpr Calls kProcMemWrites =
    calls(Call::ProcMemSelf, Call::ProcMemOther, Call::ProcMemTracer, Call::UringWrite);
inline constexpr Calls kByAnyone = calls(Call::ProcMemSelf, Call::ProcMemOther, Call::UringWrite);
inline constexpr Calls kNamespace = calls(Call::TimeNamespaceSetns, Call::TimeNamespaceFork);
inline constexpr Kinds kNotData = kCode | kUprobes;

constexpr Arguments racing(scenario::Racing what) { return arguments(what); }

inline constexpr auto kRows = std::to_array<Row>({
    {.of = kFaults, .error = EINVAL, .source = kNoFaults},
    {.of = calls(Call::UffdMoveFrom, Call::UffdMoveOnto), .error = EINVAL, .source = kNoFaultMove},
    {.of = calls(Call::UffdCopyOnto), .error = ENOENT, .source = kNoFaultCopy},

    {.of = calls(Call::Mseal), .part = Part::Nothing, .source = kSealNothing},
    {.of = calls(Call::Mseal),
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .source = kSealedAgain},
    {.of = calls(Call::Mseal), .recipe = Recipe::Unsealed, .part = Part::Whole, .source = kSealIt},
    {.of = calls(Call::Mseal),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSealPart},
    {.of = calls(Call::MsealMunmap), .error = EPERM, .source = kSealThenUnmap},

    {.of = calls(Call::PrctlName), .error = EINVAL, .source = kNoNames},
    {.of = calls(Call::Mbind, Call::MovePages, Call::MigratePages),
     .error = ENOSYS,
     .source = kNoNodes},

    // Forced.
    {.of = calls(Call::PtracePoke),
     .kinds = kCopied,
     .change = Change::Privatised,
     .source = kForced,
     .exception = Exception::Forced,
     .breaks = "S5"},
    {.of = calls(Call::PtracePoke), .kinds = kUnwritable, .error = EIO, .source = kNotForced},
    {.of = kByAnyone,
     .kinds = kCopied,
     .forcings = kAlways,
     .change = Change::Privatised,
     .source = kForced,
     .exception = Exception::Forced,
     .breaks = "S5"},
    {.of = calls(Call::ProcMemTracer),
     .kinds = kCopied,
     .forcings = kAlways | kPtrace,
     .change = Change::Privatised,
     .source = kForced,
     .exception = Exception::Forced,
     .breaks = "S5"},
    {.of = kByAnyone,
     .kinds = kCopied,
     .forcings = kPtrace | kNever,
     .error = EIO,
     .source = kForceOff},
    {.of = calls(Call::ProcMemTracer),
     .kinds = kCopied,
     .forcings = kNever,
     .error = EIO,
     .source = kForceOff},
    {.of = kProcMemWrites, .kinds = kUnwritable, .error = EIO, .source = kNotForced},
    {.of = calls(Call::ProcMemRead), .kinds = kCode, .source = kReadMemory},
    {.of = calls(Call::ProcMemRead),
     .kinds = kVvar | kUprobes,
     .error = EIO,
     .source = kNoReadMemory},
    {.of = calls(Call::VmWritev), .error = EFAULT, .source = kNoRemoteWrite},
    {.of = calls(Call::VmReadv), .kinds = kCode, .source = kReadMemory},
    {.of = calls(Call::VmReadv),
     .kinds = kVvar | kUprobes,
     .error = EFAULT,
     .source = kNoReadMemory},
    {.of = calls(Call::ForcedMadvise),
     .recipe = Recipe::Sealed,
     .kinds = kCopied,
     .forcings = kAlways,
     .error = EPERM,
     .change = Change::Privatised,
     .source = kForcedThenSealed,
     .exception = Exception::Forced,
     .breaks = "S5"},
    {.of = calls(Call::ForcedMadvise),
     .recipe = Recipe::Unsealed,
     .kinds = kCopied,
     .forcings = kAlways,
     .change = Change::Refaulted,
     .source = kForcedThenDropped,
     .breaks = "S2 S5"},
    {.of = calls(Call::ForcedMadvise),
     .kinds = kCopied,
     .forcings = kPtrace | kNever,
     .error = EIO,
     .source = kForceOff},
    {.of = calls(Call::ForcedMadvise), .kinds = kUnwritable, .error = EIO, .source = kNotForced},

    // The process, and memory as a whole.
    {.of = calls(Call::Personality), .source = kPersonality},
    {.of = calls(Call::Knob), .source = kKnob},
    {.of = kNamespace,
     .kinds = kVvar,
     .change = Change::Moved,
     .source = kTimeNamespace,
     .exception = Exception::ByDesign,
     .breaks = "S2"},
    {.of = calls(Call::TimeNamespaceSetns), .kinds = kNotData, .source = kTimeNamespaceElse},
    {.of = calls(Call::TimeNamespaceFork), .kinds = kCode, .source = kTimeNamespaceElse},
    {.of = calls(Call::UprobeHit), .source = kProbe},
    {.of = calls(Call::Fork), .kinds = kCode | kVvar, .source = kForkCopies},
    {.of = calls(Call::Fork, Call::TimeNamespaceFork),
     .kinds = kUprobes,
     .change = Change::Gone,
     .source = kUprobesStay,
     .exception = Exception::ByDesign},
    {.of = calls(Call::CloneVm), .source = kSharedMemory},
    {.of = calls(Call::PressureSwap, Call::PressureCompact, Call::PressureKsm, Call::PressureMemcg),
     .source = kNotReclaimed},

    {.of = calls(Call::Race), .recipe = Recipe::Sealed, .error = EPERM, .source = kRaceSealed},
    {.of = calls(Call::Race),
     .with = racing(scenario::Racing::Munmap),
     .recipe = Recipe::Unsealed,
     .change = Change::Gone,
     .source = kUnmap},
    {.of = calls(Call::Race),
     .with = racing(scenario::Racing::Mprotect),
     .recipe = Recipe::Unsealed,
     .change = Change::PermissionChanged,
     .source = "mm/mprotect.c mprotect_fixup: the first thread takes all permissions, the others "
               "find nothing to do",
     .permissions = "non-present"},
    {.of = calls(Call::Race),
     .with = racing(scenario::Racing::Mremap),
     .recipe = Recipe::Unsealed,
     .change = Change::Moved,
     .source = kMove},
    {.of = calls(Call::Race),
     .with = racing(scenario::Racing::MmapFixed),
     .recipe = Recipe::Unsealed,
     .change = Change::Replaced,
     .source = kMapOver},
    {.of = calls(Call::Race),
     .with = racing(scenario::Racing::Mixed),
     .recipe = Recipe::Unsealed,
     .change = kSomeChange,
     .source = "mm/mprotect.c, mm/mremap.c, mm/mmap.c: what is left depends on the order of the "
               "threads"},
});
}  // namespace other

}  // namespace sealvisor::seal::rows
