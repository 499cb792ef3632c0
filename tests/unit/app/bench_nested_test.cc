#include "vmm/app/bench_nested.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

TEST(BenchNestedWords, AreTheOptionsAgain) {
  BenchOptions options;
  EXPECT_EQ(joined(nested_words(options, arch::Arch::Arm64)),
            "bench --engine kvm --arch arm64 --a lts-unsealed --b lts-sealed --seed 1 --layouts 6 "
            "--quick");
  options.mode = bench::Mode::Full;
  options.a = "x";
  options.b = "y";
  options.layouts = 9;
  options.seed = 7;
  options.filters = {"exec/*", "vdso/time"};
  options.fail_on = bench::FailOn::Any;
  options.baseline = "/home/me/saved.json";
  options.may_differ = {bench::Same::Machine, bench::Same::Kernels};
  options.save = "s";
  options.csv = "c";
  EXPECT_EQ(joined(nested_words(options, arch::Arch::X86_64)),
            "bench --engine kvm --arch x86_64 --a x --b y --seed 7 --layouts 9 --full --filter "
            "exec/* --filter vdso/time --fail-on any --baseline /baseline.json --baseline-anyway "
            "machine --baseline-anyway kernels --json /out/report.json --csv /out/report.csv");
}

class BenchNestedPlan : public testing::Test {
 protected:
  BenchNestedPlan() {
    tree_.file("guest/arm64/host-init", "", true);
    tree_.file("nested/arm64/sealvisor", "", true);
    for (const char* name : {"Image", "vmlinux", "build.json"}) {
      tree_.file(std::string("kernel/") + name, "0123456789");
    }
    options_.archs = {arch::Arch::Arm64};
    places_.share = tree_.path();
    places_.agents = tree_.path() / "guest";
  }
  Result<engine::nested::HostPlan> plan() {
    const auto find = [this](const std::string& recipe, arch::Arch) -> Result<fs::path> {
      asked_.push_back(recipe);
      return tree_.path() / "kernel";
    };
    return nested_plan(options_, arch::Arch::Arm64, places_, find, "out");
  }
  static std::vector<std::string> paths(const engine::nested::HostPlan& plan) {
    std::vector<std::string> paths;
    for (const auto& file : plan.files) paths.push_back(file.path);
    return paths;
  }

  const Temporary tree_;
  Places places_;
  BenchOptions options_;
  std::vector<std::string> asked_;
};

TEST_F(BenchNestedPlan, HasAllKernelsAndTheGuestsPrograms) {
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  // The host's own twice: whether it is there, and where.
  EXPECT_THAT(asked_,
              ElementsAre("host", "host", "lts-unsealed", "lts-sealed", "lts-unsealed-padded"));
  const auto files = paths(made.value());
  for (const char* path :
       {"bin/guest/arm64/bench", "bin/guest/arm64/bench-compat", "bin/guest/arm64/loader",
        "kernels/lts-sealed/arm64/Image", "kernels/lts-unsealed-padded/arm64/vmlinux",
        "kernels/lts-unsealed/arm64/build.json", "share/sealvisor/guest/kernel/build"}) {
    EXPECT_THAT(files, Contains(path));
  }
  EXPECT_THAT(made.value().environment, ElementsAre("SEALVISOR_KERNELS=/kernels"));
  EXPECT_THAT(made.value().emulator_arguments, Contains("shift=0,sleep=off"));
  // Three kernels of six layouts, and two with interception, a minute each.
  EXPECT_EQ(made.value().deadline, std::chrono::minutes(20));
  EXPECT_EQ(made.value().memory_bytes % (1 << 20), 0U);
  EXPECT_GT(made.value().memory_bytes, 1024ULL << 20);
}

TEST_F(BenchNestedPlan, WithKnownCostsHasTheSlowedKernelTooAndEndsWithinAnHour) {
  options_.mode = bench::Mode::Full;
  options_.layouts = 64;
  const auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(paths(made.value()), Contains("kernels/slowed/arm64/Image"));
  EXPECT_EQ(made.value().deadline, std::chrono::hours(1));
}

TEST_F(BenchNestedPlan, TakesTheBaselineAlong) {
  options_.baseline = tree_.file("saved.json", "{}");
  auto made = plan();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(paths(made.value()), Contains("baseline.json"));
  options_.baseline = tree_.path() / "nothing.json";
  made = plan();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ExitCode::Usage);
  EXPECT_THAT(made.error().message, HasSubstr("nothing.json"));
}

TEST_F(BenchNestedPlan, NamesAPartThatIsNotBuilt) {
  fs::remove(tree_.path() / "nested/arm64/sealvisor");
  const auto made = plan();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ExitCode::HostLacks);
  EXPECT_THAT(made.error().message, HasSubstr("tests/nested/build-program arm64 builds it"));
}

}  // namespace
}  // namespace sealvisor::app
