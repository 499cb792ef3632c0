// The one list of operations: what is tried against each system mapping. A new one is one entry
// here, a function in guest/agent/acts if it asks in a new way, and a row of what is expected
// (vmm/seal/rows).
#pragma once

#include <array>

#include "guest/scenario/numbers.h"
#include "guest/scenario/operation.h"

namespace sealvisor::scenario {

namespace detail {

constexpr std::string_view kFlagOnly =
    "it sets a flag of the mapping that no page-table entry shows";
constexpr std::string_view kNoSplit = "a special mapping is never split, so a part never changes";
constexpr std::string_view kNotAnonymous = "it is for memory that a special mapping is not";
constexpr std::string_view kNotOnLists =
    "pages of the kernel's image are on no list that it takes pages from";
constexpr std::string_view kGrowsNever = "a special mapping never grows (VM_DONTEXPAND)";
constexpr std::string_view kOccupied = "it takes free places only";
constexpr std::string_view kNextExec = "it decides where the next exec puts things";
constexpr std::string_view kLaterCalls = "later calls and the next exec look at it";
constexpr std::string_view kReads = "it reads";
constexpr std::string_view kNoForce = "it does not write past a permission";
constexpr std::string_view kRefused = "the kernel has no such advice for a special mapping";

constexpr Operation advice(std::string_view name, Advice number, std::string_view description,
                           std::string_view never, Forms forms = kPages) {
  return {.name = name,
          .description = description,
          .call = Call::Madvise,
          .argument = number,
          .forms = forms,
          .never = never};
}
constexpr Operation remote_advice(std::string_view name, Advice number,
                                  Call call = Call::ProcessMadvise) {
  return {.name = name,
          .description = call == Call::ProcessMadvise ? "the same advice through process_madvise"
                                                      : "the same advice by another process",
          .call = call,
          .argument = number,
          .forms = kPages,
          .never = number == kDontNeed ? kRefused : kNotOnLists};
}
constexpr std::string_view kUring = "__arm64_sys_io_uring_setup|__x64_sys_io_uring_setup";
constexpr Operation uring_advice(std::string_view name, Advice number, std::string_view never) {
  return {.name = name,
          .description = "the same advice through io_uring",
          .call = Call::UringMadvise,
          .argument = number,
          .forms = kPages,
          .never = never,
          .needs = kUring};
}
constexpr Operation protect(std::string_view name, std::uint32_t to, std::string_view description,
                            Forms by_default = kPages, Forms forms = kSpanning,
                            std::string_view never = {}) {
  return {.name = name,
          .description = description,
          .call = Call::Mprotect,
          .argument = to,
          .forms = forms,
          .by_default = by_default,
          .never = never};
}
constexpr Operation protect_key(std::string_view name, std::uint32_t to) {
  return {.name = name,
          .description = "the same with a protection key of its own",
          .call = Call::PkeyMprotect,
          .argument = to,
          .forms = kPages};
}
constexpr Operation simple(std::string_view name, Call call, std::uint32_t argument, Forms forms,
                           std::string_view description, std::string_view never = {},
                           std::string_view needs = {}) {
  return {.name = name,
          .description = description,
          .call = call,
          .argument = argument,
          .forms = forms,
          .never = never,
          .needs = needs};
}
constexpr Operation usual(Operation operation, Forms by_default) {
  operation.by_default = by_default;
  return operation;
}
constexpr Operation native(Operation operation) {
  operation.native = true;
  return operation;
}
constexpr Operation only_on(arch::Arch arch, Operation operation) {
  operation.only = arch;
  return operation;
}

}  // namespace detail

/// Every operation, in the order in which they are tried.
inline constexpr auto kOperations = [] {
  using namespace detail;  // NOLINT(google-build-using-namespace): of this file.
  return std::to_array<Operation>({
      usual(simple("munmap", Call::Munmap, 0, kEvery, "unmap it"), kSpanning),

      usual(simple("mremap-move", Call::MremapMove, 0, kPages, "move it"), kPages),
      usual(simple("mremap-shrink", Call::MremapShrink, 0, kLast, "shrink it by its last page",
                   kNoSplit),
            kLast),
      usual(simple("mremap-grow", Call::MremapGrow, 0, kWhole | kLast,
                   "grow it by one page, in place", kGrowsNever),
            kWhole | kLast),
      usual(simple("mremap-grow-move", Call::MremapGrow, kMayMove, kWhole | kLast,
                   "grow it by one page, wherever there is room", kGrowsNever),
            kWhole | kLast),
      simple("mremap-dontunmap", Call::MremapDontUnmap, 0, kPages,
             "move it and leave an empty mapping there", kGrowsNever),
      simple("mremap-same", Call::MremapSame, 0, kPages, "give it the size that it has",
             "there is nothing to do"),
      simple("mremap-duplicate", Call::MremapDuplicate, 0, kWhole,
             "map it a second time (old size 0)", "a private mapping has no second place"),
      simple("mremap-shrink-over", Call::MremapShrinkOver, 0, kWhole | kFirst,
             "shrink what is in front of it, and say that it reaches over it"),
      simple("mremap-onto", Call::MremapOnto, 0, kSpanning, "move another mapping onto it"),

      protect("mprotect-none", kNone, "take every permission", kSpanning, kEvery),
      protect("mprotect-r", kR, "make it read-only"),
      protect("mprotect-w", kW, "make it write-only"),
      protect("mprotect-rw", kR | kW, "make it writable"),
      protect("mprotect-rx", kR | kX, "make it readable and executable", kPages, kSpanning,
              "a mapping of code has these permissions, one of data may not have them"),
      protect("mprotect-rwx", kR | kW | kX, "make it writable and executable", kSpanning),
      protect("mprotect-x", kX, "make it execute-only"),
      protect("mprotect-wx", kW | kX, "make it writable and executable, and not readable"),
      protect("mprotect-same", kSameProtection, "ask for the permission that it has", kPages,
              kSpanning, "there is nothing to do"),

      protect_key("pkey-none", kNone),
      protect_key("pkey-r", kR),
      protect_key("pkey-w", kW),
      protect_key("pkey-rw", kR | kW),
      protect_key("pkey-rx", kR | kX),
      protect_key("pkey-rwx", kR | kW | kX),
      protect_key("pkey-x", kX),
      protect_key("pkey-wx", kW | kX),

      usual(simple("mmap-fixed", Call::MmapFixed, 0, kEvery, "map anonymous memory over it"),
            kSpanning),
      simple("mmap-noreplace", Call::MmapNoReplace, 0, kSpanning,
             "map anonymous memory there if nothing is there", kOccupied),
      simple("mmap-hint", Call::MmapHint, 0, kPages, "map anonymous memory, there if it can be",
             kOccupied),
      simple("shmat-over", Call::ShmatOver, kShmRemap, kSpanning, "attach shared memory over it",
             {}, "do_shmat"),
      simple("shmat-beside", Call::ShmatOver, 0, kPages, "attach shared memory there if it is free",
             kOccupied, "do_shmat"),
      simple("brk-over", Call::BrkOver, 0, kWhole, "extend the heap over it", kOccupied),
      simple("remap-file-pages", Call::RemapFilePages, 0, kPages, "map its pages in another order",
             "it is for shared mappings"),
      only_on(arch::Arch::X86_64,
              simple("arch-map-vdso", Call::ArchMapVdso, 0, kWhole,
                     "have the kernel map a vdso a second time (arch_prctl)",
                     "these kernels are built without CONFIG_CHECKPOINT_RESTORE")),

      advice("madvise-normal", kNormal, "no special treatment", kFlagOnly),
      advice("madvise-random", kRandom, "expect reads in random order", kFlagOnly, kSpanning),
      advice("madvise-sequential", kSequential, "expect reads in order", kFlagOnly),
      advice("madvise-willneed", kWillNeed, "expect use soon", kNotOnLists),
      advice("madvise-dontneed", kDontNeed, "drop its pages", {}, kEvery),
      advice("madvise-dontneed-locked", kDontNeedLocked, "drop its pages, locked ones too", {}),
      advice("madvise-free", kFree, "its pages may be freed", kNotAnonymous),
      advice("madvise-remove", kRemove, "free its pages and what backs them", kNotAnonymous),
      advice("madvise-dontfork", kDontFork, "leave it out of forked children",
             "the change is in a child: see madvise-dontfork-fork", kSpanning),
      advice("madvise-dofork", kDoFork, "do not leave it out of forked children", kFlagOnly),
      advice("madvise-wipeonfork", kWipeOnFork, "give forked children an empty one",
             "the change is in a child: see madvise-wipeonfork-fork", kSpanning),
      advice("madvise-keeponfork", kKeepOnFork, "give forked children what it holds", kFlagOnly),
      advice("madvise-mergeable", kMergeable, "let KSM merge its pages", kNotAnonymous),
      advice("madvise-unmergeable", kUnmergeable, "do not let KSM merge its pages", kNotAnonymous),
      advice("madvise-hugepage", kHugePage, "use huge pages", kFlagOnly),
      advice("madvise-nohugepage", kNoHugePage, "use no huge pages", kFlagOnly),
      advice("madvise-collapse", kCollapse, "make one huge page of it", kNotAnonymous),
      advice("madvise-dontdump", kDontDump, "leave it out of core dumps", kFlagOnly),
      advice("madvise-dodump", kDoDump, "do not leave it out of core dumps", kFlagOnly),
      advice("madvise-cold", kCold, "reclaim its pages first", kNotOnLists),
      advice("madvise-pageout", kPageOut, "reclaim its pages now", kNotOnLists, kSpanning),
      advice("madvise-populate-read", kPopulateRead, "read each page", kReads),
      advice("madvise-populate-write", kPopulateWrite, "write to each page", kNoForce),
      advice("madvise-guard-install", kGuardInstall, "put guards there", kRefused),
      advice("madvise-guard-remove", kGuardRemove, "take guards away", kRefused),
      advice("madvise-hwpoison", kHwPoison, "its frames are broken",
             "these kernels are built without CONFIG_MEMORY_FAILURE"),
      advice("madvise-soft-offline", kSoftOffline, "its frames are to be given up",
             "these kernels are built without CONFIG_MEMORY_FAILURE"),
      advice("madvise-unknown", kNoAdvice, "an advice that does not exist", kRefused),
      simple("madvise-dontfork-fork", Call::MadviseFork, kDontFork, kWhole,
             "leave it out of forked children, then fork"),
      simple("madvise-wipeonfork-fork", Call::MadviseFork, kWipeOnFork, kWhole,
             "give forked children an empty one, then fork",
             "what a child finds empty it faults in again, the same frames"),

      remote_advice("process-madvise-cold", kCold),
      remote_advice("process-madvise-pageout", kPageOut),
      remote_advice("process-madvise-willneed", kWillNeed),
      remote_advice("process-madvise-collapse", kCollapse),
      remote_advice("process-madvise-dontneed", kDontNeed),
      remote_advice("process-other-cold", kCold, Call::ProcessMadviseOther),
      remote_advice("process-other-pageout", kPageOut, Call::ProcessMadviseOther),
      remote_advice("process-other-willneed", kWillNeed, Call::ProcessMadviseOther),
      remote_advice("process-other-collapse", kCollapse, Call::ProcessMadviseOther),
      remote_advice("process-other-dontneed", kDontNeed, Call::ProcessMadviseOther),

      uring_advice("uring-normal", kNormal, kFlagOnly),
      uring_advice("uring-random", kRandom, kFlagOnly),
      uring_advice("uring-sequential", kSequential, kFlagOnly),
      uring_advice("uring-willneed", kWillNeed, kNotOnLists),
      uring_advice("uring-dontneed", kDontNeed, {}),
      uring_advice("uring-dontneed-locked", kDontNeedLocked, {}),
      uring_advice("uring-free", kFree, kNotAnonymous),
      uring_advice("uring-remove", kRemove, kNotAnonymous),
      uring_advice("uring-dontfork", kDontFork, kFlagOnly),
      uring_advice("uring-dofork", kDoFork, kFlagOnly),
      uring_advice("uring-wipeonfork", kWipeOnFork, kFlagOnly),
      uring_advice("uring-keeponfork", kKeepOnFork, kFlagOnly),
      uring_advice("uring-mergeable", kMergeable, kNotAnonymous),
      uring_advice("uring-unmergeable", kUnmergeable, kNotAnonymous),
      uring_advice("uring-hugepage", kHugePage, kFlagOnly),
      uring_advice("uring-nohugepage", kNoHugePage, kFlagOnly),
      uring_advice("uring-collapse", kCollapse, kNotAnonymous),
      uring_advice("uring-dontdump", kDontDump, kFlagOnly),
      uring_advice("uring-dodump", kDoDump, kFlagOnly),
      uring_advice("uring-cold", kCold, kNotOnLists),
      uring_advice("uring-pageout", kPageOut, kNotOnLists),
      uring_advice("uring-populate-read", kPopulateRead, kReads),
      uring_advice("uring-populate-write", kPopulateWrite, kNoForce),
      uring_advice("uring-guard-install", kGuardInstall, kRefused),
      uring_advice("uring-guard-remove", kGuardRemove, kRefused),

      simple("mlock", Call::Mlock, 0, kEvery, "lock it in memory", kFlagOnly),
      simple("mlock-onfault", Call::MlockOnFault, 0, kSpanning, "lock pages as they are touched",
             kFlagOnly),
      simple("munlock", Call::Munlock, 0, kSpanning, "do not lock it in memory", kFlagOnly),
      simple("mlockall", Call::MlockAll, 0, kWhole, "lock all memory", kFlagOnly),
      simple("msync-sync", Call::Msync, kSync, kPages, "write it back", "nothing backs it"),
      simple("msync-invalidate", Call::Msync, kInvalidate, kPages, "drop what others wrote",
             "nothing backs it"),

      simple("uffd-missing", Call::UffdRegister, kMissing, kPages,
             "have its faults handled in user mode (userfaultfd)", kNotAnonymous,
             "userfaultfd_ioctl"),
      simple("uffd-minor", Call::UffdRegister, kMinor, kPages,
             "have its minor faults handled in user mode", kNotAnonymous, "userfaultfd_ioctl"),
      simple("uffd-wp", Call::UffdRegister, kWriteProtect, kPages,
             "have its write faults handled in user mode", kNotAnonymous, "userfaultfd_ioctl"),
      simple("uffd-move-from", Call::UffdMoveFrom, 0, kPages,
             "move its pages to memory with userfaultfd", kNotAnonymous, "userfaultfd_ioctl"),
      simple("uffd-move-onto", Call::UffdMoveOnto, 0, kPages,
             "move other pages there with userfaultfd", kNotAnonymous, "userfaultfd_ioctl"),
      simple("uffd-copy-onto", Call::UffdCopyOnto, 0, kPages,
             "copy other pages there with userfaultfd", kNotAnonymous, "userfaultfd_ioctl"),

      simple("mseal", Call::Mseal, 0, kEvery, "seal it", kFlagOnly),
      simple("mseal-munmap", Call::MsealMunmap, 0, kWhole, "seal it, then unmap it",
             "the seal of user space holds too: unmapping is refused from then on"),

      simple("prctl-name", Call::PrctlName, 0, kPages, "give it a name",
             "these kernels are built without CONFIG_ANON_VMA_NAME"),
      simple("mbind", Call::Mbind, 0, kPages, "move its pages to a memory node",
             "these kernels are built without CONFIG_NUMA"),
      simple("move-pages", Call::MovePages, 0, kPages, "move single pages to a memory node",
             "these kernels are built without CONFIG_NUMA"),
      simple("migrate-pages", Call::MigratePages, 0, kWhole, "move all pages to a memory node",
             "these kernels are built without CONFIG_NUMA"),

      simple("ptrace-poke", Call::PtracePoke, 0, kPages, "write a word to each page by ptrace"),
      simple("procmem-self", Call::ProcMemSelf, 0, kPages,
             "write a word to each page through /proc/self/mem"),
      simple("procmem-other", Call::ProcMemOther, 0, kPages,
             "another process writes through /proc/PID/mem"),
      simple("procmem-tracer", Call::ProcMemTracer, 0, kPages,
             "the tracer writes through /proc/PID/mem"),
      simple("procmem-uring", Call::UringWrite, 0, kPages,
             "io_uring writes a word to each page through /proc/self/mem", {}, kUring),
      simple("procmem-read", Call::ProcMemRead, 0, kPages, "read it through /proc/self/mem",
             kReads),
      simple("vm-writev", Call::VmWritev, 0, kPages, "another process writes (process_vm_writev)",
             kNoForce),
      simple("vm-readv", Call::VmReadv, 0, kPages, "another process reads (process_vm_readv)",
             kReads),
      simple("procmem-dontneed", Call::ForcedMadvise, kDontNeed, kWhole,
             "write through /proc/self/mem, then drop the copies"),

      simple("personality-read-exec", Call::Personality, kReadImpliesExec, kWhole,
             "what can be read can be executed (READ_IMPLIES_EXEC)", kLaterCalls),
      simple("personality-compat-layout", Call::Personality, kCompatLayout, kWhole,
             "the old layout of memory (ADDR_COMPAT_LAYOUT)", kNextExec),
      simple("personality-random", Call::Personality, kNoRandomize, kWhole,
             "no random layout (ADDR_NO_RANDOMIZE)", kNextExec),
      simple("knob-overcommit", Call::Knob, 0, kWhole, "vm.overcommit_memory=2",
             "it counts memory that is asked for"),
      simple("knob-legacy-layout", Call::Knob, 1, kWhole, "vm.legacy_va_layout=1", kNextExec),
      simple("knob-random-layout", Call::Knob, 2, kWhole, "kernel.randomize_va_space=2", kNextExec),
      simple("knob-drop-caches", Call::Knob, 3, kWhole, "vm.drop_caches=3", kNotOnLists),

      simple("timens-setns", Call::TimeNamespaceSetns, 0, kWhole,
             "enter a new time namespace (setns)", {}, "timens_install"),
      simple("timens-fork", Call::TimeNamespaceFork, 0, kWhole,
             "fork into a new time namespace (unshare)", {}, "timens_install"),

      native(simple("uprobe-hit", Call::UprobeHit, 1, kWhole, "a probe of user code is hit",
                    "it makes [uprobes], and changes code of the program", "uprobe_register")),
      native(simple("uprobe-many", Call::UprobeHit, 8, kWhole, "eight probes are hit many times",
                    "it makes [uprobes], and changes code of the program", "uprobe_register")),
      simple("fork", Call::Fork, 0, kWhole, "fork", "a child has what its parent has"),
      simple("clone-vm", Call::CloneVm, 0, kWhole, "clone(CLONE_VM), and end the clone",
             "two processes, one address space"),

      simple("pressure-swap", Call::PressureSwap, 0, kWhole, "so little memory that it swaps",
             kNotOnLists, "__x64_sys_swapon|__arm64_sys_swapon"),
      simple("pressure-compact", Call::PressureCompact, 0, kWhole, "compaction moves pages",
             kNotOnLists, "sysctl_compaction_handler"),
      simple("pressure-ksm", Call::PressureKsm, 0, kWhole, "KSM merges pages", kNotOnLists,
             "ksm_scan_thread"),
      simple("pressure-memcg", Call::PressureMemcg, 0, kWhole,
             "reclaim in a memory cgroup (memory.reclaim)", kNotOnLists,
             "memory_reclaim|mem_cgroup_css_alloc"),

      simple("race-munmap", Call::Race, static_cast<std::uint32_t>(Racing::Munmap), kWhole,
             "eight threads unmap it"),
      simple("race-mprotect", Call::Race, static_cast<std::uint32_t>(Racing::Mprotect), kWhole,
             "eight threads take every permission"),
      simple("race-mremap", Call::Race, static_cast<std::uint32_t>(Racing::Mremap), kWhole,
             "eight threads move it"),
      simple("race-mmap", Call::Race, static_cast<std::uint32_t>(Racing::MmapFixed), kWhole,
             "eight threads map anonymous memory over it"),
      simple("race-mixed", Call::Race, static_cast<std::uint32_t>(Racing::Mixed), kWhole,
             "eight threads, each another of these"),
  });
}();
inline constexpr std::size_t kOperationCount = kOperations.size();

/// The operation called `name`; nullptr if there is none.
[[nodiscard]] constexpr const Operation* operation_named(std::string_view name) {
  for (const Operation& operation : kOperations) {
    if (operation.name == name) return &operation;
  }
  return nullptr;
}

}  // namespace sealvisor::scenario
