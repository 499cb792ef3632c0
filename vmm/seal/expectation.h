// What a kernel of a known recipe is expected to answer, and what user mode is expected to see
// afterwards, for every cell. The third voice next to claim and observation.
//
// The table was derived by reading the sources, never from results; a run that disagrees is a
// finding. Read: linux-source-6.12 6.12.117 as Debian packages it, with guest/kernel/patches/lts
// (the seal: VM_SEALED in the vm_flags of the special mappings), and linux-source-7.3 7.3.4, which
// answers the same with the functions under other names (can_modify_vma is vma_is_sealed there, the
// head of sys_mremap is check_prep_vma). Documents: Documentation/userspace-api/mseal.rst of 6.12,
// and the manual pages. Where document and code differ, the source says both; the code is expected.
//
// Two kinds of mapping matter:
//   code  [vdso]: VM_READ|VM_EXEC, and VM_MAYREAD|VM_MAYWRITE|VM_MAYEXEC, so that a debugger can
//         set breakpoints. A private mapping: a page that is stored to becomes a copy.
//   data  [vvar], [vvar_vclock]: VM_READ and VM_MAYREAD only.
// Both are special mappings: VM_DONTEXPAND, and special_mapping_vmops, whose may_split refuses.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "vmm/report/report.h"

namespace sealvisor::seal {

struct Expectation {
  std::vector<int> errnos;  ///< Answers that are as expected: errno values; 0 = success.
  report::Change change = report::Change::Unchanged;  ///< Never Unobserved.
  std::string_view source{};  ///< Kernel file and function; document where it says more or other.
  std::string_view permissions{};  ///< PermissionChanged: what is left. Empty: not judged.
};

/// What is expected of `cell` (mapping, operation and form are used, nothing that was observed) on
/// an lts or upstream recipe that is sealed, or is not. Both architectures share mm/, so `arch`
/// picks no row; what they have of their own (arch/*/vdso) agrees where it matters here.
/// Precondition: the mapping has more than one page, as each of these has; the forms of less than
/// the whole depend on it. nullopt: no such cell is known.
/// `protection_keys`: the guest has them on (x86-64, CR4.PKE).
[[nodiscard]] std::optional<Expectation> expect(const report::Cell& cell, bool sealed,
                                                arch::Arch arch, bool protection_keys = false);

}  // namespace sealvisor::seal
