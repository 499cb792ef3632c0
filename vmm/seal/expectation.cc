#include "vmm/seal/expectation.h"

#include <span>
#include <string>

#include <fmt/format.h>

#include "guest/scenario/mapping.h"
#include "guest/scenario/scenario.h"
#include "vmm/report/words.h"
#include "vmm/seal/rows/advise.h"
#include "vmm/seal/rows/map.h"
#include "vmm/seal/rows/other.h"
#include "vmm/seal/rows/protect.h"

namespace sealvisor::seal {
namespace {

using scenario::Form;

struct KindName {
  std::string_view mapping;  // in smaps
  Kind kind;
  std::uint32_t pages;
};
constexpr auto kKinds = std::to_array<KindName>({
    {"[vdso]", kVdso, 2},
    {"[sigpage]", kSigpage, 1},
    {"[vectors]", kVectors, 1},
    {"[vvar]", kVvar, 2},
    {"[vvar_vclock]", kVvar, 2},
    {"[uprobes]", kUprobes, 1},
});

constexpr std::array<std::span<const Row>, 4> kTables = {rows::kMap, rows::protect::kRows,
                                                         rows::advise::kRows, rows::other::kRows};

bool fits(Part part, const Question& question) {
  const bool nothing = question.form == Form::Empty;
  // A special mapping of one page is there as a whole, also beside another one.
  const bool whole = question.form == Form::Whole || question.pages == 1;
  switch (part) {
    case Part::Any:
      return true;
    case Part::Nothing:
      return nothing;
    case Part::Something:
      return !nothing;
    case Part::Whole:
      return !nothing && whole;
    case Part::Some:
      return !nothing && !whole;
  }
  return false;
}

bool means(const Row& row, const Question& question, const Guest& guest) {
  const Recipe recipe = guest.sealed ? Recipe::Sealed : Recipe::Unsealed;
  const Machine machine = guest.arch == arch::Arch::X86_64 ? Machine::X86_64 : Machine::Arm64;
  const Keys keys = guest.protection_keys ? Keys::On : Keys::Off;
  return row.of.has(question.operation->call) && row.with.has(question.operation->argument) &&
         (row.recipe == Recipe::Any || row.recipe == recipe) && (row.kinds & question.kind) != 0 &&
         fits(row.part, question) && (row.machine == Machine::Any || row.machine == machine) &&
         (row.keys == Keys::Any || row.keys == keys) && (row.forcings & guest.force) != 0;
}

/// Whether the table speaks of linux-source-7.3 7.3.4 too: it answers these the same, with the
/// functions under other names (can_modify_vma is vma_is_sealed there, the head of sys_mremap is
/// check_prep_vma). The rest was read in 6.12 only.
bool is_of_any_version(const Question& question) {
  const scenario::Operation& operation = *question.operation;
  return (question.kind & (kVdso | kVvar)) != 0 && question.form != Form::Empty &&
         operation.by_default.bits != 0;
}

}  // namespace

std::optional<Question> question_of(const report::Cell& cell) {
  Question question;
  question.operation = scenario::operation_named(cell.operation);
  const auto form = scenario::form_named(cell.form);
  if (question.operation == nullptr || !form || !question.operation->forms.has(*form)) {
    return std::nullopt;
  }
  question.form = *form;
  std::string_view mapping = cell.mapping;
  if (mapping.ends_with(scenario::kCompatSuffix)) {
    mapping.remove_suffix(scenario::kCompatSuffix.size());
  }
  for (const KindName& known : kKinds) {
    if (known.mapping != mapping) continue;
    question.kind = known.kind;
    question.pages = cell.observation.pages.total != 0 ? cell.observation.pages.total : known.pages;
    return question;
  }
  return std::nullopt;
}

std::vector<const Row*> rows_for(const Question& question, const Guest& guest) {
  std::vector<const Row*> found;
  for (const std::span<const Row> table : kTables) {
    for (const Row& row : table) {
      if (means(row, question, guest)) found.push_back(&row);
    }
  }
  return found;
}

std::optional<report::Expected> expectation_of(const report::Cell& cell, const Guest& guest) {
  const auto question = question_of(cell);
  if (!question || (guest.any_version && !is_of_any_version(*question))) return std::nullopt;
  const std::vector<const Row*> found = rows_for(*question, guest);
  if (found.empty()) return std::nullopt;
  const Row& row = *found.front();
  report::Expected expected;
  expected.source = row.source;
  expected.permissions = row.permissions;
  expected.breaks = row.breaks;
  if (guest.sealed) {
    expected.exception = row.exception;
    Guest twin = guest;
    twin.sealed = false;
    const std::vector<const Row*> open = rows_for(*question, twin);
    expected.by_seal =
        !open.empty() && (open.front()->error != row.error || open.front()->change != row.change);
  }
  expected.errnos = {row.error};
  if (row.change != kSomeChange) expected.change = row.change;
  std::string answer = report::name_of_errno(row.error);
  if (guest.any_version && row.older_error != 0) {
    expected.errnos.push_back(row.older_error);
    answer += " or " + report::name_of_errno(row.older_error);
  }
  expected.text =
      fmt::format("{}, {}", answer, expected.change ? report::name_of(row.change) : "some change");
  return expected;
}

}  // namespace sealvisor::seal
