// The declarative table of runs: real kernels, real QEMU, and what must come out.
#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/integration/guest.h"
#include "vmm/app/lies.h"
#include "vmm/model/paging.h"

namespace sealvisor::test {
namespace {

using report::Change;

using report::Verdict;

void expect_clean(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text << "\n" << run.ending.console_tail;
  EXPECT_TRUE(run.findings.empty()) << text_of(run.findings);
  EXPECT_EQ(run.counts.mismatches, 0U);
  EXPECT_GT(run.counts.rewalks, 0U);
  EXPECT_GT(run.counts.table_writes, 0U);
  EXPECT_GT(run.counts.user_entries, 0U);
  EXPECT_FALSE(run.blind_spots.empty());
}

/// Of 6.12's [vvar] the last page is never mapped in these guests: what is done to it alone can't
/// show, and is not said to hold.
Verdict unless_unseen(const report::Cell& cell, Verdict verdict) {
  const bool unseen = cell.mapping == "[vvar]" && cell.form == "last-page";
  return unseen ? Verdict::Unobserved : verdict;
}

void expect_sealed(const report::Run& run) {
  expect_clean(run);
  EXPECT_EQ(run.counts.violations, 0U);
  std::size_t held = 0;
  for (const report::Cell& cell : run.cells) {
    if (cell.verdict == Verdict::Skipped) continue;
    EXPECT_EQ(cell.verdict, unless_unseen(cell, Verdict::Held))
        << cell.mapping << " " << cell.operation << "/" << cell.form << ": "
        << cell.observation.text << ", claim " << cell.claim.text;
    EXPECT_TRUE(cell.claim.sealed.value_or(false)) << cell.mapping;
    if (cell.verdict == Verdict::Held) ++held;
  }
  EXPECT_EQ(held, 75U);
}

/// The frame that an entry of level 1 shows, as a gpa: bits 51..12 (Intel SDM volume 3, table 5-20)
/// or 47..12 (Arm ARM D8.3.1, 4K granule, 48-bit output). A literal of the test's own, not the
/// program's decoder.
std::uint64_t frame_in(arch::Arch arch, std::uint64_t entry) {
  return entry & (arch == arch::Arch::X86_64 ? 0x000F'FFFF'FFFF'F000U : 0x0000'FFFF'FFFF'F000U);
}

/// Functions of 6.12 that may take the old entry away: what the compiler leaves of the chain of
/// static functions from unmap_page_range (mm/memory.c), move_page_tables (mm/mremap.c) and
/// change_protection_range (mm/mprotect.c). On arm64 the last has the store in a function of its
/// own (arch/arm64/mm/mmu.c).
std::set<std::string> writers_of(arch::Arch arch, const std::string& operation) {
  if (operation == "munmap" || operation == "mmap-fixed") {
    return {"unmap_page_range", "zap_pte_range", "zap_present_ptes"};
  }
  if (operation == "mremap-move") return {"move_page_tables", "move_ptes"};
  if (arch == arch::Arch::Arm64) return {"ptep_modify_prot_start"};
  return {"change_protection_range", "change_pte_range"};
}

std::string entries_of(const std::vector<report::EntryChange>& changes) {
  std::string text;
  for (const report::EntryChange& change : changes) {
    text += fmt::format("\n{:#x} level {}: {:#x} -> {:#x} by {}", change.gva, change.level,
                        change.old_value, change.new_value, change.function);
  }
  return text;
}

/// What must be there in the end: another entry that says what the operation did.
bool says_what_was_done(arch::Arch arch, const std::string& operation, std::uint64_t frame,
                        const report::EntryChange& taken, const report::EntryChange& change) {
  const bool here = change.gva == taken.gva;
  const bool same_frame = frame_in(arch, change.new_value) == frame;
  const bool present = (change.new_value & 1) != 0;
  const bool x86 = arch == arch::Arch::X86_64;
  if (operation == "munmap") return here && change.new_value == 0;
  if (operation == "mremap-move") return !here && present && same_frame;
  if (operation == "mmap-fixed") return here && present && !same_frame;
  if (operation == "mprotect-none") return here && !present && change.new_value != 0;
  // mprotect-r: bit 63, XD; bit 54, UXN.
  return here && present && same_frame && (change.new_value >> (x86 ? 63U : 54U) & 1) == 1;
}

void expect_change(const report::Run& run, const std::string& mapping, const std::string& operation,
                   Change change) {
  SCOPED_TRACE(mapping + " " + operation);
  const report::Cell* cell = find_cell(run, mapping, operation, "whole");
  ASSERT_NE(cell, nullptr);
  EXPECT_EQ(cell->observation.change, change) << cell->observation.text;
  const auto info =
      std::find_if(run.mappings.begin(), run.mappings.end(),
                   [&](const report::MappingInfo& one) { return one.name == mapping; });
  ASSERT_NE(info, run.mappings.end());
  EXPECT_GT(info->populated, 0U);
  EXPECT_EQ(cell->changes_left_out, 0U);
  for (const std::uint64_t frame : info->frames) {
    if (frame == 0) continue;  // never populated
    SCOPED_TRACE(fmt::format("frame {:#x}", frame));
    const auto taken = std::find_if(cell->changes.begin(), cell->changes.end(),
                                    [&](const report::EntryChange& entry) {
                                      return frame_in(run.arch, entry.old_value) == frame;
                                    });
    ASSERT_NE(taken, cell->changes.end()) << "no entry that showed it was written";
    EXPECT_EQ(taken->level, 1U);
    EXPECT_EQ(taken->new_value, 0U) << "6.12 clears an entry before it gets another value";
    const std::size_t plus = taken->function.find('+');
    ASSERT_NE(plus, std::string::npos) << "symbolised: " << taken->function;
    EXPECT_TRUE(writers_of(run.arch, operation).contains(taken->function.substr(0, plus)))
        << taken->function;
    EXPECT_FALSE(taken->instruction.empty());
    EXPECT_TRUE(std::any_of(cell->changes.begin(), cell->changes.end(),
                            [&](const report::EntryChange& entry) {
                              return says_what_was_done(run.arch, operation, frame, *taken, entry);
                            }))
        << cell->observation.text << entries_of(cell->changes);
  }
}

void expect_unsealed(const report::Run& run) {
  expect_clean(run);
  for (const char* mapping : {"[vdso]", "[vvar]"}) {
    expect_change(run, mapping, "munmap", Change::Gone);
    expect_change(run, mapping, "mremap-move", Change::Moved);
    expect_change(run, mapping, "mprotect-none", Change::PermissionChanged);
    expect_change(run, mapping, "mmap-fixed", Change::Replaced);
  }
  expect_change(run, "[vdso]", "mprotect-r", Change::PermissionChanged);
  for (const report::Cell& cell : run.cells) {
    EXPECT_TRUE(cell.verdict == unless_unseen(cell, Verdict::AsExpected) ||
                cell.verdict == Verdict::Skipped)
        << cell.mapping << " " << cell.operation << "/" << cell.form << ": "
        << cell.observation.text << ", claim " << cell.claim.text;
    if (cell.verdict != Verdict::Skipped) {
      EXPECT_FALSE(cell.claim.sealed.value_or(true)) << cell.mapping;
    }
  }
}

void expect_lies(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  std::size_t violations = 0;
  std::size_t mismatches = 0;
  for (const report::Cell& cell : run.cells) {
    if (cell.verdict == Verdict::Skipped) continue;
    EXPECT_TRUE(cell.claim.sealed.value_or(false)) << "every claim of this kernel says sealed";
    const bool reported = cell.verdict == Verdict::Violation || cell.verdict == Verdict::Mismatch;
    EXPECT_EQ(reported,
              app::documented_lie(cell, {.arch = run.arch, .protection_keys = run.protection_keys}))
        << cell.mapping << " " << cell.operation << "/" << cell.form << ": "
        << cell.observation.text << ", claim " << cell.claim.text;
    if (cell.verdict == Verdict::Violation) ++violations;
    if (cell.verdict == Verdict::Mismatch) ++mismatches;
  }
  // docs/kernels.md has them: munmap of [vdso]; munmap, mmap over, move and PROT_NONE of [vvar]
  // change it, and 22 more of its cells give an answer that no sealed mapping gives. The same on
  // both architectures.
  EXPECT_EQ(violations, 5U);
  EXPECT_EQ(mismatches, 22U);
  for (const report::Finding& finding : run.findings) {
    EXPECT_TRUE(std::any_of(
        run.cells.begin(), run.cells.end(),
        [&](const report::Cell& cell) {
          return app::documented_lie(cell,
                                     {.arch = run.arch, .protection_keys = run.protection_keys}) &&
                 finding.id.starts_with(fmt::format("{}/lying/{}/{}/{}/", arch::name_of(run.arch),
                                                    cell.mapping, cell.operation, cell.form));
        }))
        << "no lie of this kernel: " << finding.id << ": " << finding.text;
  }
  const report::Cell* unmapped = find_cell(run, "[vdso]", "munmap", "whole");
  ASSERT_NE(unmapped, nullptr);
  EXPECT_EQ(unmapped->claim.text, "EPERM");
  EXPECT_EQ(unmapped->observation.change, Change::Gone);
  const report::Cell* moved = find_cell(run, "[vvar]", "mremap-move", "whole");
  ASSERT_NE(moved, nullptr);
  EXPECT_EQ(moved->observation.change, Change::Moved);
  ASSERT_FALSE(moved->changes.empty());
  for (const report::EntryChange& change : moved->changes) EXPECT_NE(change.gva, 0U);
  EXPECT_EQ(findings_of(run, "claim").size(), 5U) << "one for each change, which sl rules out";
}

void expect_life(const report::Run& run) {
  expect_clean(run);
  EXPECT_EQ(run.counts.violations, 0U);
  EXPECT_GE(run.counts.table_writes, 100'000U);
  EXPECT_LT(run.counts.doorbells, protocol::kMaxMessages / 5) << "far from what counts as a flood";
  const auto life = std::find_if(run.lives.begin(), run.lives.end(), [](const report::Life& one) {
    return one.name == "life/thousand";
  });
  ASSERT_NE(life, run.lives.end());
  EXPECT_EQ(life->count, 1000U);
  EXPECT_GE(life->address_spaces, 1000U);
  for (const report::Life& one : run.lives) {
    EXPECT_EQ(one.status, 0) << one.name;
    EXPECT_GT(one.count, 0U) << one.name;
    EXPECT_EQ(one.violations, 0U) << one.name;
    EXPECT_GT(one.user_entries, 0U) << one.name;
  }
}

/// Known stores and their classes, as the VMM counts them block by block. They depend on what the
/// CPU model has; the classes are in guest/agent/store_classes_*.cc.
struct KnownStores {
  std::uint64_t stores;
  std::uint64_t classes;
};
constexpr KnownStores kX86Stores{1360, 50};          // "max" without rdrand, rdseed, erms, fsrm
constexpr KnownStores kArm64Stores{1232, 46};        // the default model: no FEAT_LSE
constexpr KnownStores kArm64AtomicStores{1632, 55};  // cortex-a76: FEAT_LSE

void expect_stores(const report::Run& run, KnownStores known) {
  expect_clean(run);
  ASSERT_EQ(run.lives.size(), 1U);
  EXPECT_EQ(run.lives[0].status, 0);
  EXPECT_EQ(run.counts.known_stores, known.stores);
  EXPECT_EQ(run.counts.known_store_classes, known.classes);
  EXPECT_EQ(run.lives[0].count, known.stores) << "what the agent says that it did";
  ASSERT_TRUE(run.counts.witness_stores.has_value()) << "the second witness did not run";
  EXPECT_GT(*run.counts.witness_stores, 500U);
  EXPECT_EQ(run.counts.witness_differences, 0U);
}

void expect_exact_stores(const report::Run& run) {
  expect_stores(run, run.arch == arch::Arch::X86_64 ? kX86Stores : kArm64Stores);
}

void expect_lying_agent(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  const auto found = findings_of(run, "identity");
  ASSERT_EQ(found.size(), 1U) << text_of(run.findings);
  EXPECT_NE(found[0].text.find("[vdso]"), std::string::npos);
  EXPECT_EQ(run.findings.size(), 1U) << text_of(run.findings);
}

void expect_false_claims(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  EXPECT_EQ(findings_of(run, "claim").size(), 2U) << "[vdso] and [vvar]: " << text_of(run.findings);
  EXPECT_EQ(findings_of(run, "S8").size(), 1U) << text_of(run.findings);
  const auto monitor = findings_of(run, "monitor");
  for (const char* what : {"lie/claims/announcement", "lie/claims/touch"}) {
    EXPECT_TRUE(std::any_of(monitor.begin(), monitor.end(), [&](const report::Finding& finding) {
      return finding.id.find(what) != std::string::npos;
    })) << what;
  }
}

void expect_false_vvar(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  const auto found = findings_of(run, "identity");
  ASSERT_FALSE(found.empty()) << text_of(run.findings);
  EXPECT_NE(found[0].text.find("the kernel's"), std::string::npos) << found[0].text;
}

void expect_unannounced_vdso(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  const auto found = findings_of(run, "identity");
  const auto tells = [&](const char* text) {
    return std::any_of(found.begin(), found.end(), [&](const report::Finding& finding) {
      return finding.text.find(text) != std::string::npos;
    });
  };
  EXPECT_TRUE(tells("[vdso] was never identified")) << text_of(run.findings);
  EXPECT_TRUE(tells("of no mapping that was announced")) << text_of(run.findings);
}

void expect_changes_seen(const report::Run& run, std::uint64_t changes) {
  expect_clean(run);
  EXPECT_EQ(run.counts.known_changes, changes);
  EXPECT_EQ(run.counts.known_changes_judged, changes);
}
void expect_all_changes_seen(const report::Run& run) { expect_changes_seen(run, 1000 + 33); }
void expect_compat_changes_seen(const report::Run& run) { expect_changes_seen(run, 1000); }

/// Stores of control/stores-code and their classes, and the violations that they make, with the
/// second place of the page. They depend on the CPU model like KnownStores, and these on what the
/// last bytes of the kernel's vdso are.
struct KnownCodeStores {
  std::uint64_t stores;
  std::uint64_t classes;
  std::uint64_t changes;
};
constexpr KnownCodeStores kX86CodeStores{2432, 35, 599};
constexpr KnownCodeStores kArm64CodeStores{2504, 36, 876};         // no FEAT_LSE
constexpr KnownCodeStores kArm64AtomicCodeStores{3216, 45, 1133};  // FEAT_LSE

void expect_code_stores(const report::Run& run, KnownCodeStores known) {
  expect_clean(run);
  ASSERT_EQ(run.lives.size(), 1U);
  EXPECT_EQ(run.lives[0].status, 0);
  EXPECT_EQ(run.lives[0].count, known.stores) << "what the agent says that it did";
  EXPECT_EQ(run.counts.known_code_stores, known.stores);
  EXPECT_EQ(run.counts.known_code_store_classes, known.classes);
  EXPECT_EQ(run.counts.known_changes, known.changes);
  EXPECT_EQ(run.counts.known_changes_judged, known.changes);
}

void expect_exact_code_stores(const report::Run& run) {
  expect_code_stores(run, run.arch == arch::Arch::X86_64 ? kX86CodeStores : kArm64CodeStores);
}

/// One of the changes was taken out of the event stream: see KnownChanges below.
void expect_a_change_missed(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  const auto found = findings_of(run, "monitor");
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const report::Finding& finding) {
    return finding.id.find("control/tamper-entry/tamper") != std::string::npos;
  })) << text_of(run.findings);
}

