// Parts of the full matrix (docs/matrix.md) on real guests: what is judged in another way than the
// default cells. The whole of it is `sealvisor verify --full`.
#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "guest/scenario/scenario.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/app/variants.h"

namespace sealvisor::test {
namespace {

using report::Cell;
using report::Change;
using report::Verdict;

/// Known (docs/known-findings.json): it is mapped in a time namespace only.
bool is_never_populated(const Cell& cell) {
  return cell.mapping.starts_with("[vvar]") && cell.form == "last-page";
}

/// Nothing that contradicts what is expected, and nothing that could not be tried.
void expect_as_expected(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.mismatches, 0U);
  for (const Cell& cell : run.cells) {
    EXPECT_NE(cell.verdict, Verdict::Violation) << cell.mapping << " " << cell.operation;
    EXPECT_NE(cell.verdict, Verdict::Mismatch) << cell.mapping << " " << cell.operation;
    if (is_never_populated(cell)) continue;
    EXPECT_NE(cell.verdict, Verdict::Unobserved) << cell.mapping << cell.operation;
  }
  for (const report::Life& life : run.lives) {
    EXPECT_EQ(life.status, 0) << life.name;
    EXPECT_EQ(life.violations, 0U) << life.name;
  }
}

template <typename Is>
std::vector<const Cell*> cells_of(const report::Run& run, Is is) {
  std::vector<const Cell*> found;
  for (const Cell& cell : run.cells) {
    if (cell.verdict != Verdict::Skipped && is(cell)) found.push_back(&cell);
  }
  return found;
}

bool is_forced(const Cell& cell) {
  const scenario::Operation* const operation = scenario::operation_named(cell.operation);
  return operation != nullptr && scenario::forces(operation->call);
}

/// Each forced write to code is seen as what it is: another frame, whose code differs.
void expect_forced(const report::Run& run) {
  expect_as_expected(run);
  const auto forced =
      cells_of(run, [](const Cell& cell) { return cell.verdict == Verdict::Forced; });
  EXPECT_FALSE(forced.empty());
  for (const Cell* cell : forced) {
    EXPECT_EQ(cell->observation.change, Change::Privatised) << cell->mapping << cell->operation;
    EXPECT_EQ(cell->broken, (std::vector<std::string>{"S2", "S5"})) << cell->operation;
    EXPECT_TRUE(cell->claim.sealed.value_or(false));
    EXPECT_FALSE(cell->changes.empty());
    EXPECT_NE(cell->observation.text.find("a copy but for 8 bytes"), std::string::npos)
        << cell->observation.text;
  }
  const bool data = std::any_of(forced.begin(), forced.end(), [](const Cell* cell) {
    return cell->mapping.starts_with("[vvar]") || cell->mapping.starts_with("[vectors]");
  });
  EXPECT_FALSE(data) << "what may never be written is not written by force either";
}

void expect_forced_by_ptrace_only(const report::Run& run) {
  expect_as_expected(run);
  for (const Cell* cell : cells_of(run, is_forced)) {
    if (cell->verdict != Verdict::Forced) continue;
    EXPECT_EQ(cell->operation, "ptrace-poke");
  }
  EXPECT_FALSE(
      cells_of(run, [](const Cell& cell) { return cell.verdict == Verdict::Forced; }).empty());
}

void expect_forced_by_tracers_only(const report::Run& run) {
  expect_as_expected(run);
  for (const Cell* cell : cells_of(run, is_forced)) {
    if (cell->verdict != Verdict::Forced) continue;
    EXPECT_TRUE(cell->operation == "ptrace-poke" || cell->operation == "procmem-tracer")
        << cell->operation;
  }
}

/// On a kernel without the seal the same writes are as expected, and no class of their own.
void expect_copies(const report::Run& run) {
  expect_as_expected(run);
  const auto copied =
      cells_of(run, [](const Cell& cell) { return cell.observation.change == Change::Privatised; });
  EXPECT_FALSE(copied.empty());
  for (const Cell* cell : copied) EXPECT_EQ(cell->verdict, Verdict::AsExpected);
}

void expect_namespaces(const report::Run& run) {
  expect_as_expected(run);
  const auto moved =
      cells_of(run, [](const Cell& cell) { return cell.observation.change == Change::Moved; });
  EXPECT_EQ(moved.size(), 4U) << "[vvar] of either word size, by setns and in a child";
  for (const Cell* cell : moved) {
    EXPECT_TRUE(cell->mapping.starts_with("[vvar]")) << cell->mapping;
    EXPECT_EQ(cell->verdict, Verdict::ByDesign);
    EXPECT_EQ(cell->broken, (std::vector<std::string>{"S2", "S4"}));
  }
}

/// The unsealed twin of everything that takes a mapping away, for each mapping there is.
void expect_all_gone(const report::Run& run) {
  expect_as_expected(run);
  const auto gone =
      cells_of(run, [](const Cell& cell) { return cell.observation.change == Change::Gone; });
  const auto tried = cells_of(run, [](const Cell&) { return true; });
  EXPECT_EQ(gone.size(), tried.size());
  EXPECT_EQ(tried.size(), run.arch == arch::Arch::X86_64 ? 5U : 7U);
}

void expect_all_held(const report::Run& run) {
  expect_as_expected(run);
  EXPECT_EQ(run.counts.violations, 0U);
  for (const Cell* cell : cells_of(run, [](const Cell&) { return true; })) {
    EXPECT_EQ(cell->verdict, is_never_populated(*cell) ? Verdict::Unobserved : Verdict::Held)
        << cell->mapping << " " << cell->operation;
  }
}

void expect_inherited(const report::Run& run) {
  expect_as_expected(run);
  const Cell* const own = find_cell(run, "[uprobes]", "fork", "whole");
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->verdict, Verdict::ByDesign) << own->observation.text;
  const Cell* const left = find_cell(run, "[vdso]", "madvise-dontfork-fork", "whole");
  ASSERT_NE(left, nullptr);
  EXPECT_EQ(left->verdict, Verdict::Held) << left->observation.text;
}

