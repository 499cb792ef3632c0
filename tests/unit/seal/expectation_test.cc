#include "vmm/seal/expectation.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "guest/scenario/scenario.h"

namespace sealvisor::seal {
namespace {

using report::Change;
using report::Exception;

report::Cell cell(std::string_view mapping, std::string_view operation, std::string_view form) {
  report::Cell result;
  result.mapping = mapping;
  result.operation = operation;
  result.form = form;
  return result;
}

/// Every guest that some row tells from another.
std::vector<Guest> all_guests() {
  std::vector<Guest> guests;
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const bool sealed : {true, false}) {
      for (const bool keys : {false, true}) {
        if (keys && arch != arch::Arch::X86_64) continue;
        for (const Force force : {kAlways, kPtrace, kNever}) {
          guests.push_back({arch, sealed, keys, force});
        }
      }
    }
  }
  return guests;
}

std::string text_of(const Guest& guest) {
  return std::string(arch::name_of(guest.arch)) + (guest.sealed ? " sealed" : " unsealed") +
         (guest.protection_keys ? " keys" : "") + " force " + std::to_string(guest.force);
}

/// Calls `visit` with each cell that is ever tried in `guest`.
template <typename Visit>
void each_cell(const Guest& guest, Visit visit) {
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != scenario::Kind::Cells) continue;
    for (const scenario::Mapping& mapping : scenario::kMappings) {
      if (!scenario::applies(scenario, mapping, guest.arch)) continue;
      visit(scenario, cell(mapping.name, scenario.operation->name, name_of(scenario.form)));
    }
  }
}

TEST(Expectation, EveryCellIsMeantByExactlyOneRow) {
  for (const Guest& guest : all_guests()) {
    each_cell(guest, [&](const scenario::Scenario& scenario, const report::Cell& tried) {
      const auto question = question_of(tried);
      ASSERT_TRUE(question.has_value()) << tried.mapping << " " << scenario.name;
      // Forms of less than the whole do not exist for a mapping of one page.
      const bool part =
          scenario.form == scenario::Form::FirstPage || scenario.form == scenario::Form::LastPage;
      if (part && question->pages == 1) return;
      EXPECT_EQ(rows_for(*question, guest).size(), 1U)
          << text_of(guest) << ": " << tried.mapping << " " << scenario.name;
    });
  }
}

TEST(Expectation, EachNamesItsSource) {
  for (const Guest& guest : all_guests()) {
    each_cell(guest, [&](const scenario::Scenario& scenario, const report::Cell& tried) {
      const auto expected = expectation_of(tried, guest);
      if (!expected) return;  // a part of one page, see above
      EXPECT_NE(expected->source.find(".c"), std::string::npos) << scenario.name;
      EXPECT_FALSE(expected->text.empty());
      EXPECT_EQ(expected->change == Change::PermissionChanged, !expected->permissions.empty())
          << scenario.name;
    });
  }
}

TEST(Expectation, ASealedMappingChangesOnlyWhereItIsExcepted) {
  for (const Guest& guest : all_guests()) {
    if (!guest.sealed) continue;
    each_cell(guest, [&](const scenario::Scenario& scenario, const report::Cell& tried) {
      const auto expected = expectation_of(tried, guest);
      if (!expected) return;
      ASSERT_TRUE(expected->change.has_value()) << scenario.name;
      EXPECT_EQ(*expected->change != Change::Unchanged, expected->exception != Exception::None)
          << text_of(guest) << ": " << tried.mapping << " " << scenario.name;
    });
  }
}

TEST(Expectation, NothingIsExceptedThatIsNotSealed) {
  for (const Guest& guest : all_guests()) {
    if (guest.sealed) continue;
    each_cell(guest, [&](const scenario::Scenario&, const report::Cell& tried) {
      if (const auto expected = expectation_of(tried, guest)) {
        EXPECT_EQ(expected->exception, Exception::None);
      }
    });
  }
}

/// An operation that changes nothing anywhere would make each "unchanged" worthless: either some
/// unsealed mapping changes by it, or the list says why none does.
TEST(Expectation, TheUnsealedTwinChangesOrTheListSaysWhyNot) {
  std::set<std::string_view> changing;
  for (const Guest& guest : all_guests()) {
    if (guest.sealed) continue;
    each_cell(guest, [&](const scenario::Scenario& scenario, const report::Cell& tried) {
      const auto expected = expectation_of(tried, guest);
      // That a child never inherits [uprobes] is none of the operation's doing.
      if (!expected || tried.mapping == "[uprobes]") return;
      if (expected->change != Change::Unchanged) changing.insert(scenario.operation->name);
    });
  }
  for (const scenario::Operation& operation : scenario::kOperations) {
    EXPECT_EQ(changing.contains(operation.name), operation.never.empty())
        << operation.name << ": " << operation.never;
  }
}