void expect_skips_found_out(const report::Run& run) {
  EXPECT_TRUE(run.ending.good) << run.ending.text;
  EXPECT_EQ(findings_of(run, "monitor").size(), 10U) << text_of(run.findings);
  for (const report::Cell& cell : run.cells) {
    const bool there = cell.mapping != "[vvar_vclock]";
    EXPECT_EQ(cell.verdict, there ? report::Verdict::Unobserved : report::Verdict::Skipped);
  }
}

/// What the event stream shows of the tables that user mode ran on.
class Roots {
 public:
  explicit Roots(arch::Arch arch) : arch_(arch) {}

  void see(const event::Event& event) {
    if (event.kind == event::Kind::RootLoad) {
      const std::uint64_t frame = event.gpa >> arch::kPageShift;
      const bool upper = (event.flags & event::kUpperHalf) != 0;
      if (upper) ++upper_loads_;
      (upper ? upper_ : lower_)[frame] = event.level;
    }
    if (event.kind != event::Kind::UserEntry) return;
    ++entries_;
    const std::uint64_t root = model::root_of(arch_, event.root).number;
    levels_.insert(lower_.contains(root) ? lower_[root] : 0);
    // x86-64: the kernel's root lies in front of the user's (6.12: PTI_PGTABLE_SWITCH_BIT). That it
    // was loaded too tells it from a frame that merely is odd.
    if (root % 2 == 1 && lower_.contains(root - 1)) ++beside_a_kernel_root_;
    user_upper_.insert(model::root_of(arch_, event.aux).number);
  }

