// Taking away, moving, replacing: mm/vma.c, mm/mmap.c, mm/mremap.c, ipc/shm.c.
#pragma once

#include <array>
#include <cerrno>

#include "guest/scenario/numbers.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal::rows {

inline constexpr std::string_view kSealedUnmap =
    "mm/vma.c vms_gather_munmap_vmas: can_modify_vma is asked of each mapping in the range, the "
    "first one before it is split; -EPERM puts back what was detached. mseal.rst agrees: EPERM, "
    "munmap is atomic";
inline constexpr std::string_view kSealedMapOver =
    "mm/mmap.c __mmap_region: vms_gather_munmap_vmas (mm/vma.c) fails with -EPERM before anything "
    "is unmapped. mseal.rst: EPERM, and whether memory changed is undefined";
inline constexpr std::string_view kSealedRemap =
    "mm/mremap.c mremap: can_modify_vma is asked before anything is done. mseal.rst: EPERM, and "
    "whether memory changed is undefined";
inline constexpr std::string_view kSealedOnto =
    "mm/mremap.c mremap_to: do_munmap of the place fails with -EPERM (mm/vma.c "
    "vms_gather_munmap_vmas). mseal.rst: EPERM, and whether memory changed is undefined";
inline constexpr std::string_view kSealedShrinkOver =
    "mm/mremap.c mremap: asks can_modify_vma of the first mapping only, then unmaps whatever lies "
    "behind the new size; mm/vma.c vms_gather_munmap_vmas asks each: -EPERM. mremap(2): EFAULT if "
    "the old range reaches over what is not mapped";
inline constexpr std::string_view kShrinkOver =
    "mm/mremap.c mremap: do_vmi_munmap of all that lies behind the new size, whatever mappings "
    "these are";
inline constexpr std::string_view kUnmap =
    "mm/vma.c do_vmi_align_munmap: nothing keeps a special mapping from being unmapped as a whole "
    "(mm/mmap.c special_mapping_vmops)";
inline constexpr std::string_view kSplit =
    "mm/mmap.c special_mapping_split: -EINVAL, asked by mm/vma.c __split_vma. munmap(2), mmap(2), "
    "mprotect(2) and madvise(2) know of no mapping that can't be split";
inline constexpr std::string_view kMapOver =
    "mm/mmap.c __mmap_region: takes the whole mapping away (vms_complete_munmap_vmas) and puts "
    "the new one there, which the touch populates";
inline constexpr std::string_view kMove =
    "mm/mremap.c mremap_to, move_vma: move_page_tables takes the entries along, then the old range "
    "is unmapped; mm/mmap.c special_mapping_mremap tells the architecture the new place";
inline constexpr std::string_view kMoveSplit =
    "mm/mremap.c move_vma: may_split (mm/mmap.c special_mapping_split) is asked at both ends: "
    "-EINVAL. mremap(2) knows of no mapping that can't be split";
inline constexpr std::string_view kMoveOnto =
    "mm/mremap.c mremap_to: do_munmap takes the whole mapping away, move_vma puts the other one "
    "there";
inline constexpr std::string_view kShrink =
    "mm/mremap.c mremap: shrinking is an unmap of the tail, whose split is refused with -EINVAL "
    "(mm/mmap.c special_mapping_split). mremap(2) knows of no mapping that can't shrink";
inline constexpr std::string_view kGrow =
    "mm/mremap.c vma_to_resize: -EFAULT for VM_DONTEXPAND, which mm/mmap.c "
    "__install_special_mapping sets. mremap(2) has EFAULT, for addresses that are not mapped";
inline constexpr std::string_view kKeep =
    "mm/mremap.c vma_to_resize: MREMAP_DONTUNMAP is refused with -EINVAL for VM_DONTEXPAND. "
    "mremap(2): EINVAL if the mapping is not private anonymous";
inline constexpr std::string_view kSameSize =
    "mm/mremap.c mremap: the sizes are equal, it returns the address and touches nothing";
inline constexpr std::string_view kDuplicate =
    "mm/mremap.c vma_to_resize: -EINVAL for old size 0 of a private mapping. mremap(2) agrees";
inline constexpr std::string_view kOccupied =
    "mm/mmap.c do_mmap: -EEXIST for MAP_FIXED_NOREPLACE where a mapping is. mmap(2) agrees";
inline constexpr std::string_view kElsewhere =
    "mm/mmap.c get_unmapped_area: a hint at a place that is taken gets another. mmap(2) agrees";
inline constexpr std::string_view kSegmentThere =
    "ipc/shm.c do_shmat: -EINVAL without SHM_REMAP where a mapping is. shmat(2) agrees";
