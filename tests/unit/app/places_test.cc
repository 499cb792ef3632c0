#include "vmm/app/places.h"

#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

TEST(Places, OfABuildDirectory) {
  const Temporary tree;
  tree.file("guest/kernel/build", "");
  const auto places =
      find_places({tree.path() / "build/sealvisor", std::nullopt, tree.path(), "lib"});
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(places.value().kernel_script(), tree.path() / "guest/kernel/build");
  EXPECT_EQ(places.value().known_findings(), tree.path() / "docs/known-findings.json");
  EXPECT_EQ(places.value().plugin, tree.path() / "build/sealvisor-tcg.so");
  EXPECT_EQ(places.value().agent_dir(arch::Arch::Arm64), tree.path() / "build/guest/arm64");
  EXPECT_TRUE(places.value().kernels.empty());
  EXPECT_FALSE(places.value().installed);
}

TEST(Places, TakesAFolderOfKernels) {
  const Temporary tree;
  tree.file("guest/kernel/build", "");
  const auto places = find_places(
      {tree.path() / "build/sealvisor", std::nullopt, tree.path(), "lib", "/some/kernels"});
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(places.value().kernels, "/some/kernels");
}

TEST(Places, OfAnInstall) {
  const Temporary tree;
  tree.file("source/guest/kernel/build", "");
  tree.file("usr/share/sealvisor/guest/kernel/build", "");
  tree.file("usr/lib/there/sealvisor/sealvisor-tcg.so", "");
  const auto places = find_places(
      {tree.path() / "usr/bin/sealvisor", std::nullopt, tree.path() / "source", "lib/there"});
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(places.value().share, tree.path() / "usr/share/sealvisor");
  EXPECT_EQ(places.value().plugin, tree.path() / "usr/lib/there/sealvisor/sealvisor-tcg.so");
  EXPECT_EQ(places.value().agent_dir(arch::Arch::X86_64),
            tree.path() / "usr/lib/there/sealvisor/guest/x86_64");
  EXPECT_EQ(places.value().nested_program(arch::Arch::X86_64),
            tree.path() / "usr/lib/there/sealvisor/nested/x86_64/sealvisor");
  EXPECT_TRUE(places.value().installed);
}

TEST(Places, TheOverrideComesFirstAndMustBeGood) {
  const Temporary tree;
  tree.file("usr/share/sealvisor/guest/kernel/build", "");
  tree.file("own/guest/kernel/build", "");
  PlacesInput input{tree.path() / "usr/bin/sealvisor", tree.path() / "own", "/nowhere", "lib"};
  const auto places = find_places(input);
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(places.value().share, tree.path() / "own");
  input.share_override = tree.path() / "other";
  const auto bad = find_places(input);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, ExitCode::HostLacks);
  EXPECT_NE(bad.error().message.find("SEALVISOR_SHARE names"), std::string::npos);
}

TEST(Places, NamesWhereItLooked) {
  const auto none = find_places({"/nowhere/bin/sealvisor", std::nullopt, "/no/source", "lib"});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("/nowhere/share/sealvisor"), std::string::npos);
  EXPECT_NE(none.error().message.find("/no/source"), std::string::npos);
}

}  // namespace
}  // namespace sealvisor::app