  [[nodiscard]] const std::set<unsigned>& levels() const { return levels_; }

  /// Whether the kernel's tables and user mode's were apart at each entry.
  [[nodiscard]] bool isolated() const {
    if (entries_ == 0) return false;
    if (arch_ == arch::Arch::X86_64) return beside_a_kernel_root_ == entries_;
    // arm64: TTBR1 is switched on each way in and out (6.12: arch/arm64/kernel/entry.S,
    // tramp_map_kernel, tramp_unmap_kernel), and user mode has that of the trampoline alone.
    return upper_loads_ > entries_ && user_upper_.size() == 1 && upper_.size() > 1;
  }

 private:
  arch::Arch arch_;
  std::map<std::uint64_t, unsigned> lower_;  // frame -> top level
  std::map<std::uint64_t, unsigned> upper_;
  std::set<unsigned> levels_;
  std::set<std::uint64_t> user_upper_;
  std::uint64_t entries_ = 0;
  std::uint64_t upper_loads_ = 0;
  std::uint64_t beside_a_kernel_root_ = 0;
};

void expect_plain_tables(const Roots& roots) {
  EXPECT_EQ(roots.levels(), std::set<unsigned>{4});
  EXPECT_FALSE(roots.isolated());
}
void expect_five_levels(const Roots& roots) { EXPECT_EQ(roots.levels(), std::set<unsigned>{5}); }
void expect_isolation(const Roots& roots) { EXPECT_TRUE(roots.isolated()); }

