#include "vmm/seal/expectation.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "guest/scenario/scenario.h"
#include "vmm/seal/verdict.h"

namespace sealvisor::seal {
namespace {

using report::Change;
using scenario::Form;
using scenario::Operation;

enum class Content : std::uint8_t { Any, Code, Data };
enum class Part : std::uint8_t { Any, Whole, Some };
enum class Recipe : std::uint8_t { Any, Sealed, Unsealed };

struct Row {
  Recipe recipe;
  Content content;
  Operation operation;
  Part part;
  int error;  ///< 0 = success.
  Change change;
  std::string_view source;
};

// Sealed.

constexpr std::string_view kSealedUnmap =
    "mm/vma.c vms_gather_munmap_vmas: can_modify_vma is asked of each mapping in the range, the "
    "first one before it is split; -EPERM puts back what was detached. mseal.rst agrees: EPERM, "
    "munmap is atomic";
constexpr std::string_view kSealedMapOver =
    "mm/mmap.c __mmap_region: vms_gather_munmap_vmas (mm/vma.c) fails with -EPERM before anything "
    "is unmapped. mseal.rst: EPERM, and whether memory changed is undefined";
constexpr std::string_view kSealedRemap =
    "mm/mremap.c mremap: can_modify_vma is asked before anything is done. mseal.rst: EPERM, and "
    "whether memory changed is undefined";
constexpr std::string_view kSealedProtect =
    "mm/mprotect.c mprotect_fixup: can_modify_vma comes first. mseal.rst agrees: EPERM";
constexpr std::string_view kSealedProtectSame =
    "mm/mprotect.c mprotect_fixup: can_modify_vma comes before the check for nothing to do. "
    "mseal.rst: EPERM, because mprotect changes protection bits; that this one would not is not "
    "said";

// Either: comes before any seal.

constexpr std::string_view kMayNot =
    "mm/mprotect.c do_mprotect_pkey: -EACCES for a permission whose VM_MAY bit is missing; data "
    "pages have VM_MAYREAD only (arch/x86/entry/vdso/vma.c map_vdso, arch/arm64/kernel/vdso.c "
    "__setup_additional_pages). mprotect(2) agrees: EACCES. On a sealed mapping this comes before "
    "mprotect_fixup's -EPERM, while mseal.rst knows only EPERM";

// Unsealed.

constexpr std::string_view kUnmap =
    "mm/vma.c do_vmi_align_munmap: nothing keeps a special mapping from being unmapped as a whole "
    "(mm/mmap.c special_mapping_vmops)";
constexpr std::string_view kSplit =
    "mm/mmap.c special_mapping_split: -EINVAL, asked by mm/vma.c __split_vma. munmap(2), mmap(2) "
    "and mprotect(2) know of no mapping that can't be split";
constexpr std::string_view kMapOver =
    "mm/mmap.c __mmap_region: takes the whole mapping away (vms_complete_munmap_vmas) and puts "
    "anonymous memory there, which the touch populates";
constexpr std::string_view kMove =
    "mm/mremap.c mremap_to, move_vma: move_page_tables takes the entries along, then the old range "
    "is unmapped; mm/mmap.c special_mapping_mremap tells the architecture the new place";
constexpr std::string_view kMoveSplit =
    "mm/mremap.c move_vma: may_split (mm/mmap.c special_mapping_split) is asked at both ends: "
    "-EINVAL. mremap(2) knows of no mapping that can't be split";
constexpr std::string_view kShrink =
    "mm/mremap.c mremap: shrinking is an unmap of the tail, whose split is refused with -EINVAL "
    "(mm/mmap.c special_mapping_split). mremap(2) knows of no mapping that can't shrink";
constexpr std::string_view kGrow =
    "mm/mremap.c vma_to_resize: -EFAULT for VM_DONTEXPAND, which mm/mmap.c "
    "__install_special_mapping sets. mremap(2) has EFAULT, for addresses that are not mapped";
constexpr std::string_view kTakeAll =
    "mm/mprotect.c mprotect_fixup, change_protection: entries become PROT_NONE ones; taking "
    "permissions needs no VM_MAY bit";
constexpr std::string_view kTakeExec =
    "mm/mprotect.c mprotect_fixup, change_protection: entries lose the permission to execute";
constexpr std::string_view kNothingToDo =
    "mm/mprotect.c mprotect_fixup: the flags are the same, it returns 0 and touches no entry";
constexpr std::string_view kExecuteOnly =
    "mm/mprotect.c mprotect_fixup, change_protection: without protection keys (x86-64) or enhanced "
    "PAN (arm64) the entry of an execute-only page is that of a readable one "
    "(arch/x86/mm/pgprot.c, arch/arm64/mm/mmap.c protection_map). mprotect(2): whether PROT_READ "
    "can be left out depends on the architecture";
constexpr std::string_view kExecuteOnlyKey =
    "arch/x86/mm/pkeys.c __arch_override_mprotect_pkey: execute-only memory gets a protection key "
    "of its own, the first free one, which forbids data accesses; the entries take it over";
constexpr std::string_view kWritable =
    "mm/mprotect.c mprotect_fixup: allowed by VM_MAYWRITE (arch/x86/entry/vdso/vma.c map_vdso, "
    "arch/arm64/kernel/vdso.c __setup_additional_pages). The entries of a private mapping stay "
    "read-only until a store, which mm/memory.c do_wp_page answers with a private copy";

constexpr Operation kNoneOp = Operation::MprotectNone;
constexpr Operation kRwxOp = Operation::MprotectRWX;

/// Every cell is meant by exactly one row for each recipe (checked below).
constexpr auto kRows = std::to_array<Row>({
    {Recipe::Sealed, Content::Any, Operation::Munmap, Part::Any, EPERM, Change::Unchanged,
     kSealedUnmap},
    {Recipe::Sealed, Content::Any, Operation::MremapMove, Part::Any, EPERM, Change::Unchanged,
     kSealedRemap},
    {Recipe::Sealed, Content::Any, Operation::MremapShrink, Part::Any, EPERM, Change::Unchanged,
     kSealedRemap},
    {Recipe::Sealed, Content::Any, Operation::MremapGrow, Part::Any, EPERM, Change::Unchanged,
     kSealedRemap},
    {Recipe::Sealed, Content::Any, Operation::MremapGrowMove, Part::Any, EPERM, Change::Unchanged,
     kSealedRemap},
    {Recipe::Sealed, Content::Any, Operation::MmapFixed, Part::Any, EPERM, Change::Unchanged,
     kSealedMapOver},
    {Recipe::Sealed, Content::Any, kNoneOp, Part::Any, EPERM, Change::Unchanged, kSealedProtect},
    {Recipe::Sealed, Content::Any, Operation::MprotectSame, Part::Any, EPERM, Change::Unchanged,
     kSealedProtectSame},
    {Recipe::Sealed, Content::Code, Operation::MprotectR, Part::Any, EPERM, Change::Unchanged,
     kSealedProtect},
    {Recipe::Sealed, Content::Data, Operation::MprotectR, Part::Any, EPERM, Change::Unchanged,
     kSealedProtectSame},
    {Recipe::Sealed, Content::Code, Operation::MprotectW, Part::Any, EPERM, Change::Unchanged,
     kSealedProtect},
    {Recipe::Sealed, Content::Code, Operation::MprotectRW, Part::Any, EPERM, Change::Unchanged,
     kSealedProtect},
    {Recipe::Sealed, Content::Code, Operation::MprotectRX, Part::Any, EPERM, Change::Unchanged,
     kSealedProtectSame},
    {Recipe::Sealed, Content::Code, kRwxOp, Part::Any, EPERM, Change::Unchanged, kSealedProtect},
    {Recipe::Sealed, Content::Code, Operation::MprotectX, Part::Any, EPERM, Change::Unchanged,
     kSealedProtect},
    {Recipe::Sealed, Content::Code, Operation::MprotectWX, Part::Any, EPERM, Change::Unchanged,
     kSealedProtect},

    {Recipe::Any, Content::Data, Operation::MprotectW, Part::Any, EACCES, Change::Unchanged,
     kMayNot},
    {Recipe::Any, Content::Data, Operation::MprotectRW, Part::Any, EACCES, Change::Unchanged,
     kMayNot},
    {Recipe::Any, Content::Data, Operation::MprotectRX, Part::Any, EACCES, Change::Unchanged,
     kMayNot},
    {Recipe::Any, Content::Data, kRwxOp, Part::Any, EACCES, Change::Unchanged, kMayNot},
    {Recipe::Any, Content::Data, Operation::MprotectX, Part::Any, EACCES, Change::Unchanged,
     kMayNot},
    {Recipe::Any, Content::Data, Operation::MprotectWX, Part::Any, EACCES, Change::Unchanged,
     kMayNot},

    {Recipe::Unsealed, Content::Any, Operation::Munmap, Part::Whole, 0, Change::Gone, kUnmap},
    {Recipe::Unsealed, Content::Any, Operation::Munmap, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Any, Operation::MremapMove, Part::Whole, 0, Change::Moved, kMove},
    {Recipe::Unsealed, Content::Any, Operation::MremapMove, Part::Some, EINVAL, Change::Unchanged,
     kMoveSplit},
    {Recipe::Unsealed, Content::Any, Operation::MremapShrink, Part::Any, EINVAL, Change::Unchanged,
     kShrink},
    {Recipe::Unsealed, Content::Any, Operation::MremapGrow, Part::Any, EFAULT, Change::Unchanged,
     kGrow},
    {Recipe::Unsealed, Content::Any, Operation::MremapGrowMove, Part::Any, EFAULT,
     Change::Unchanged, kGrow},
    {Recipe::Unsealed, Content::Any, Operation::MmapFixed, Part::Whole, 0, Change::Replaced,
     kMapOver},
    {Recipe::Unsealed, Content::Any, Operation::MmapFixed, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Any, kNoneOp, Part::Whole, 0, Change::PermissionChanged, kTakeAll},
    {Recipe::Unsealed, Content::Any, kNoneOp, Part::Some, EINVAL, Change::Unchanged, kSplit},
    {Recipe::Unsealed, Content::Any, Operation::MprotectSame, Part::Any, 0, Change::Unchanged,
     kNothingToDo},
    {Recipe::Unsealed, Content::Code, Operation::MprotectR, Part::Whole, 0,
     Change::PermissionChanged, kTakeExec},
    {Recipe::Unsealed, Content::Code, Operation::MprotectR, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Data, Operation::MprotectR, Part::Any, 0, Change::Unchanged,
     kNothingToDo},
    {Recipe::Unsealed, Content::Code, Operation::MprotectW, Part::Whole, 0, Change::Replaced,
     kWritable},
    {Recipe::Unsealed, Content::Code, Operation::MprotectRW, Part::Whole, 0, Change::Replaced,
     kWritable},
    {Recipe::Unsealed, Content::Code, Operation::MprotectW, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Code, Operation::MprotectRW, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Code, Operation::MprotectX, Part::Whole, 0, Change::Unchanged,
     kExecuteOnly},
    {Recipe::Unsealed, Content::Code, Operation::MprotectX, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Code, Operation::MprotectWX, Part::Whole, 0, Change::Replaced,
     kWritable},
    {Recipe::Unsealed, Content::Code, Operation::MprotectWX, Part::Some, EINVAL, Change::Unchanged,
     kSplit},
    {Recipe::Unsealed, Content::Code, Operation::MprotectRX, Part::Any, 0, Change::Unchanged,
     kNothingToDo},
    {Recipe::Unsealed, Content::Code, kRwxOp, Part::Whole, 0, Change::Replaced, kWritable},
    {Recipe::Unsealed, Content::Code, kRwxOp, Part::Some, EINVAL, Change::Unchanged, kSplit},
});

/// `pages`: of the mapping, 0 if that is not known. The only page and its neighbour are the whole
/// mapping: nothing has to be split for them.
constexpr bool means(const Row& row, bool sealed, Content content, Operation operation, Form form,
                     std::uint32_t pages = 0) {
  const bool whole = form == Form::Whole || (form == Form::Neighbour && pages == 1);
  const Part part = whole ? Part::Whole : Part::Some;
  const Recipe recipe = sealed ? Recipe::Sealed : Recipe::Unsealed;
  return row.operation == operation && (row.recipe == Recipe::Any || row.recipe == recipe) &&
         (row.content == Content::Any || row.content == content) &&
         (row.part == Part::Any || row.part == part);
}

constexpr bool each_cell_has_one_row() {
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != scenario::Kind::Cells) continue;
    for (const bool sealed : {true, false}) {
      for (const Content content : {Content::Code, Content::Data}) {
        int rows = 0;
        for (const Row& row : kRows) {
          if (means(row, sealed, content, scenario.operation, scenario.form)) ++rows;
        }
        if (rows != 1) return false;
      }
    }
  }
  return true;
}
static_assert(each_cell_has_one_row());