void expect_left_out(const report::Run& run) {
  expect_as_expected(run);
  for (const char* mapping : {"[vdso]", "[vvar]", "[vdso] (32-bit)", "[vvar] (32-bit)"}) {
    const Cell* const left = find_cell(run, mapping, "madvise-dontfork-fork", "whole");
    ASSERT_NE(left, nullptr) << mapping;
    EXPECT_EQ(left->observation.change, Change::Gone) << mapping << left->observation.text;
    EXPECT_EQ(left->broken, (std::vector<std::string>{"S8"})) << mapping;
  }
}

/// One row: what to run and what must come out of it.
struct MatrixRow {
  const char* name;
  const char* recipe;
  std::vector<std::string> scenarios;
  const char* arguments;
  std::function<void(const report::Run&)> check;
};

const std::vector<std::string> kForced = {"ptrace/*", "procmem/*", "vm/*"};
const std::vector<std::string> kChildren = {"fork/*", "madvise/*-fork"};

const MatrixRow kMatrixRows[] = {
    {"ForcedWrites", "lts-sealed", kForced, "", expect_forced},
    {"ForcedWritesOfTheTwin", "lts-unsealed", kForced, "", expect_copies},
    {"ForceNever", "lts-sealed", kForced, "proc_mem.force_override=never",
     expect_forced_by_ptrace_only},
    {"ForcePtrace", "lts-sealed", kForced, "proc_mem.force_override=ptrace",
     expect_forced_by_tracers_only},
    {"TimeNamespaces", "lts-sealed", {"timens/*"}, "", expect_namespaces},
    {"EachMappingGoes", "lts-unsealed", {"munmap/whole"}, "", expect_all_gone},
    {"EachMappingHolds",
     "lts-sealed",
     {"munmap/*", "mremap/*", "race/*", "uffd/*", "uring/dont*"},
     "",
     expect_all_held},
    {"RacesOfTheTwin", "lts-unsealed", {"race/*"}, "", expect_as_expected},
    {"Children", "lts-sealed", kChildren, "", expect_inherited},
    {"ChildrenOfTheTwin", "lts-unsealed", kChildren, "", expect_left_out},
    {"Pressure", "lts-sealed", {"pressure/*"}, "", expect_as_expected},
    {"Knobs", "lts-sealed", {"knob/*", "personality/*"}, "", expect_as_expected},
    {"ReachedOver", "lts-unsealed", {"mremap/shrink-over*"}, "", expect_as_expected},
    {"LivesInFull",
     "lts-sealed",
     {"life/clone-vm", "life/exec-thread", "life/exec-failed", "life/exec-failed-late",
      "life/core-dump", "life/personality", "life/knobs", "life/uprobes", "life/mrelease",
      "life/oom"},
     "",
     expect_as_expected},
};

