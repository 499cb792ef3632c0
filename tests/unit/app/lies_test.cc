#include "vmm/app/lies.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "guest/scenario/scenario.h"
#include "vmm/seal/expectation.h"

namespace sealvisor::app {
namespace {

TEST(DocumentedLies, AreWhereTheSealIsMissingAndInOneMunmap) {
  struct Case {
    const char* mapping;
    const char* operation;
    const char* form;
    bool lie;
  };
  const std::vector<Case> cases = {
      {"[vdso]", "munmap", "whole", true},
      {"[vdso]", "munmap", "first-page", false},
      {"[vdso]", "mprotect-rwx", "whole", false},
      {"[vvar]", "munmap", "whole", true},
      {"[vvar]", "munmap", "last-page", true},      // EINVAL instead of EPERM
      {"[vvar]", "mprotect-same", "whole", true},   // ok instead of EPERM
      {"[vvar]", "mprotect-rwx", "whole", false},   // EACCES with and without a seal
      {"[vvar_vclock]", "munmap", "whole", false},  // recipe lying has none
      {"[vdso] (32-bit)", "munmap", "whole", true},
      {"[vvar] (32-bit)", "madvise-dontfork", "whole", true},
      {"[vvar]", "madvise-random", "whole", false},  // no seal is asked
      {"[vdso]", "race-munmap", "whole", true},      // one munmap after the other
      {"[vdso]", "race-mremap", "whole", false},
      {"[uprobes]", "munmap", "whole", false},
      {"[vdso]", "procmem-self", "whole", false},  // changes it, as a sealed kernel does
  };
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const Case& one : cases) {
      report::Cell cell;
      cell.mapping = one.mapping;
      cell.operation = one.operation;
      cell.form = one.form;
      EXPECT_EQ(documented_lie(cell, {.arch = arch}), one.lie)
          << one.mapping << " " << one.operation << " " << one.form;
    }
  }
}

TEST(DocumentedLies, AreAsManyAsTheDocumentSays) {
  for (const arch::Arch arch : arch::kAllArchs) {
    std::size_t of_vdso = 0;
    std::size_t of_vvar = 0;
    std::size_t changes = 0;
    for (const scenario::Scenario& scenario : scenario::kScenarios) {
      if (scenario.kind != scenario::Kind::Cells || scenario.tier != scenario::Tier::Default) {
        continue;
      }
      report::Cell cell;
      cell.operation = scenario.operation->name;
      cell.form = name_of(scenario.form);
      for (const scenario::Mapping& mapping : scenario::kMappings) {
        cell.mapping = mapping.name;
        if (!mapping.by_default || !documented_lie(cell, {.arch = arch})) continue;
        ++(mapping.name == "[vdso]" ? of_vdso : of_vvar);
        const auto open = seal::expectation_of(cell, {.arch = arch});
        if (open && open->change != report::Change::Unchanged) ++changes;
      }
    }
    // docs/kernels.md, "What `lying` lies about".
    EXPECT_EQ(of_vdso, 1U);
    EXPECT_EQ(of_vvar, 26U);
    EXPECT_EQ(changes, 5U);
  }
}

}  // namespace
}  // namespace sealvisor::app
