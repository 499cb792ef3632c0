// Advice and locks: mm/madvise.c, io_uring/advise.c, mm/mlock.c, mm/msync.c.
#pragma once

#include <array>
#include <cerrno>

#include "guest/scenario/numbers.h"
#include "vmm/seal/rows/map.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal::rows {

inline constexpr std::string_view kSealedDiscard =
    "mm/mseal.c can_modify_vma_madv: -EPERM for advice that discards (is_madv_discard: also "
    "MADV_REMOVE, MADV_DONTFORK and MADV_WIPEONFORK), of a sealed mapping without a file that may "
    "not be written (is_ro_anon: a special mapping has no file). mseal.rst: of anonymous memory "
    "only";
inline constexpr std::string_view kFlagsOnly =
    "mm/madvise.c madvise_vma_behavior, madvise_update_vma: a flag of the mapping, which no entry "
    "shows; no seal is asked (mm/mseal.c is_madv_discard)";
inline constexpr std::string_view kSameFlags =
    "mm/madvise.c madvise_update_vma: the flags are the same, it returns 0 before it would split";
inline constexpr std::string_view kIoNoFork =
    "mm/madvise.c madvise_vma_behavior: -EINVAL for MADV_DOFORK of VM_IO";
inline constexpr std::string_view kNoDump =
    "mm/madvise.c madvise_vma_behavior: -EINVAL for MADV_DODUMP of VM_SPECIAL, which VM_DONTEXPAND "
    "is part of";
inline constexpr std::string_view kNoKsm =
    "mm/ksm.c ksm_madvise: 0 and no flag for what KSM can't merge (vma_ksm_compatible), as "
    "VM_DONTEXPAND";
inline constexpr std::string_view kSwapIn =
    "mm/madvise.c madvise_willneed: looks for swapped pages, of which there are none";
inline constexpr std::string_view kReclaim =
    "mm/madvise.c madvise_cold_or_pageout_pte_range: passes over pages that are on no list "
    "(folio_test_lru), as those of the kernel's image";
inline constexpr std::string_view kNoPages =
    "mm/madvise.c can_madv_lru_vma, madvise_dontneed_free_valid_vma: -EINVAL for VM_PFNMAP";
inline constexpr std::string_view kZap =
    "mm/madvise.c madvise_dontneed_single_vma: zap_page_range_single; the touch faults the same "
    "frame in again (mm/mmap.c special_mapping_fault)";
inline constexpr std::string_view kNotAnon =
    "mm/madvise.c madvise_free_single_vma: -EINVAL unless anonymous; madvise_remove: -EINVAL "
    "without a file";
inline constexpr std::string_view kPopulate =
    "mm/madvise.c madvise_populate, mm/gup.c check_vma_flags: a read of what may be read";
inline constexpr std::string_view kNoPopulate =
    "mm/gup.c __get_user_pages: -EINVAL for MADV_POPULATE_* where check_vma_flags refuses: a write "
    "without VM_WRITE, VM_IO, VM_PFNMAP";
inline constexpr std::string_view kNoHuge =
    "mm/khugepaged.c madvise_collapse: -EINVAL where no huge page may be (VM_NO_KHUGEPAGED)";
inline constexpr std::string_view kNoSuchAdvice =
    "mm/madvise.c madvise_behavior_valid: -EINVAL, before any mapping is looked up: 6.12 has no "
    "guards, and without CONFIG_MEMORY_FAILURE no broken frames. madvise(2) of later kernels has "
    "them";
inline constexpr std::string_view kNotRemote =
    "mm/madvise.c process_madvise_behavior_valid: -EINVAL for what is not COLD, PAGEOUT, WILLNEED "
    "or COLLAPSE. process_madvise(2) of 6.12 agrees";
inline constexpr std::string_view kNoAdviceLength =
    "mm/madvise.c do_madvise, mm/mlock.c do_mlock: 0 for length 0, before any mapping is looked up";
