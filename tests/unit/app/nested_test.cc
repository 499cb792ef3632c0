#include "vmm/app/nested.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Places places_in(const Temporary& tree, bool installed) {
  Places places;
  places.share = tree.path();
  places.agents = tree.path() / "guest";
  places.installed = installed;
  return places;
}

TEST(NestedParts, AreThere) {
  const Temporary tree;
  tree.file("guest/arm64/host-init", "", true);
  tree.file("nested/arm64/sealvisor", "", true);
  tree.file("kernel/Image", "");
  const NestedParts parts =
      nested_parts(places_in(tree, true), arch::Arch::Arm64,
                   [&](const std::string& recipe, arch::Arch) -> Result<fs::path> {
                     EXPECT_EQ(recipe, "host");
                     return tree.path() / "kernel";
                   });
  EXPECT_TRUE(parts.kernel.ok());
  EXPECT_TRUE(parts.init.ok());
  EXPECT_TRUE(parts.program.ok());
}

TEST(NestedParts, ThatAreMissingAreNamedWithWhatToDo) {
  const Temporary tree;
  const auto no_kernel = [](const std::string&, arch::Arch) -> Result<fs::path> {
    return Error{ExitCode::HostLacks, "is not built", 0};
  };
  const NestedParts built = nested_parts(places_in(tree, false), arch::Arch::X86_64, no_kernel);
  for (const Status* part : {&built.kernel, &built.init, &built.program}) {
    ASSERT_FALSE(part->ok());
    EXPECT_EQ(part->error().code, ExitCode::HostLacks);
  }
  EXPECT_EQ(built.kernel.error().message, "the emulated host's kernel: is not built");
  EXPECT_THAT(built.init.error().message, HasSubstr("guest/x86_64/host-init"));
  EXPECT_THAT(built.init.error().message, HasSubstr("cmake --build"));
  EXPECT_THAT(built.program.error().message, HasSubstr("nested/x86_64/sealvisor"));
  EXPECT_THAT(built.program.error().message,
              HasSubstr("tests/nested/build-program x86_64 builds it"));

  // An installed tree has neither the build nor the script.
  const NestedParts installed = nested_parts(places_in(tree, true), arch::Arch::X86_64, no_kernel);
  ASSERT_FALSE(installed.init.ok());
  EXPECT_THAT(installed.init.error().message, HasSubstr("cmake --install"));
  ASSERT_FALSE(installed.program.ok());
  EXPECT_THAT(installed.program.error().message, HasSubstr("in the source tree"));
}

}  // namespace
}  // namespace sealvisor::app
