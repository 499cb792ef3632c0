#include "vmm/app/lies.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

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
      {"[vdso]", "munmap", "whole", true},         {"[vdso]", "munmap", "first-page", false},
      {"[vdso]", "mprotect-rwx", "whole", false},  {"[vvar]", "munmap", "whole", true},
      {"[vvar]", "munmap", "last-page", true},      // EINVAL instead of EPERM
      {"[vvar]", "mprotect-same", "whole", true},   // ok instead of EPERM
      {"[vvar]", "mprotect-rwx", "whole", false},   // EACCES with and without a seal
      {"[vvar_vclock]", "munmap", "whole", false},  // recipe lying has none
  };
  for (const arch::Arch arch : arch::kAllArchs) {
    for (const Case& one : cases) {
      report::Cell cell;
      cell.mapping = one.mapping;
      cell.operation = one.operation;
      cell.form = one.form;
      EXPECT_EQ(documented_lie(cell, arch), one.lie)
          << one.mapping << " " << one.operation << " " << one.form;
    }
  }
}

}  // namespace
}  // namespace sealvisor::app