inline constexpr std::string_view kDontCopy =
    "mm/madvise.c madvise_vma_behavior sets VM_DONTCOPY; kernel/fork.c dup_mmap leaves such a "
    "mapping out of the child";
inline constexpr std::string_view kUprobesStay =
    "kernel/events/uprobes.c xol_add_vma: [uprobes] has VM_DONTCOPY by design, so that a child "
    "does "
    "not get it (kernel/fork.c dup_mmap); one that is forked within a function whose return is "
    "probed gets one of its own (dup_xol_work)";
inline constexpr std::string_view kWipe =
    "mm/madvise.c madvise_vma_behavior sets VM_WIPEONFORK: no file, not shared. kernel/fork.c "
    "dup_mmap copies no entry then, and the child faults the same frames in. madvise(2): for "
    "private anonymous mappings only";
inline constexpr std::string_view kNoLock =
    "mm/mlock.c mlock_fixup: 0 and no flag for VM_SPECIAL (vma_supports_mlock), which "
    "VM_DONTEXPAND is part of; __mm_populate passes over VM_IO and VM_PFNMAP";
inline constexpr std::string_view kNoFile = "mm/msync.c msync: 0 where no file is shared";

namespace advise {
using namespace scenario;  // NOLINT(google-build-using-namespace): numbers for the rows below.

/// By madvise(2) and by io_uring (io_uring/advise.c io_madvise: do_madvise, by a worker).
inline constexpr Calls kLocal = calls(Call::Madvise, Call::UringMadvise);
inline constexpr Calls kRemote = calls(Call::ProcessMadvise, Call::ProcessMadviseOther);
inline constexpr Calls kAll =
    calls(Call::Madvise, Call::UringMadvise, Call::ProcessMadvise, Call::ProcessMadviseOther);
inline constexpr Calls kForked = calls(Call::MadviseFork);
inline constexpr Arguments kDiscards =
    arguments(kDontNeed, kDontNeedLocked, kFree, kRemove, kDontFork, kWipeOnFork);

inline constexpr auto kRows = std::to_array<Row>({
    {.of = kLocal, .part = Part::Nothing, .source = kNoAdviceLength},

    {.of = kLocal,
     .with = kDiscards,
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedDiscard},

    // Flags.
    {.of = kLocal, .with = arguments(kNormal, kKeepOnFork), .source = kSameFlags},
    {.of = kLocal,
     .with = arguments(kRandom, kSequential, kHugePage, kNoHugePage),
     .part = Part::Whole,
     .source = kFlagsOnly},
    {.of = kLocal,
     .with = arguments(kRandom, kSequential, kHugePage, kNoHugePage),
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = kLocal, .with = arguments(kDoFork), .kinds = kCode, .source = kSameFlags},
    {.of = kLocal,
     .with = arguments(kDoFork),
     .kinds = kVvar,
     .machine = Machine::Arm64,
     .source = kSameFlags},
    {.of = kLocal,
     .with = arguments(kDoFork),
     .kinds = kVvar,
     .machine = Machine::X86_64,
     .error = EINVAL,
     .source = kIoNoFork},
    {.of = kLocal,
     .with = arguments(kDoFork),
     .kinds = kUprobes,
     .error = EINVAL,
     .source = kIoNoFork},
    {.of = kLocal,
     .with = arguments(kDontDump),
     .kinds = kVvar,
     .machine = Machine::X86_64,
     .source = kSameFlags},
    {.of = kLocal,
     .with = arguments(kDontDump),
     .kinds = kVvar,
     .part = Part::Whole,
     .machine = Machine::Arm64,
     .source = kFlagsOnly},
    {.of = kLocal,
     .with = arguments(kDontDump),
     .kinds = kVvar,
     .part = Part::Some,
     .machine = Machine::Arm64,
     .error = EINVAL,
     .source = kSplit},
    {.of = kLocal,
     .with = arguments(kDontDump),
     .kinds = kCode | kUprobes,
     .part = Part::Whole,
     .source = kFlagsOnly},
    {.of = kLocal,
     .with = arguments(kDontDump),
     .kinds = kCode | kUprobes,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = kLocal, .with = arguments(kDoDump), .error = EINVAL, .source = kNoDump},
    {.of = kLocal, .with = arguments(kMergeable, kUnmergeable), .source = kNoKsm},
    {.of = kLocal,
     .with = arguments(kDontFork),
     .recipe = Recipe::Unsealed,
     .kinds = kUprobes,
     .source = kSameFlags},
    {.of = kLocal,
     .with = arguments(kDontFork),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .part = Part::Whole,
     .source = kFlagsOnly},
    {.of = kLocal,
     .with = arguments(kDontFork),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = kLocal,
     .with = arguments(kWipeOnFork),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .source = kWipe},
    {.of = kLocal,
     .with = arguments(kWipeOnFork),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},

    // Pages.
    {.of = kAll, .with = arguments(kWillNeed), .source = kSwapIn},
    {.of = kAll, .with = arguments(kCold, kPageOut), .kinds = kCode | kUprobes, .source = kReclaim},
    {.of = kAll,
     .with = arguments(kCold, kPageOut),
     .kinds = kVvar,
     .error = EINVAL,
     .source = kNoPages},
    {.of = kLocal,
     .with = arguments(kDontNeed, kDontNeedLocked),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kUprobes,
     .part = Part::Something,
     .change = Change::Refaulted,
     .source = kZap},
    {.of = kLocal,
     .with = arguments(kDontNeed, kDontNeedLocked),
     .recipe = Recipe::Unsealed,
     .kinds = kVvar,
     .part = Part::Something,
     .error = EINVAL,
     .source = kNoPages},
    {.of = kLocal,
     .with = arguments(kFree, kRemove),
     .recipe = Recipe::Unsealed,
     .error = EINVAL,
     .source = kNotAnon},
    {.of = kLocal, .with = arguments(kPopulateRead), .kinds = kCode, .source = kPopulate},
    {.of = kLocal,
     .with = arguments(kPopulateRead),
     .kinds = kVvar | kUprobes,
     .error = EINVAL,
     .source = kNoPopulate},
    {.of = kLocal, .with = arguments(kPopulateWrite), .error = EINVAL, .source = kNoPopulate},
    {.of = kAll, .with = arguments(kCollapse), .error = EINVAL, .source = kNoHuge},
    {.of = kLocal,
     .with = arguments(kGuardInstall, kGuardRemove, kHwPoison, kSoftOffline, kNoAdvice),
     .error = EINVAL,
     .source = kNoSuchAdvice},
    {.of = kRemote, .with = arguments(kDontNeed), .error = EINVAL, .source = kNotRemote},

    // With a look into a forked child.
    {.of = kForked,
     .recipe = Recipe::Sealed,
     .kinds = kCode | kVvar,
     .error = EPERM,
     .source = kSealedDiscard},
    {.of = kForked,
     .with = arguments(kDontFork),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .change = Change::Gone,
     .source = kDontCopy,
     .breaks = "S8"},
    {.of = kForked,
     .with = arguments(kWipeOnFork),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .source = kWipe},
    {.of = kForked,
     .recipe = Recipe::Sealed,
     .kinds = kUprobes,
     .error = EPERM,
     .change = Change::Gone,
     .source = kUprobesStay,
     .exception = Exception::ByDesign},
    {.of = kForked,
     .recipe = Recipe::Unsealed,
     .kinds = kUprobes,
     .change = Change::Gone,
     .source = kUprobesStay},

    {.of = calls(Call::Mlock), .part = Part::Nothing, .source = kNoAdviceLength},
    {.of = calls(Call::Mlock), .part = Part::Something, .source = kNoLock},
    {.of = calls(Call::MlockOnFault, Call::Munlock, Call::MlockAll), .source = kNoLock},
    {.of = calls(Call::Msync), .source = kNoFile},
});
}  // namespace advise

}  // namespace sealvisor::seal::rows
