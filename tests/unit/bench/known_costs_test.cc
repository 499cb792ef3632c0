#include "bench/known_costs.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "bench/experiment.h"

namespace sealvisor::bench {
namespace {

std::vector<KnownCost> of_all(arch::Arch arch) {
  std::vector<std::string_view> names;
  for (const Experiment& one : experiments()) names.push_back(one.name);
  return known_costs(arch, names);
}

std::uint64_t added(const std::string& experiment) {
  const auto costs = known_costs(arch::Arch::X86_64, {experiment});
  return costs.empty() ? 0 : costs.front().added;
}

TEST(KnownCosts, AreThoseOfThePathsThatAnOperationTakes) {
  EXPECT_EQ(added("exec/fork-exec-static"), 4000U);
  EXPECT_EQ(added("exec/execve"), 4000U);
  EXPECT_EQ(added("exec/execve-vmas-256"), 4000U);
  EXPECT_EQ(added("exec/posix-spawn"), 4000U);
  EXPECT_EQ(added("exec/execve-end-mark"), 0U) << "has no exec in it";
  EXPECT_EQ(added("exec/fork-exit"), 0U);
  EXPECT_EQ(added("exec/teardown-vmas-256"), 0U);
  EXPECT_EQ(added("mmap/mremap-move-vmas-16"), 800U) << "there and back";
  EXPECT_EQ(added("mmap/mremap-refused"), 400U);
  EXPECT_EQ(added("mmap/mremap-grow-refused"), 400U);
  EXPECT_EQ(added("mmap/mremap-vdso-refused"), 400U);
  EXPECT_EQ(added("mmap/mprotect-vmas-16"), 0U);
  EXPECT_EQ(added("vdso/gettimeofday"), 50U);
  EXPECT_EQ(added("vdso/gettimeofday-syscall"), 0U);
  EXPECT_EQ(added("vdso/first-call-exec"), 0U) << "the exec is before the first mark";
  EXPECT_EQ(added("compat/gettimeofday"), 50U);
  EXPECT_EQ(added("compat/execve"), 4000U);
  EXPECT_EQ(added("compat/first-call-exec"), 0U);
  EXPECT_EQ(added("compat/fork-exit"), 0U);
}

TEST(KnownCosts, CoverEachPathOnBothArchitectures) {
  for (const arch::Arch arch : arch::kAllArchs) {
    const auto costs = of_all(arch);
    for (const Space space : {Space::Kernel, Space::Vdso, Space::User}) {
      EXPECT_TRUE(std::any_of(costs.begin(), costs.end(),
                              [&](const KnownCost& cost) { return cost.space == space; }));
    }
  }
}

TEST(KnownCosts, AreWhatThePatchAdds) {
  std::ifstream file(SEALVISOR_SOURCE_DIR
                     "/guest/kernel/patches/slowed/0001-known-instructions-on-three-paths.patch");
  const std::string patch{std::istreambuf_iterator<char>(file), {}};
  for (const char* words : {".rept 4000\\n", ".rept 400\\n", ".rept 50\\n"}) {
    EXPECT_NE(patch.find(words), std::string::npos) << words;
  }
}

}  // namespace
}  // namespace sealvisor::bench