inline constexpr std::string_view kHeap =
    "mm/mmap.c brk: a mapping on the way ends it (vma_find), and the old break is returned, which "
    "counts as ENOMEM here. brk(2) agrees";
inline constexpr std::string_view kNotShared =
    "mm/mmap.c remap_file_pages: -EINVAL unless VM_SHARED. remap_file_pages(2) agrees";
inline constexpr std::string_view kNoRestore =
    "arch/x86/kernel/process_64.c do_arch_prctl_64: ARCH_MAP_VDSO_64 exists with "
    "CONFIG_CHECKPOINT_RESTORE only, which these kernels lack: -EINVAL";
inline constexpr std::string_view kSplitOver =
    "mm/mmap.c special_mapping_split: -EINVAL, asked by mm/vma.c __split_vma. mmap(2) knows of no "
    "mapping that can't be split. Before 6.12, mm/mmap.c mmap_region: -ENOMEM, whatever unmapping "
    "answers";
inline constexpr std::string_view kNoLength =
    "mm/vma.c do_vmi_munmap, mm/mmap.c do_mmap: -EINVAL for length 0, before any mapping is looked "
    "up. munmap(2) and mmap(2) agree";

inline constexpr Calls kRemaps =
    calls(Call::MremapMove, Call::MremapShrink, Call::MremapGrow, Call::MremapDontUnmap,
          Call::MremapSame, Call::MremapDuplicate);

inline constexpr auto kMap = std::to_array<Row>({
    {.of = calls(Call::Munmap, Call::MmapFixed),
     .part = Part::Nothing,
     .error = EINVAL,
     .source = kNoLength},

    {.of = calls(Call::Munmap),
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedUnmap},
    {.of = calls(Call::Munmap),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Gone,
     .source = kUnmap},
    {.of = calls(Call::Munmap),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = calls(Call::MmapFixed),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .older_error = ENOMEM,
     .source = kSplitOver},

    {.of = calls(Call::MmapFixed),
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedMapOver},
    {.of = calls(Call::MmapFixed),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Replaced,
     .source = kMapOver},
    {.of = calls(Call::MmapNoReplace), .error = EEXIST, .source = kOccupied},
    {.of = calls(Call::MmapHint), .source = kElsewhere},

    {.of = kRemaps, .recipe = Recipe::Sealed, .error = EPERM, .source = kSealedRemap},
    {.of = calls(Call::MremapMove),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Moved,
     .source = kMove},
    {.of = calls(Call::MremapMove),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kMoveSplit},
    {.of = calls(Call::MremapShrink),
     .recipe = Recipe::Unsealed,
     .error = EINVAL,
     .source = kShrink},
    {.of = calls(Call::MremapGrow), .recipe = Recipe::Unsealed, .error = EFAULT, .source = kGrow},
    {.of = calls(Call::MremapDontUnmap),
     .recipe = Recipe::Unsealed,
     .error = EINVAL,
     .source = kKeep},
    {.of = calls(Call::MremapSame), .recipe = Recipe::Unsealed, .source = kSameSize},
    {.of = calls(Call::MremapDuplicate),
     .recipe = Recipe::Unsealed,
     .error = EINVAL,
     .source = kDuplicate},
    {.of = calls(Call::MremapShrinkOver),
     .recipe = Recipe::Sealed,
     .error = EPERM,
     .source = kSealedShrinkOver},
    {.of = calls(Call::MremapShrinkOver),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Gone,
     .source = kShrinkOver},
    {.of = calls(Call::MremapShrinkOver),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = calls(Call::MremapOnto),
     .recipe = Recipe::Sealed,
     .error = EPERM,
     .source = kSealedOnto},
    {.of = calls(Call::MremapOnto),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Replaced,
     .source = kMoveOnto},
    {.of = calls(Call::MremapOnto),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},

    {.of = calls(Call::ShmatOver),
     .with = arguments(scenario::kShmRemap),
     .recipe = Recipe::Sealed,
     .error = EPERM,
     .source = kSealedMapOver},
    {.of = calls(Call::ShmatOver),
     .with = arguments(scenario::kShmRemap),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::Replaced,
     .source = kMapOver},
    {.of = calls(Call::ShmatOver),
     .with = arguments(scenario::kShmRemap),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = calls(Call::ShmatOver), .with = arguments(0), .error = EINVAL, .source = kSegmentThere},

    {.of = calls(Call::BrkOver), .error = ENOMEM, .source = kHeap},
    {.of = calls(Call::RemapFilePages), .error = EINVAL, .source = kNotShared},
    {.of = calls(Call::ArchMapVdso), .error = EINVAL, .source = kNoRestore},
});

}  // namespace sealvisor::seal::rows