/// One row: what to run and what must come out of it.
struct RunRow {
  const char* name;
  const char* recipe;
  std::vector<std::string> scenarios;
  std::function<void(run::RunRequest&)> prepare;
  std::function<void(const report::Run&)> check;
  std::function<void(const Roots&)> check_roots{};
  std::optional<arch::Arch> only{};  ///< Runs on this architecture alone.
};

void unprepared(run::RunRequest& /*request*/) {}
/// Takes the 100th store that makes [vdso] writable out of the stream.
void without_one_change(run::RunRequest& request) {
  request.mutate = [left = 100, arch = request.arch](event::Event& event) mutable {
    // A fork takes the permission to write away by that one bit too, and the kernel gives it to
    // pages of its own, which the user bit tells apart.
    const bool x86 = arch == arch::Arch::X86_64;
    const std::uint64_t write = x86 ? std::uint64_t{1} << 1 : std::uint64_t{1} << 7;
    const std::uint64_t user = x86 ? std::uint64_t{1} << 2 : std::uint64_t{1} << 6;
    const bool given = ((event.new_value & write) != 0) == x86 && (event.new_value & user) != 0;
    const bool tampering = event.kind == event::Kind::SlotWrite && event.level == 1 && given &&
                           (event.old_value ^ event.new_value) == write;
    if (tampering && --left == 0) event.kind = event::Kind::UserEntry;
  };
}
void with_witness(run::RunRequest& request) { request.witness = true; }

