#include "vmm/app/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/app/temporary.h"
#include "vmm/app/capture.h"

namespace sealvisor::app {
namespace {

using testing::HasSubstr;

/// Places whose script is this shell text.
Places with_script(const Temporary& tree, const std::string& script) {
  tree.file("guest/kernel/build", "#!/bin/sh\n" + script, true);
  Places places;
  places.share = tree.path();
  return places;
}

TEST(Capture, KeepsOutputAndStatus) {
  const auto both =
      capture("/bin/sh", {"-c", "echo out; echo err >&2; exit 7"}, std::chrono::seconds(10));
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both.value().output, "out\nerr\n");
  EXPECT_EQ(both.value().status, 7);
  const auto killed = capture("/bin/sh", {"-c", "kill -9 $$"}, std::chrono::seconds(10));
  ASSERT_TRUE(killed.ok());
  EXPECT_EQ(killed.value().status, 128 + 9);
}

TEST(Capture, CutsEndlessOutputAndEndlessPrograms) {
  const auto much = capture("/bin/sh", {"-c", "yes | head -c 1000000"}, std::chrono::seconds(30));
  ASSERT_TRUE(much.ok());
  EXPECT_EQ(much.value().output.size(), 65536U);
  EXPECT_EQ(much.value().status, 0);
  const auto late = capture("/bin/sleep", {"60"}, std::chrono::milliseconds(50));
  ASSERT_FALSE(late.ok());
  EXPECT_THAT(late.error().message, HasSubstr("/bin/sleep had not ended after 50 ms"));
  EXPECT_FALSE(capture("/no/such/program", {}, std::chrono::seconds(1)).ok());
}

TEST(KernelDir, IsWhatTheScriptPrintsLast) {
  const Temporary tree;
  const Places places = with_script(
      tree, "[ \"$*\" = 'path lts-sealed arm64' ] && echo a warning && dirname \"$0\"\n");
  const auto folder = kernel_dir(places, "lts-sealed", arch::Arch::Arm64);
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  EXPECT_EQ(folder.value(), tree.path() / "guest/kernel");
}

TEST(KernelDir, TurnsTheScriptsAnswersIntoErrors) {
  struct Case {
    const char* script;
    ExitCode code;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"echo \"guest/kernel/build: no recipe 'x'\" >&2; exit 2\n", ExitCode::Usage,
       "no recipe 'x'"},
      {"echo 'guest/kernel/build: x is not built' >&2; exit 3\n", ExitCode::HostLacks,
       "x is not built"},
      {"echo Traceback; exit 1\n", ExitCode::HostLacks, "ended with status 1: Traceback"},
      {"exit 1\n", ExitCode::HostLacks, "it printed nothing"},
      {"echo relative\n", ExitCode::HostLacks, "printed 'relative', expected a folder"},
      {"echo /no/such/folder\n", ExitCode::HostLacks, "printed '/no/such/folder'"},
      {"true\n", ExitCode::HostLacks, "printed ''"},
  };
  for (const Case& one : cases) {
    const Temporary tree;
    const auto folder = kernel_dir(with_script(tree, one.script), "x", arch::Arch::X86_64);
    ASSERT_FALSE(folder.ok()) << one.script;
    EXPECT_EQ(folder.error().code, one.code) << one.script;
    EXPECT_THAT(folder.error().message, HasSubstr(one.message));
    EXPECT_THAT(folder.error().message, testing::Not(testing::StartsWith("guest/kernel/build:")));
  }
}

TEST(KernelDir, TakesAFolderOfKernelsInsteadOfTheScript) {
  const Temporary tree;
  tree.file("lying/arm64/Image", "x");
  Places places = with_script(tree, "exit 1\n");
  places.kernels = tree.path();
  const auto folder = kernel_dir(places, "lying", arch::Arch::Arm64);
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  EXPECT_EQ(folder.value(), tree.path() / "lying/arm64");
  const auto none = kernel_dir(places, "lying", arch::Arch::X86_64);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::HostLacks);
  EXPECT_THAT(none.error().message, HasSubstr("has no folder lying/x86_64"));
}

TEST(KernelFiles, NamesTheOneThatIsMissing) {
  const Temporary folder;
  folder.file("Image", "x");
  const auto without = kernel_files(folder.path(), arch::Arch::Arm64);
  ASSERT_FALSE(without.ok());
  EXPECT_THAT(without.error().message, HasSubstr("vmlinux: No such file"));
  folder.file("vmlinux", "not an ELF file");
  const auto arm64 = kernel_files(folder.path(), arch::Arch::Arm64);
  ASSERT_TRUE(arm64.ok());
  EXPECT_EQ(arm64.value().image, folder.path() / "Image");
  EXPECT_EQ(arm64.value().symbols, folder.path() / "vmlinux");
  EXPECT_FALSE(kernel_files(folder.path(), arch::Arch::X86_64).ok());
  folder.file("image", "x");
  const auto x86 = kernel_files(folder.path(), arch::Arch::X86_64);
  ASSERT_TRUE(x86.ok());
  EXPECT_EQ(x86.value().image, folder.path() / "image") << "a vmlinux that can't be booted";
}

TEST(Recipes, PromiseByTheirNames) {
  struct Case {
    const char* recipe;
    bool expectations, sealed, control;
  };
  const std::vector<Case> cases = {{"lts-sealed", true, true, false},
                                   {"lts-unsealed", true, false, false},
                                   {"upstream-sealed", true, true, false},
                                   {"upstream-unsealed", true, false, false},
                                   {"lying", true, true, true},
                                   {"tampering", true, true, false},
                                   {"lts-sealed-smp", true, true, false},
                                   {"lying-smp", true, true, true},
                                   {"something", false, false, false}};
  for (const Case& one : cases) {
    const RecipeTraits traits = traits_of(one.recipe);
    EXPECT_EQ(traits.expectations, one.expectations) << one.recipe;
    EXPECT_EQ(traits.sealed, one.sealed) << one.recipe;
    EXPECT_EQ(traits.control, one.control) << one.recipe;
  }
}

}  // namespace
}  // namespace sealvisor::app
