#include "vmm/app/nested.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

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

/// The header of an arm64 kernel, all that is asked of one.
std::string arm64_image() {
  std::string bytes(4096, '\0');
  bytes[17] = 0x10;  // image_size
  bytes[24] = 2;     // flags: 4 KiB pages
  bytes.replace(0x38, 4, "ARM\x64");
  return bytes;
}

class NestedPlan : public testing::Test {
 protected:
  NestedPlan() {
    tree_.file("guest/arm64/host-init", "", true);
    tree_.file("nested/arm64/sealvisor", "", true);
    tree_.file("kernel/Image", arm64_image());
    tree_.file("kernel/vmlinux", "");
    options_.archs = {arch::Arch::Arm64};
    options_.recipes = {"lts-sealed", "lts-unsealed", "lying"};
  }
  Result<engine::nested::HostPlan> plan() {
    VerifyTools tools;
    tools.kernel_dir = [this](const std::string& recipe, arch::Arch) -> Result<fs::path> {
      asked_.push_back(recipe);
      return tree_.path() / "kernel";
    };
    return nested_plan(options_, arch::Arch::Arm64, places_in(tree_, false), tools, "out");
  }
  static std::string words(const engine::nested::HostPlan& plan) {
    std::string text;
    for (const std::string& word : plan.arguments) text += word + " ";
    return text;
  }
  static std::vector<std::string> kernels(const engine::nested::HostPlan& plan) {
    std::vector<std::string> paths;
    for (const engine::nested::HostFile& file : plan.files) {
      const bool other = file.path.starts_with("bin/") || file.path.starts_with("share/");
      if (!other) paths.push_back(file.path);
    }
    return paths;
  }

  const Temporary tree_;
  VerifyOptions options_;
  std::vector<std::string> asked_;
};

TEST_F(NestedPlan, HasTheKernelsOfItsRecipes) {
  options_.recipes = {"lts-sealed", "lying"};
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(kernels(made.value()),
              ElementsAre("kernels/lts-sealed/arm64/vmlinux", "kernels/lts-sealed/arm64/Image",
                          "kernels/lying/arm64/vmlinux", "kernels/lying/arm64/Image"));
  EXPECT_THAT(made.value().environment, ElementsAre("SEALVISOR_KERNELS=/kernels"));
  EXPECT_THAT(words(made.value()), HasSubstr("--arch arm64 --recipe lts-sealed --recipe lying "));
  EXPECT_EQ(made.value().deadline, (options_.deadline + kAroundAGuest) * 2)
      << "later than those of the guests, whose report is to be written";
  EXPECT_THAT(words(made.value()), HasSubstr("--json /out/report.json "));
  EXPECT_THAT(words(made.value()), Not(HasSubstr("/out/report.html")));
}

TEST_F(NestedPlan, AsksForTheReportsThatAreWanted) {
  options_.junit = "here.xml";
  options_.html = "here.html";
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(words(made.value()), HasSubstr("--json /out/report.json --junit /out/report.xml "
                                             "--html /out/report.html "));
}

TEST_F(NestedPlan, ABundleIsOfTheCommandThatWasTyped) {
  options_.command = "sealvisor verify --engine kvm-nested\n--bundle b";
  EXPECT_THAT(plan().value().environment, ElementsAre("SEALVISOR_KERNELS=/kernels"));
  options_.bundle = "b";
  EXPECT_THAT(plan().value().environment,
              ElementsAre("SEALVISOR_KERNELS=/kernels",
                          "SEALVISOR_COMMAND=sealvisor verify --engine kvm-nested --bundle b"));
}

TEST(NestedFolder, StaysIfItIsKept) {
  fs::path path;
  {
    auto folder = TemporaryFolder::make();
    ASSERT_TRUE(folder.ok());
    path = folder.value().keep();
  }
  EXPECT_TRUE(fs::is_directory(path));
  fs::remove_all(path);
  {
    auto folder = TemporaryFolder::make();
    ASSERT_TRUE(folder.ok());
    path = folder.value().path();
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(NestedPlan, HasWhatABundleKeepsOfItsKernels) {
  options_.recipes = {"lts-sealed"};
  tree_.file("kernel/config", "CONFIG_MSEAL_SYSTEM_MAPPINGS=y\n");
  tree_.file("kernel/build.json", "{}\n");
  auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(words(made.value()), Not(HasSubstr("--bundle")));
  options_.bundle = "mine";
  made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(words(made.value()), HasSubstr("--bundle /out/bundle "));
  EXPECT_THAT(
      kernels(made.value()),
      ElementsAre("kernels/lts-sealed/arm64/vmlinux", "kernels/lts-sealed/arm64/Image",
                  "kernels/lts-sealed/arm64/config", "kernels/lts-sealed/arm64/build.json"));
}

TEST_F(NestedPlan, HasAnImageOfTheUsersInTheirPlace) {
  options_.machine.kernel = tree_.file("mine/kernel", arm64_image());
  options_.machine.symbols = tree_.file("mine/symbols/kernel", std::string(3 << 20, 's'));
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(kernels(made.value()), ElementsAre("image/kernel", "symbols/kernel"));
  EXPECT_THAT(words(made.value()), HasSubstr("--kernel /image/kernel --symbols /symbols/kernel "));
  EXPECT_THAT(words(made.value()), Not(HasSubstr("--recipe")));
  EXPECT_EQ(made.value().deadline, options_.deadline + kAroundAGuest) << "one guest";
  EXPECT_EQ(made.value().memory_bytes >> 20, 512 + 256 + 1 + 6U) << "its files are in memory twice";
  EXPECT_THAT(asked_, Each("host"));
}

TEST_F(NestedPlan, TakesSeedAndCountAlong) {
  const auto usual = plan();
  ASSERT_TRUE(usual.ok()) << usual.error().message;
  EXPECT_THAT(words(usual.value()), HasSubstr("--seed 1 "));
  EXPECT_THAT(words(usual.value()), Not(HasSubstr("--count")));
  options_.seed = 7;
  options_.count = 9;
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(words(made.value()), HasSubstr("--seed 7 --count 9 "));
}

TEST_F(NestedPlan, LastsNoLongerThanAHostMay) {
  options_.deadline = std::chrono::hours(24);
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made.value().deadline, engine::nested::kLongestDeadline);
}

TEST_F(NestedPlan, RefusesAnImageBeforeAHostBootsForIt) {
  options_.machine.kernel = tree_.file("mine/kernel", "no kernel");
  const auto made = plan();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ExitCode::Usage);
  EXPECT_THAT(made.error().message, HasSubstr("mine/kernel"));
  options_.machine.kernel = tree_.file("mine/good", arm64_image());
  options_.machine.symbols = tree_.path() / "none";
  const auto without = plan();
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(without.error().code, ExitCode::Usage);
  EXPECT_THAT(without.error().message, HasSubstr("none: No such file"));
}

}  // namespace
}  // namespace sealvisor::app
