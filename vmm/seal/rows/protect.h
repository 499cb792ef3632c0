// Other permissions: mm/mprotect.c.
#pragma once

#include <array>
#include <cerrno>

#include "guest/scenario/numbers.h"
#include "vmm/seal/rows/map.h"
#include "vmm/seal/rows/row.h"

namespace sealvisor::seal::rows {

inline constexpr std::string_view kSealedProtect =
    "mm/mprotect.c mprotect_fixup: can_modify_vma comes first. mseal.rst agrees: EPERM";
inline constexpr std::string_view kSealedProtectSame =
    "mm/mprotect.c mprotect_fixup: can_modify_vma comes before the check for nothing to do. "
    "mseal.rst: EPERM, because mprotect changes protection bits; that this one would not is not "
    "said";
inline constexpr std::string_view kMayNot =
    "mm/mprotect.c do_mprotect_pkey: -EACCES for a permission whose VM_MAY bit is missing "
    "(arch/x86/entry/vdso/vma.c map_vdso, arch/arm64/kernel/vdso.c __setup_additional_pages and "
    "aarch32_kuser_helpers_setup, kernel/events/uprobes.c xol_add_vma). mprotect(2) agrees: "
    "EACCES. On a sealed mapping this comes before mprotect_fixup's -EPERM, while mseal.rst knows "
    "only EPERM";
inline constexpr std::string_view kTakeAll =
    "mm/mprotect.c mprotect_fixup, change_protection: entries become PROT_NONE ones; taking "
    "permissions needs no VM_MAY bit";
inline constexpr std::string_view kTakeExec =
    "mm/mprotect.c mprotect_fixup, change_protection: entries lose the permission to execute";
inline constexpr std::string_view kNothingToDo =
    "mm/mprotect.c mprotect_fixup: the flags are the same, it returns 0 and touches no entry";
inline constexpr std::string_view kExecuteOnly =
    "mm/mprotect.c mprotect_fixup, change_protection: without protection keys (x86-64) or enhanced "
    "PAN (arm64) the entry of an execute-only page is that of a readable one "
    "(arch/x86/mm/pgprot.c, arch/arm64/mm/mmap.c protection_map). mprotect(2): whether PROT_READ "
    "can be left out depends on the architecture";
inline constexpr std::string_view kExecuteOnlyKey =
    "arch/x86/mm/pkeys.c __arch_override_mprotect_pkey: execute-only memory gets a protection key "
    "of its own, the first free one, which forbids data accesses; the entries take it over";
inline constexpr std::string_view kWritable =
    "mm/mprotect.c mprotect_fixup: allowed by VM_MAYWRITE (arch/x86/entry/vdso/vma.c map_vdso, "
    "arch/arm64/kernel/vdso.c __setup_additional_pages). The entries of a private mapping stay "
    "read-only until a store, which mm/memory.c do_wp_page answers with a private copy";
inline constexpr std::string_view kNoProtectLength =
    "mm/mprotect.c do_mprotect_pkey: 0 for length 0, before any mapping is looked up";
inline constexpr std::string_view kNoKeys =
    "mm/mprotect.c do_mprotect_pkey: -EINVAL for a key that was not allocated, and a CPU without "
    "protection keys has none but 0 (arch/x86/include/asm/pkeys.h arch_max_pkey). "
    "pkey_mprotect(2) agrees";
inline constexpr std::string_view kNoKeyCalls =
    "mm/mprotect.c: there is no pkey_mprotect without CONFIG_ARCH_HAS_PKEYS, which arm64 has with "
    "CONFIG_ARM64_POE only, and these kernels lack: -ENOSYS (kernel/sys_ni.c)";
inline constexpr std::string_view kKeyed =
    "mm/mprotect.c do_mprotect_pkey, mprotect_fixup: the key is part of the flags, so they change "
    "whatever is asked for, and the entries take it over (arch/x86/mm/pgprot.c)";

namespace protect {
using namespace scenario;  // NOLINT(google-build-using-namespace): numbers for the rows below.

inline constexpr std::uint32_t kRW = kR | kW, kRX = kR | kX, kWX = kW | kX, kRWX = kR | kW | kX;
inline constexpr Arguments kWriting = arguments(kW, kRW, kWX, kRWX);
inline constexpr Calls kPlain = calls(Call::Mprotect);
inline constexpr Calls kWithKey = calls(Call::PkeyMprotect);
inline constexpr Calls kBoth = calls(Call::Mprotect, Call::PkeyMprotect);

inline constexpr auto kRows = std::to_array<Row>({
    {.of = kPlain, .part = Part::Nothing, .source = kNoProtectLength},

    // Before a seal is asked, on either recipe.
    {.of = kPlain,
     .with = kWriting,
     .kinds = kUnwritable,
     .part = Part::Something,
     .error = EACCES,
     .source = kMayNot},
    {.of = kPlain,
     .with = arguments(kRX, kX),
     .kinds = kVvar,
     .part = Part::Something,
     .error = EACCES,
     .source = kMayNot},
    {.of = kPlain,
     .with = arguments(kR, kRX),
     .kinds = kUprobes,
     .part = Part::Something,
     .error = EACCES,
     .source = kMayNot},

    // Sealed.
    {.of = kPlain,
     .with = arguments(kNone),
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kPlain,
     .with = arguments(kSameProtection),
     .recipe = Recipe::Sealed,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtectSame},
    {.of = kPlain,
     .with = arguments(kR),
     .recipe = Recipe::Sealed,
     .kinds = kCode,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kPlain,
     .with = arguments(kR),
     .recipe = Recipe::Sealed,
     .kinds = kVvar,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtectSame},
    {.of = kPlain,
     .with = arguments(kRX),
     .recipe = Recipe::Sealed,
     .kinds = kCode,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtectSame},
    {.of = kPlain,
     .with = arguments(kX),
     .recipe = Recipe::Sealed,
     .kinds = kCode | kUprobes,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kPlain,
     .with = kWriting,
     .recipe = Recipe::Sealed,
     .kinds = kCopied,
     .part = Part::Something,
     .error = EPERM,
     .source = kSealedProtect},

    // Not sealed: nothing to do.
    {.of = kPlain,
     .with = arguments(kSameProtection),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .part = Part::Something,
     .source = kNothingToDo},
    {.of = kPlain,
     .with = arguments(kRX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Something,
     .source = kNothingToDo},
    {.of = kPlain,
     .with = arguments(kR),
     .recipe = Recipe::Unsealed,
     .kinds = kVvar,
     .part = Part::Something,
     .source = kNothingToDo},
    {.of = kPlain,
     .with = arguments(kX, kSameProtection),
     .recipe = Recipe::Unsealed,
     .kinds = kUprobes,
     .part = Part::Something,
     .keys = Keys::Off,
     .source = kNothingToDo},
    {.of = kPlain,
     .with = arguments(kX, kSameProtection),
     .recipe = Recipe::Unsealed,
     .kinds = kUprobes,
     .part = Part::Whole,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kExecuteOnlyKey,
     .permissions = "r-x key 1"},

    // Not sealed: a part.
    {.of = kPlain,
     .with = arguments(kNone),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = kPlain,
     .with = arguments(kR, kX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},
    {.of = kPlain,
     .with = kWriting,
     .recipe = Recipe::Unsealed,
     .kinds = kCopied,
     .part = Part::Some,
     .error = EINVAL,
     .source = kSplit},

    // Not sealed: the whole.
    {.of = kPlain,
     .with = arguments(kNone),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .change = Change::PermissionChanged,
     .source = kTakeAll,
     .permissions = "non-present"},
    {.of = kPlain,
     .with = arguments(kR),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Whole,
     .change = Change::PermissionChanged,
     .source = kTakeExec,
     .permissions = "r--"},
    {.of = kPlain,
     .with = arguments(kX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Whole,
     .keys = Keys::Off,
     .source = kExecuteOnly},
    {.of = kPlain,
     .with = arguments(kX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Whole,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kExecuteOnlyKey,
     .permissions = "r-x key 1"},
    {.of = kPlain,
     .with = kWriting,
     .recipe = Recipe::Unsealed,
     .kinds = kCopied,
     .part = Part::Whole,
     .change = Change::Replaced,
     .source = kWritable},

    // With a key.
    {.of = kWithKey, .machine = Machine::Arm64, .error = ENOSYS, .source = kNoKeyCalls},
    {.of = kWithKey,
     .machine = Machine::X86_64,
     .keys = Keys::Off,
     .error = EINVAL,
     .source = kNoKeys},
    {.of = kWithKey,
     .with = kWriting,
     .kinds = kUnwritable,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EACCES,
     .source = kMayNot},
    {.of = kWithKey,
     .with = arguments(kRX, kX),
     .kinds = kVvar,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EACCES,
     .source = kMayNot},
    {.of = kWithKey,
     .with = arguments(kR, kRX),
     .kinds = kUprobes,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EACCES,
     .source = kMayNot},
    {.of = kWithKey,
     .with = arguments(kNone),
     .recipe = Recipe::Sealed,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kWithKey,
     .with = arguments(kR),
     .recipe = Recipe::Sealed,
     .kinds = kCode | kVvar,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kWithKey,
     .with = arguments(kX),
     .recipe = Recipe::Sealed,
     .kinds = kCode | kUprobes,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kWithKey,
     .with = arguments(kRX),
     .recipe = Recipe::Sealed,
     .kinds = kCode,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kWithKey,
     .with = kWriting,
     .recipe = Recipe::Sealed,
     .kinds = kCopied,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EPERM,
     .source = kSealedProtect},
    {.of = kWithKey,
     .with = arguments(kNone),
     .recipe = Recipe::Unsealed,
     .part = Part::Some,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EINVAL,
     .source = kSplit},
    {.of = kWithKey,
     .with = arguments(kR),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .part = Part::Some,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EINVAL,
     .source = kSplit},
    {.of = kWithKey,
     .with = arguments(kX, kRX, kW, kRW, kWX, kRWX),
     .recipe = Recipe::Unsealed,
     .kinds = kCopied,
     .part = Part::Some,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .error = EINVAL,
     .source = kSplit},
    {.of = kWithKey,
     .with = arguments(kNone),
     .recipe = Recipe::Unsealed,
     .part = Part::Whole,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kKeyed,
     .permissions = "non-present"},
    {.of = kWithKey,
     .with = arguments(kR),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kVvar,
     .part = Part::Whole,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kKeyed,
     .permissions = "r-- key 1"},
    {.of = kWithKey,
     .with = arguments(kX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode | kUprobes,
     .part = Part::Whole,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kKeyed,
     .permissions = "r-x key 1"},
    {.of = kWithKey,
     .with = arguments(kRX),
     .recipe = Recipe::Unsealed,
     .kinds = kCode,
     .part = Part::Whole,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .change = Change::PermissionChanged,
     .source = kKeyed,
     .permissions = "r-x key 1"},
    {.of = kWithKey,
     .with = kWriting,
     .recipe = Recipe::Unsealed,
     .kinds = kCopied,
     .part = Part::Whole,
     .machine = Machine::X86_64,
     .keys = Keys::On,
     .change = Change::Replaced,
     .source = kWritable},
});
}  // namespace protect

}  // namespace sealvisor::seal::rows