/// As a bzImage: only its own start-up code turns 5 levels on (6.12:
/// arch/x86/boot/compressed/pgtable_64.c), which the PVH entry of vmlinux passes over.
void with_five_levels(run::RunRequest& request) {
  request.kernel_image = request.kernel_image.parent_path() / "image";
  request.cpu_model = "max,rdrand=off,rdseed=off,la57=on,erms=off,fsrm=off";
}
void with_isolation(run::RunRequest& request) {
  request.kernel_arguments = request.arch == arch::Arch::X86_64 ? "pti=on" : "kpti=1";
}

const std::vector<std::string> kCells = default_cells();

const RunRow kRunRows[] = {
    {"SealedTwinHolds", "lts-sealed", kCells, unprepared, expect_sealed, expect_plain_tables},
    {"UnsealedTwinChanges", "lts-unsealed", kCells, unprepared, expect_unsealed,
     expect_plain_tables},
    {"SealedWithFiveLevels", "lts-sealed", kCells, with_five_levels, expect_sealed,
     expect_five_levels, arch::Arch::X86_64},
    {"UnsealedWithFiveLevels", "lts-unsealed", kCells, with_five_levels, expect_unsealed,
     expect_five_levels, arch::Arch::X86_64},
    {"SealedWithPageTableIsolation", "lts-sealed", kCells, with_isolation, expect_sealed,
     expect_isolation},
    {"UnsealedWithPageTableIsolation", "lts-unsealed", kCells, with_isolation, expect_unsealed,
     expect_isolation},
    {"LyingKernelIsFoundOut", "lying", kCells, unprepared, expect_lies},
    {"ProcessLife", "lts-sealed", default_lives(), unprepared, expect_life},
    {"ExactStores", "lts-sealed", {"control/stores"}, with_witness, expect_exact_stores},
    {"CopiedBytesAreNoViolation", "lts-sealed", {"control/copy-vdso"}, unprepared, expect_clean},
    {"LyingAgentIsFoundOut", "lts-sealed", {"lie/mapping"}, unprepared, expect_lying_agent},
    {"FalseClaims", "lts-sealed", {"lie/claims"}, unprepared, expect_false_claims},
    {"FalseFirstAnnouncement",
     "lts-sealed",
     {"lie/vvar-from-boot", "munmap/whole"},
     unprepared,
     expect_false_vvar},
    {"UnannouncedVdso", "lts-sealed", {"lie/omit-vdso"}, unprepared, expect_unannounced_vdso},
    {"KnownChanges",
     "lts-sealed",
     {"control/tamper-entry", "control/tamper-code"},
     unprepared,
     expect_all_changes_seen},
    {"KnownChangesOf32Bits",
     "lts-sealed",
     {"control/tamper-compat"},
     unprepared,
     expect_compat_changes_seen},
    {"ExactStoresToCode",
     "lts-sealed",
     {"control/stores-code"},
     unprepared,
     expect_exact_code_stores},
    {"KnownChangesButOne",
     "lts-sealed",
     {"control/tamper-entry"},
     without_one_change,
     expect_a_change_missed},
    {"SkippingAgent", "lts-sealed", {"lie/skip", "munmap/*"}, unprepared, expect_skips_found_out},
};

