// `verify` in emulated hosts says what it says in the tcg lane, cell by cell.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "vmm/app/capture.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

struct Row {
  const char* name;
  arch::Arch arch;
  const char* cpu;  ///< Of the emulated host.
  const char* recipe;
  const char* scenario;
};

/// What is compared of a cell: what the guest claims, what was seen, what is made of it.
using Cells = std::map<std::string, std::string>;

Cells cells_of(const Row& row, std::vector<std::string> more, nlohmann::json& run) {
  const fs::path file = fs::path(SEALVISOR_BUILD_DIR) / fmt::format("nested-out/{}.json", row.name);
  fs::create_directories(file.parent_path());
  fs::remove(file);
  std::vector<std::string> words = {"verify",     "--arch",   arch::name_of(row.arch),
                                    "--recipe",   row.recipe, "--scenario",
                                    row.scenario, "--json",   file.string()};
  words.insert(words.end(), more.begin(), more.end());
  const auto answer =
      app::capture(SEALVISOR_BUILD_DIR "/sealvisor", words, std::chrono::seconds(280));
  Cells cells;
  if (!answer) {
    ADD_FAILURE() << answer.error().message;
    return cells;
  }
  EXPECT_EQ(answer.value().status, 0) << answer.value().output;
  std::ifstream in(file);
  const auto report = nlohmann::json::parse(in, nullptr, false);
  if (report.is_discarded() || report["runs"].size() != 1) {
    ADD_FAILURE() << "no report of one run in " << file << "\n" << answer.value().output;
    return cells;
  }
  run = report["runs"][0];
  for (const auto& cell : run["cells"]) {
    const std::string name =
        fmt::format("{} {}/{}", cell["mapping"].get<std::string>(),
                    cell["operation"].get<std::string>(), cell["form"].get<std::string>());
    cells[name] = fmt::format("{} | {} {} | {}", cell["claim"]["text"].dump(),
                              cell["observation"]["change"].dump(),
                              cell["observation"]["pages"].dump(), cell["verdict"].dump());
  }
  return cells;
}

class NestedVerify : public testing::TestWithParam<Row> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedVerify,
    testing::Values(Row{"X86Sealed", arch::Arch::X86_64, "EPYC-v4,+svm", "lts-sealed", "m*/*"},
                    Row{"X86Unsealed", arch::Arch::X86_64, "EPYC-v4,+svm", "lts-unsealed", "m*/*"},
                    Row{"X86Lying", arch::Arch::X86_64, "EPYC-v4,+svm", "lying", "m*/*"},
                    Row{"VheSealed", arch::Arch::Arm64, "cortex-a76", "lts-sealed", "m*/*"},
                    Row{"VheUnsealed", arch::Arch::Arm64, "cortex-a76", "lts-unsealed", "m*/*"},
                    Row{"VheLying", arch::Arch::Arm64, "cortex-a76", "lying", "m*/*"},
                    Row{"NvheUnsealed", arch::Arch::Arm64, "cortex-a57", "lts-unsealed", "m*/*"}),
    [](const testing::TestParamInfo<Row>& row) { return std::string(row.param.name); });

TEST_P(NestedVerify, GivesTheVerdictsOfTheExactLane) {
  nlohmann::json exact;
  nlohmann::json audited;
  const Cells expected = cells_of(GetParam(), {}, exact);
  const Cells cells =
      cells_of(GetParam(), {"--engine", "kvm-nested", "--cpu", GetParam().cpu}, audited);
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(cells, expected);
  EXPECT_EQ(exact["lane"], "exact");
  EXPECT_EQ(audited["lane"], "audited");
  EXPECT_EQ(audited["engine"], "kvm");
  EXPECT_EQ(audited["counts"]["mismatches"], 0);
  EXPECT_GT(audited["counts"]["user_entries"], 0);
}

class NestedLife : public testing::TestWithParam<Row> {};

INSTANTIATE_TEST_SUITE_P(
    Hosts, NestedLife,
    testing::Values(Row{"X86Exit", arch::Arch::X86_64, "EPYC-v4,+svm", "lts-sealed", "life/exit"},
                    Row{"VheFork", arch::Arch::Arm64, "cortex-a76", "lts-sealed", "life/fork"}),
    [](const testing::TestParamInfo<Row>& row) { return std::string(row.param.name); });

TEST_P(NestedLife, SeesEachProcessAndNoViolation) {
  nlohmann::json audited;
  static_cast<void>(
      cells_of(GetParam(), {"--engine", "kvm-nested", "--cpu", GetParam().cpu}, audited));
  ASSERT_EQ(audited["lives"].size(), 1U);
  EXPECT_EQ(audited["lives"][0]["violations"], 0);
  EXPECT_GE(audited["lives"][0]["address_spaces"], audited["lives"][0]["count"]);
}

}  // namespace
}  // namespace sealvisor::test