std::optional<Content> content_of(std::string_view mapping) {
  if (mapping == "[vdso]") return Content::Code;
  if (mapping == "[vvar]" || mapping == "[vvar_vclock]") return Content::Data;
  return std::nullopt;
}

}  // namespace

std::optional<Expectation> expect(const report::Cell& cell, bool sealed,
                                  [[maybe_unused]] arch::Arch arch, bool protection_keys) {
  const auto content = content_of(cell.mapping);
  const auto operation = scenario::operation_named(cell.operation);
  const auto form = scenario::form_named(cell.form);
  if (!content || !operation || !form) return std::nullopt;
  for (const Row& row : kRows) {
    if (means(row, sealed, *content, *operation, *form, cell.observation.pages.total)) {
      if (row.source == kExecuteOnly && protection_keys) {
        return Expectation{{row.error}, Change::PermissionChanged, kExecuteOnlyKey, "r-x key 1"};
      }
      // What mprotect leaves is what was asked for.
      std::string_view permissions;
      if (row.change == Change::PermissionChanged) {
        permissions = *operation == Operation::MprotectNone ? "non-present" : "r--";
      }
      return Expectation{{row.error}, row.change, row.source, permissions};
    }
  }
  return std::nullopt;
}

std::optional<report::Expected> expectation_of(const report::Cell& cell, bool sealed,
                                               arch::Arch arch, bool protection_keys) {
  const auto expectation = expect(cell, sealed, arch, protection_keys);
  if (!expectation) return std::nullopt;
  report::Expected expected;
  expected.errnos = expectation->errnos;
  expected.change = expectation->change;
  expected.source = expectation->source;
  expected.permissions = expectation->permissions;
  for (const int error : expectation->errnos) {
    if (!expected.text.empty()) expected.text += " or ";
    const char* name = error == 0 ? "ok" : ::strerrorname_np(error);
    expected.text += name != nullptr ? name : fmt::format("errno {}", error);
  }
  expected.text += fmt::format(", {}", report::name_of(expectation->change));
  return expected;
}

}  // namespace sealvisor::seal
