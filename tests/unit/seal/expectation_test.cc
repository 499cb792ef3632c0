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
  bool sealed;
  int error;
  Change change;
};

TEST(Expectation, RowsThatAreEasyToGetWrong) {
  constexpr Case kCases[] = {
      {"[vdso]", "munmap", "whole", true, EPERM, Change::Unchanged},
      {"[vdso]", "munmap", "whole", false, 0, Change::Gone},
      {"[vdso]", "munmap", "last-page", false, EINVAL, Change::Unchanged},
      {"[vdso]", "munmap", "neighbour", false, EINVAL, Change::Unchanged},
      {"[vvar]", "mremap-move", "whole", false, 0, Change::Moved},
      {"[vvar]", "mremap-move", "first-page", false, EINVAL, Change::Unchanged},
      {"[vvar]", "mremap-shrink", "last-page", false, EINVAL, Change::Unchanged},
      {"[vdso]", "mremap-grow", "whole", false, EFAULT, Change::Unchanged},
      {"[vdso]", "mremap-grow-move", "whole", true, EPERM, Change::Unchanged},
      {"[vvar]", "mprotect-w", "whole", true, EACCES, Change::Unchanged},
      {"[vvar]", "mprotect-rwx", "last-page", true, EACCES, Change::Unchanged},
      {"[vvar]", "mprotect-rwx", "last-page", false, EACCES, Change::Unchanged},
      {"[vvar]", "mprotect-r", "whole", true, EPERM, Change::Unchanged},
      {"[vvar]", "mprotect-r", "whole", false, 0, Change::Unchanged},
      {"[vdso]", "mprotect-r", "whole", false, 0, Change::PermissionChanged},
      {"[vdso]", "mprotect-rx", "whole", false, 0, Change::Unchanged},
      {"[vdso]", "mprotect-rwx", "whole", false, 0, Change::Replaced},
      {"[vdso]", "mprotect-rwx", "first-page", false, EINVAL, Change::Unchanged},
      {"[vvar]", "mprotect-none", "whole", false, 0, Change::PermissionChanged},
      {"[vdso]", "mprotect-same", "whole", true, EPERM, Change::Unchanged},
      {"[vvar]", "mmap-fixed", "whole", false, 0, Change::Replaced},
      {"[vvar]", "mmap-fixed", "first-page", false, EINVAL, Change::Unchanged},
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
  // Not in the list of scenarios, so nobody read what the kernel does with it.
  EXPECT_FALSE(expect(cell("[vdso]", "mprotect-r", "first-page"), false, arch::Arch::X86_64));
  EXPECT_FALSE(expectation_of(cell("[heap]", "munmap", "whole"), true, arch::Arch::Arm64));
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
