// What the VMM costs in an emulated host stays within the budgets of bench/budgets.h.
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "bench/judge.h"
#include "vmm/app/capture.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

struct FigureHost {
  const char* name;
  arch::Arch arch;
  const char* cpu;
};

class NestedFigures : public testing::TestWithParam<FigureHost> {};

INSTANTIATE_TEST_SUITE_P(Hosts, NestedFigures,
                         testing::Values(FigureHost{"X86", arch::Arch::X86_64, "EPYC-v4,+svm"},
                                         FigureHost{"Vhe", arch::Arch::Arm64, "cortex-a76"},
                                         FigureHost{"Nvhe", arch::Arch::Arm64, "cortex-a57"}),
                         [](const testing::TestParamInfo<FigureHost>& host) {
                           return std::string(host.param.name);
                         });

TEST_P(NestedFigures, AreWithinTheirBudgets) {
  const FigureHost& host = GetParam();
  const fs::path file =
      fs::path(SEALVISOR_BUILD_DIR) / fmt::format("nested-out/figures-{}.json", host.name);
  fs::create_directories(file.parent_path());
  fs::remove(file);
  const auto answer = app::capture(
      SEALVISOR_BUILD_DIR "/sealvisor",
      {"verify", "--engine", "kvm-nested", "--arch", arch::name_of(host.arch), "--cpu", host.cpu,
       "--recipe", "lts-unsealed", "--scenario", "munmap/*", "--scenario", "mremap*/*",
       "--scenario", "mprotect*/*", "--scenario", "mmap*/*", "--json", file.string()},
      std::chrono::seconds(280));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer.value().status, 0) << answer.value().output;
  const auto report = bench::read_report(file.string());
  ASSERT_TRUE(report) << report.error().message << answer.value().output;
  ASSERT_EQ(report.value()["runs"].size(), 1U);
  const nlohmann::json& run = report.value()["runs"][0];
  ASSERT_EQ(run["engine"], "kvm");
  for (const bench::Figure& figure : bench::figures_of(run)) {
    EXPECT_FALSE(bench::is_over(figure)) << bench::text_of(figure);
  }
  // Where they come from: the serial line is most of them, and the message is the last one.
  const nlohmann::json& exits = run["start"]["exits"];
  ASSERT_FALSE(exits.empty());
  int doorbells = 0;
  for (const nlohmann::json& exit : exits) {
    EXPECT_GT(exit["count"], 0);
    if (exit["name"] == "doorbells") doorbells = exit["count"];
    // Nothing is planted before the first message.
    EXPECT_NE(exit["name"], "returns to user mode");
  }
  EXPECT_EQ(doorbells, 1) << exits.dump(2);
  EXPECT_GT(run["start"]["cpu_ms"], 0);
}

}  // namespace
}  // namespace sealvisor::test
