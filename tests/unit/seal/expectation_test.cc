#include "vmm/seal/expectation.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "guest/scenario/scenario.h"
#include "vmm/seal/verdict.h"

namespace sealvisor::seal {
namespace {

using report::Change;

report::Cell cell(std::string_view mapping, std::string_view operation, std::string_view form) {
  report::Cell result;
  result.mapping = mapping;
  result.operation = operation;
  result.form = form;
  return result;
}

TEST(Expectation, EveryCellHasOneOnEveryRecipe) {
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != scenario::Kind::Cells) continue;
    for (const std::string_view mapping : scenario::kMappings) {
      const report::Cell tried = cell(mapping, name_of(scenario.operation), name_of(scenario.form));
      for (const bool sealed : {true, false}) {
        for (const arch::Arch arch : arch::kAllArchs) {
          SCOPED_TRACE(std::string(mapping) + " " + std::string(scenario.name) +
                       (sealed ? " sealed " : " unsealed ") + arch::name_of(arch));
          const auto expectation = expect(tried, sealed, arch);
          ASSERT_TRUE(expectation.has_value());
          EXPECT_FALSE(expectation->errnos.empty());
          EXPECT_NE(expectation->change, Change::Unobserved);
          EXPECT_NE(expectation->source.find("mm/"), std::string_view::npos);
        }
      }
    }
  }
}

TEST(Expectation, ASealedMappingNeverChangesAndIsAlwaysRefused) {
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != scenario::Kind::Cells) continue;
    for (const std::string_view mapping : scenario::kMappings) {
      const auto expectation =
          expect(cell(mapping, name_of(scenario.operation), name_of(scenario.form)), true,
                 arch::Arch::X86_64);
      ASSERT_TRUE(expectation.has_value());
      EXPECT_EQ(expectation->change, Change::Unchanged) << scenario.name;
      for (const int error : expectation->errnos) EXPECT_NE(error, 0) << scenario.name;
    }
  }
}

TEST(Expectation, AnUnsealedMappingChangesExactlyWhereTheCallSucceedsAndSaysSomethingNew) {
  for (const scenario::Scenario& scenario : scenario::kScenarios) {
    if (scenario.kind != scenario::Kind::Cells) continue;
    for (const std::string_view mapping : scenario::kMappings) {
      const auto expectation =
          expect(cell(mapping, name_of(scenario.operation), name_of(scenario.form)), false,
                 arch::Arch::Arm64);
      ASSERT_TRUE(expectation.has_value());
      if (expectation->change != Change::Unchanged) {
        EXPECT_EQ(expectation->errnos, std::vector<int>{0}) << scenario.name;
      }
      if (scenario.form != scenario::Form::Whole) {
        EXPECT_EQ(expectation->change, Change::Unchanged) << scenario.name;
      }
    }
  }
}

struct Case {
  const char* mapping;
  const char* operation;
  const char* form;
  int error;
  Change change;
  bool sealed;
};

TEST(Expectation, RowsThatAreEasyToGetWrong) {
  constexpr Case kCases[] = {
      {"[vdso]", "munmap", "whole", EPERM, Change::Unchanged, true},
      {"[vdso]", "munmap", "whole", 0, Change::Gone, false},
      {"[vdso]", "munmap", "last-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "munmap", "neighbour", EINVAL, Change::Unchanged, false},
      {"[vvar]", "mremap-move", "whole", 0, Change::Moved, false},
      {"[vvar]", "mremap-move", "first-page", EINVAL, Change::Unchanged, false},
      {"[vvar]", "mremap-shrink", "last-page", EINVAL, Change::Unchanged, false},
      {"[vdso]", "mremap-grow", "whole", EFAULT, Change::Unchanged, false},
      {"[vdso]", "mremap-grow-move", "whole", EPERM, Change::Unchanged, true},
      {"[vvar]", "mprotect-w", "whole", EACCES, Change::Unchanged, true},
      {"[vvar]", "mprotect-rwx", "last-page", EACCES, Change::Unchanged, true},
      {"[vvar]", "mprotect-rwx", "last-page", EACCES, Change::Unchanged, false},
      {"[vvar]", "mprotect-r", "whole", EPERM, Change::Unchanged, true},
      {"[vvar]", "mprotect-r", "whole", 0, Change::Unchanged, false},
      {"[vdso]", "mprotect-r", "whole", 0, Change::PermissionChanged, false},
      {"[vdso]", "mprotect-rx", "whole", 0, Change::Unchanged, false},
      {"[vdso]", "mprotect-rwx", "whole", 0, Change::Replaced, false},
      {"[vdso]", "mprotect-rwx", "first-page", EINVAL, Change::Unchanged, false},
      {"[vvar]", "mprotect-none", "whole", 0, Change::PermissionChanged, false},
      {"[vdso]", "mprotect-same", "whole", EPERM, Change::Unchanged, true},
      {"[vvar]", "mmap-fixed", "whole", 0, Change::Replaced, false},
      {"[vvar]", "mmap-fixed", "first-page", EINVAL, Change::Unchanged, false},
  };
  for (const Case& one : kCases) {
    SCOPED_TRACE(std::string(one.mapping) + " " + one.operation + " " + one.form +
                 (one.sealed ? " sealed" : " unsealed"));
    const auto expectation =
        expect(cell(one.mapping, one.operation, one.form), one.sealed, arch::Arch::X86_64);
    ASSERT_TRUE(expectation.has_value());
    EXPECT_EQ(expectation->errnos, std::vector<int>{one.error});
    EXPECT_EQ(expectation->change, one.change);
  }
}

TEST(Expectation, KnowsNothingOfOtherCells) {
  EXPECT_FALSE(expect(cell("[uprobes]", "munmap", "whole"), true, arch::Arch::X86_64));
  EXPECT_FALSE(expect(cell("[vdso]", "madvise", "whole"), true, arch::Arch::X86_64));
  EXPECT_FALSE(expect(cell("[vdso]", "munmap", "half"), true, arch::Arch::X86_64));
  EXPECT_FALSE(expectation_of(cell("[heap]", "munmap", "whole"), true, arch::Arch::Arm64));
}

TEST(Expectation, OfExecuteOnlyDependsOnProtectionKeys) {
  const report::Cell only = cell("[vdso]", "mprotect-x", "whole");
  const auto without = expect(only, false, arch::Arch::X86_64, false);
  const auto with = expect(only, false, arch::Arch::X86_64, true);
  ASSERT_TRUE(without && with);
  EXPECT_EQ(without->change, report::Change::Unchanged);
  EXPECT_EQ(with->change, report::Change::PermissionChanged);
  EXPECT_EQ(with->permissions, "r-x key 1");
  EXPECT_EQ(expect(only, true, arch::Arch::X86_64, true)->change, report::Change::Unchanged);
}

TEST(Expectation, SaysItInWords) {
  const auto sealed = expectation_of(cell("[vdso]", "munmap", "whole"), true, arch::Arch::X86_64);
  ASSERT_TRUE(sealed.has_value());
  EXPECT_EQ(sealed->text, std::string("EPERM, ") + report::name_of(Change::Unchanged));
  EXPECT_EQ(sealed->errnos, std::vector<int>{EPERM});
  EXPECT_NE(sealed->source.find("mseal.rst"), std::string::npos);
  const auto moved =
      expectation_of(cell("[vvar]", "mremap-move", "whole"), false, arch::Arch::Arm64);
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->text, std::string("ok, ") + report::name_of(Change::Moved));
}

}  // namespace
}  // namespace sealvisor::seal