TEST(Expectation, AnUnsealedMappingChangesOnlyWhereTheCallSucceeds) {
  for (const Guest& guest : all_guests()) {
    if (guest.sealed) continue;
    each_cell(guest, [&](const scenario::Scenario& scenario, const report::Cell& tried) {
      const auto expected = expectation_of(tried, guest);
      if (!expected || !expected->change || *expected->change == Change::Unchanged) return;
      EXPECT_EQ(expected->errnos, std::vector<int>{0}) << scenario.name;
    });
  }
}

struct ExpectationCase {
  const char* mapping;
  const char* operation;
  const char* form;
  int error;
  Change change;
  bool sealed;
};

TEST(Expectation, RowsThatAreEasyToGetWrong) {
  constexpr ExpectationCase kCases[] = {
      {"[vdso]", "munmap", "whole", EPERM, Change::Unchanged, true},
      {"[vdso]", "munmap", "whole", 0, Change::Gone, false},
      {"[vdso]", "munmap", "empty", EINVAL, Change::Unchanged, true},
      {"[vdso]", "munmap", "last-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "munmap", "neighbour", EINVAL, Change::Unchanged, false},
      {"[sigpage] (32-bit)", "munmap", "neighbour", 0, Change::Gone, false},
      {"[vvar]", "mremap-move", "whole", 0, Change::Moved, false},
      {"[vvar]", "mremap-move", "first-page", EINVAL, Change::Unchanged, false},
      {"[vvar]", "mremap-shrink", "last-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "mremap-grow", "whole", EFAULT, Change::Unchanged, false},
      {"[vdso]", "mremap-grow-move", "whole", EPERM, Change::Unchanged, true},
      {"[vdso]", "mremap-dontunmap", "whole", EINVAL, Change::Unchanged, false},
      {"[vdso]", "mremap-onto", "whole", 0, Change::Replaced, false},
      {"[vvar]", "mprotect-w", "whole", EACCES, Change::Unchanged, true},
      {"[vvar]", "mprotect-rwx", "last-page", EACCES, Change::Unchanged, false},
      {"[vvar]", "mprotect-r", "whole", EPERM, Change::Unchanged, true},
      {"[vvar]", "mprotect-r", "whole", 0, Change::Unchanged, false},
      {"[vectors] (32-bit)", "mprotect-rw", "whole", EACCES, Change::Unchanged, true},
      {"[vdso]", "mprotect-r", "whole", 0, Change::PermissionChanged, false},
      {"[vdso]", "mprotect-rx", "whole", 0, Change::Unchanged, false},
      {"[vdso]", "mprotect-rwx", "whole", 0, Change::Replaced, false},
      {"[vdso]", "mprotect-rwx", "first-page", EINVAL, Change::Unchanged, false},
      {"[vvar]", "mprotect-none", "whole", 0, Change::PermissionChanged, false},
      {"[vdso]", "mprotect-same", "whole", EPERM, Change::Unchanged, true},
      {"[vdso]", "pkey-r", "whole", EINVAL, Change::Unchanged, true},
      {"[vvar]", "mmap-fixed", "whole", 0, Change::Replaced, false},
      {"[vvar]", "mmap-fixed", "first-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "madvise-dontneed", "first-page", 0, Change::Refaulted, false},
      {"[vdso]", "madvise-dontneed", "whole", EPERM, Change::Unchanged, true},
      {"[vvar]", "madvise-dontneed", "whole", EINVAL, Change::Unchanged, false},
      {"[vdso]", "madvise-random", "whole", 0, Change::Unchanged, true},
      {"[vdso]", "madvise-random", "first-page", EINVAL, Change::Unchanged, true},
      {"[vvar]", "madvise-dofork", "whole", EINVAL, Change::Unchanged, true},
      {"[vdso]", "madvise-dontfork-fork", "whole", 0, Change::Gone, false},
      {"[vdso]", "madvise-dontfork-fork", "whole", EPERM, Change::Unchanged, true},
      {"[uprobes]", "fork", "whole", 0, Change::Gone, true},
      {"[vdso]", "mseal", "first-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "mseal", "first-page", 0, Change::Unchanged, true},
      {"[vdso]", "mseal-munmap", "whole", EPERM, Change::Unchanged, false},
      {"[vdso]", "procmem-other", "last-page", 0, Change::Privatised, true},
      {"[vvar]", "procmem-other", "last-page", EIO, Change::Unchanged, false},
      {"[vdso]", "vm-writev", "whole", EFAULT, Change::Unchanged, false},
      {"[vvar]", "timens-setns", "whole", 0, Change::Moved, true},
      {"[vdso]", "timens-setns", "whole", 0, Change::Unchanged, true},
  };
  for (const ExpectationCase& one : kCases) {
    SCOPED_TRACE(std::string(one.mapping) + " " + one.operation + " " + one.form +
                 (one.sealed ? " sealed" : " unsealed"));
    const auto expected = expectation_of(cell(one.mapping, one.operation, one.form),
                                         {.arch = arch::Arch::X86_64, .sealed = one.sealed});
    ASSERT_TRUE(expected.has_value());
    EXPECT_EQ(expected->errnos, std::vector<int>{one.error});
    EXPECT_EQ(expected->change, one.change);
  }
}

TEST(Expectation, DependsOnTheMachine) {
  const auto of = [](const char* operation, arch::Arch arch) {
    return expectation_of(cell("[vvar]", operation, "whole"), {.arch = arch})->errnos.front();
  };
  EXPECT_EQ(of("madvise-dofork", arch::Arch::X86_64), EINVAL) << "VM_IO";
  EXPECT_EQ(of("madvise-dofork", arch::Arch::Arm64), 0);
  EXPECT_EQ(of("pkey-none", arch::Arch::X86_64), EINVAL) << "no key";
  EXPECT_EQ(of("pkey-none", arch::Arch::Arm64), ENOSYS);
}

TEST(Expectation, APartOfOnePageIsTheWhole) {
  report::Cell beside = cell("[vdso] (32-bit)", "munmap", "neighbour");
  EXPECT_EQ(expectation_of(beside, {})->errnos, std::vector<int>{EINVAL});
  beside.observation.pages.total = 1;
  EXPECT_EQ(expectation_of(beside, {})->errnos, std::vector<int>{0});
}

/// What a guest says of the size of its mappings is not to be believed.
TEST(Expectation, KnowsNothingOfPartsOfAMappingThatHasNone) {
  report::Cell part = cell("[uprobes]", "mprotect-x", "first-page");
  Guest guest{.protection_keys = true};
  EXPECT_TRUE(expectation_of(part, guest).has_value()) << "of its one page, the whole";
  part.observation.pages.total = 2;
  EXPECT_FALSE(expectation_of(part, guest).has_value());
  guest.sealed = true;
  const auto sealed = expectation_of(part, guest);
  ASSERT_TRUE(sealed.has_value());
  EXPECT_EQ(sealed->errnos, std::vector<int>{EPERM});
  EXPECT_FALSE(sealed->by_seal) << "what an unsealed one does is not known";
}

TEST(Expectation, KnowsNothingOfOtherCells) {
  EXPECT_FALSE(expectation_of(cell("[new]", "munmap", "whole"), {.sealed = true}));
  EXPECT_FALSE(expectation_of(cell("[vdso]", "madvise", "whole"), {.sealed = true}));
  EXPECT_FALSE(expectation_of(cell("[vdso]", "munmap", "half"), {.sealed = true}));
  EXPECT_FALSE(expectation_of(cell("[vdso]", "mremap-shrink", "whole"), {.sealed = true}));
}

TEST(Expectation, OfAnUnknownCellIsNotThatOfTheOneBefore) {
  const report::Cell known = cell("[vdso]", "munmap", "whole");
  const report::Cell unknown = cell("[vdso]", "madvise", "whole");
  const auto first = expectation_of(known, {});
  const auto second = expectation_of(unknown, {});
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(second.has_value());
}

TEST(Expectation, OfExecuteOnlyDependsOnProtectionKeys) {
  const report::Cell only = cell("[vdso]", "mprotect-x", "whole");
  const auto without = expectation_of(only, {});
  const auto with = expectation_of(only, {.protection_keys = true});
  ASSERT_TRUE(without && with);
  EXPECT_EQ(without->change, Change::Unchanged);
  EXPECT_EQ(with->change, Change::PermissionChanged);
  EXPECT_EQ(with->permissions, "r-x key 1");
  EXPECT_EQ(expectation_of(only, {.sealed = true, .protection_keys = true})->change,
            Change::Unchanged);
}

TEST(Expectation, OfForcedWritesDependsOnTheCommandLine) {
  const auto of = [](const char* operation, const char* words) {
    Guest guest{.sealed = true};
    guest.force = force_of(words);
    return *expectation_of(cell("[vdso]", operation, "whole"), guest)->change;
  };
  constexpr const char* kTracers = "quiet proc_mem.force_override=ptrace";
  constexpr const char* kNobody = "proc_mem.force_override=never quiet";
  constexpr const char* kEverybody = "proc_mem.force_override=always quiet";
  EXPECT_EQ(of("procmem-other", "quiet"), Change::Privatised);
  EXPECT_EQ(of("procmem-other", kEverybody), Change::Privatised);
  EXPECT_EQ(of("procmem-other", kTracers), Change::Unchanged);
  EXPECT_EQ(of("procmem-tracer", kTracers), Change::Privatised);
  EXPECT_EQ(of("procmem-tracer", kNobody), Change::Unchanged);
  EXPECT_EQ(of("ptrace-poke", kNobody), Change::Privatised) << "ptrace asks nobody";
}

/// Debian's 6.1 answers so, too.
TEST(Expectation, OfAnUnknownVersionTakesTheAnswerOfOlderOnes) {
  Guest guest{.arch = arch::Arch::X86_64};
  const report::Cell part = cell("[vdso]", "mmap-fixed", "first-page");
  EXPECT_EQ(expectation_of(part, guest)->errnos, std::vector<int>{EINVAL});
  guest.any_version = true;
  const auto either = expectation_of(part, guest);
  EXPECT_EQ(either->errnos, (std::vector<int>{EINVAL, ENOMEM}));
  EXPECT_EQ(either->text, "EINVAL or ENOMEM, unchanged");
  EXPECT_EQ(expectation_of(cell("[vdso]", "munmap", "first-page"), guest)->errnos,
            std::vector<int>{EINVAL});
}

/// 7.3 was read for these alone; what it does otherwise is not expected of anything.
TEST(Expectation, OfAnUnknownVersionIsOfWhatIsTriedByDefault) {
  Guest guest{.arch = arch::Arch::X86_64};
  guest.any_version = true;
  const auto known = [&](const char* mapping, const char* operation, const char* form) {
    return expectation_of(cell(mapping, operation, form), guest).has_value();
  };
  EXPECT_TRUE(known("[vdso]", "munmap", "whole"));
  EXPECT_TRUE(known("[vvar]", "munmap", "whole"));
  EXPECT_TRUE(known("[vdso] (32-bit)", "munmap", "whole"));
  EXPECT_FALSE(known("[uprobes]", "munmap", "whole"));
  EXPECT_FALSE(known("[vdso]", "munmap", "empty"));
  EXPECT_FALSE(known("[vdso]", "mremap-onto", "whole"));
}

TEST(Expectation, SaysItInWords) {
  const auto sealed = expectation_of(cell("[vdso]", "munmap", "whole"), {.sealed = true});
  ASSERT_TRUE(sealed.has_value());
  EXPECT_EQ(sealed->text, std::string("EPERM, ") + report::name_of(Change::Unchanged));
  EXPECT_NE(sealed->source.find("mseal.rst"), std::string::npos);
  EXPECT_TRUE(sealed->by_seal);
  const auto by_another = expectation_of(cell("[vvar]", "mprotect-rw", "whole"), {.sealed = true});
  ASSERT_TRUE(by_another.has_value());
  EXPECT_FALSE(by_another->by_seal) << "EACCES, sealed or not";
  const auto flag = expectation_of(cell("[vdso]", "madvise-dontfork", "whole"), {.sealed = true});
  ASSERT_TRUE(flag.has_value());
  EXPECT_TRUE(flag->by_seal) << "an unsealed one takes the flag, though nothing shows";
  const auto moved = expectation_of(cell("[vvar]", "mremap-move", "whole"), {});
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->text, std::string("ok, ") + report::name_of(Change::Moved));
  const auto any = expectation_of(cell("[vvar]", "race-mixed", "whole"), {});
  ASSERT_TRUE(any.has_value());
  EXPECT_FALSE(any->change.has_value());
  EXPECT_EQ(any->text, "ok, some change");
  EXPECT_EQ(any->errnos, std::vector<int>{0});
}

}  // namespace
}  // namespace sealvisor::seal