using ArchMatrixRow = std::tuple<arch::Arch, MatrixRow>;

class Matrix : public testing::TestWithParam<ArchMatrixRow> {};
INSTANTIATE_TEST_SUITE_P(Table, Matrix,
                         testing::Combine(testing::ValuesIn(arch::kAllArchs),
                                          testing::ValuesIn(kMatrixRows)),
                         [](const testing::TestParamInfo<ArchMatrixRow>& one) {
                           return std::string(arch::name_of(std::get<0>(one.param))) + "_" +
                                  std::get<1>(one.param).name;
                         });

TEST_P(Matrix, ComesOutAsItMust) {
  const auto& [arch, row] = GetParam();
  run::RunRequest request = request_for(arch, row.recipe, row.scenarios, true);
  request.kernel_arguments = row.arguments;
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  row.check(run);
}

/// Each variant that exists here, sealed and not: other paging, other keys, other words.
struct ArchVariants {
  arch::Arch arch;
  bool of_other_kernels;  ///< Those too; only `./bootstrap test --full` builds their kernels.
};

struct VariantsName {
  std::string operator()(const testing::TestParamInfo<ArchVariants>& one) const {
    return arch::name_of(one.param.arch);
  }
};

class Variants : public testing::TestWithParam<ArchVariants> {};
INSTANTIATE_TEST_SUITE_P(BothArchs, Variants,
                         testing::Values(ArchVariants{arch::Arch::X86_64, false},
                                         ArchVariants{arch::Arch::Arm64, false}),
                         VariantsName{});
INSTANTIATE_TEST_SUITE_P(InFull, Variants,
                         testing::Values(ArchVariants{arch::Arch::X86_64, true},
                                         ArchVariants{arch::Arch::Arm64, true}),
                         VariantsName{});

TEST_P(Variants, ComeOutAsTheyMust) {
  const auto [arch, all] = GetParam();
  const Folder folder;
  const auto json = folder.path() / "report.json";
  std::vector<std::string> words = {program_path(), "verify",     "--arch",     arch::name_of(arch),
                                    "--recipe",     "lts-sealed", "--recipe",   "lts-unsealed",
                                    "--scenario",   "munmap/*",   "--scenario", "mprotect/x",
                                    "--scenario",   "pkey/x",     "--json",     json.string()};
  std::set<std::string> wanted;
  for (const app::Variant& variant : app::all_variants()) {
    if (!variant.refused.empty() || variant.only.value_or(arch) != arch) continue;
    if (!all && app::has_own_kernel(variant, arch)) continue;
    wanted.emplace(variant.name);
    if (!all) words.insert(words.end(), {"--variant", std::string(variant.name)});
  }
  if (all) {
    wanted.emplace();  // The usual guest runs too.
    words.insert(words.end(), {"--variant", "all", "--scenario", "pressure/memcg"});
  }
  Child verify(words);
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  if (all && arch == arch::Arch::Arm64) {
    EXPECT_NE(verify.text().find("not run: variant va52: "), std::string::npos) << verify.text();
  }
  const auto report = nlohmann::json::parse(std::ifstream(json));
  std::set<std::string> ran;
  for (const auto& run : report["runs"]) {
    EXPECT_EQ(run["counts"]["mismatches"], 0);
    ran.insert(run["variant"]);
    for (const auto& cell : run["cells"]) {
      if (cell["operation"] != "pressure-memcg" || cell["mapping"] == "[vvar_vclock]") continue;
      const bool tried = cell["verdict"] == "held" || cell["verdict"] == "as-expected";
      EXPECT_EQ(tried, run["variant"] == "memcg") << cell.dump(2);
    }
  }
  EXPECT_EQ(ran, wanted);
  EXPECT_EQ(report["runs"].size(), 2 * wanted.size());
}

}  // namespace
}  // namespace sealvisor::test