using ArchRunRow = std::tuple<arch::Arch, RunRow>;

std::vector<ArchRunRow> rows_of_both() {
  std::vector<ArchRunRow> all;
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const RunRow& row : kRunRows) {
      if (row.only.value_or(arch) == arch) all.emplace_back(arch, row);
    }
  }
  return all;
}

class Runs : public testing::TestWithParam<ArchRunRow> {};
INSTANTIATE_TEST_SUITE_P(Table, Runs, testing::ValuesIn(rows_of_both()),
                         [](const testing::TestParamInfo<ArchRunRow>& one) {
                           return std::string(arch::name_of(std::get<0>(one.param))) + "_" +
                                  std::get<1>(one.param).name;
                         });

TEST_P(Runs, ComesOutAsItMust) {
  const auto& [arch, row] = GetParam();
  run::RunRequest request = request_for(arch, row.recipe, row.scenarios);
  row.prepare(request);
  Roots roots(arch);
  request.mutate = [&roots, mutate = request.mutate](event::Event& event) {
    if (mutate) mutate(event);
    roots.see(event);
  };
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  ASSERT_NE(row.check, nullptr);
  row.check(run);
  if (row.check_roots) row.check_roots(roots);
}

/// The same exact count on a CPU with single-instruction atomics (FEAT_LSE).
TEST(RunsArm64, ExactStoresWithLargeSystemExtensions) {
  run::RunRequest request = request_for(arch::Arch::Arm64, "lts-sealed", {"control/stores"});
  request.cpu_model = "cortex-a76";
  request.witness = true;
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  expect_stores(run, kArm64AtomicStores);
}

TEST(RunsArm64, ExactStoresToCodeWithLargeSystemExtensions) {
  run::RunRequest request = request_for(arch::Arch::Arm64, "lts-sealed", {"control/stores-code"});
  request.cpu_model = "cortex-a76";
  report::Run run;
  run_guest(request, run);
  if (HasFatalFailure()) return;
  expect_code_stores(run, kArm64AtomicCodeStores);
}

}  // namespace
}  // namespace sealvisor::test
