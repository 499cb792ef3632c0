// The program itself, as a person or a script runs it: its output, its files, its exit codes.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "tests/integration/program.h"
#include "vmm/base/result.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

class Program : public testing::TestWithParam<arch::Arch> {
 protected:
  [[nodiscard]] static std::string arch_name() { return std::string(arch::name_of(GetParam())); }
  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(BothArchs, Program, testing::ValuesIn(arch::kAllArchs),
                         [](const testing::TestParamInfo<arch::Arch>& one) {
                           return std::string(arch::name_of(one.param));
                         });

TEST_P(Program, WritesAReportThatItsSchemaAccepts) {
  const fs::path json = folder_.path() / "report.json";
  const fs::path junit = folder_.path() / "report.xml";
  const fs::path html = folder_.path() / "report.html";
  Child verify({program_path(), "verify", "--arch", arch_name(), "--scenario", "munmap/*",
                "--scenario", "life/fork", "--json", json.string(), "--junit", junit.string(),
                "--html", html.string()});
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  EXPECT_NE(verify.text().find("AS EXPECTED"), std::string::npos) << verify.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/report.schema.json", json.string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  ASSERT_EQ(report["runs"].size(), 3U);
  for (const auto& run : report["runs"]) EXPECT_EQ(run["counts"]["mismatches"], 0);
  Child read({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_junit.py", junit.string()});
  EXPECT_EQ(read.finish(), 0) << read.text();
  EXPECT_GT(fs::file_size(html), 10'000U);
}

/// The moments of a kind in a part of a process' life.
std::vector<nlohmann::json> moments_of(const nlohmann::json& process, const char* kind,
                                       const char* phase) {
  std::vector<nlohmann::json> moments;
  for (const auto& moment : process["timeline"]) {
    if (moment["kind"] == kind && moment["phase"] == phase) moments.push_back(moment);
  }
  return moments;
}

TEST_P(Program, KeepsATimelineOfEachProcess) {
  const fs::path json = folder_.path() / "report.json";
  Child verify({program_path(), "verify", "--arch", arch_name(), "--recipe", "lts-sealed",
                "--recipe", "lts-unsealed", "--scenario", "munmap/whole", "--scenario",
                "life/thousand", "--json", json.string()});
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  const auto& sealed = report["runs"][0];
  EXPECT_EQ(sealed["processes_left_out"]["changed"], 0);
  EXPECT_GT(sealed["processes_left_out"]["unchanged"], 900);
  for (const auto& process : sealed["processes"]) EXPECT_FALSE(process["changed"]) << process;

  // The victim of munmap of [vdso], from its installation to its end.
  const auto& unsealed = report["runs"][1];
  EXPECT_EQ(unsealed["cells"][0]["mapping"], "[vdso]");
  const auto victim = std::find_if(
      unsealed["processes"].begin(), unsealed["processes"].end(),
      [&](const auto& process) { return process["cell"] == unsealed["cells"][0]["id"]; });
  ASSERT_NE(victim, unsealed["processes"].end());
  EXPECT_TRUE((*victim)["changed"]);
  EXPECT_EQ((*victim)["scenario"], "munmap/whole");
  EXPECT_FALSE((*victim)["ended"].is_null());
  EXPECT_FALSE(moments_of(*victim, "found", "installation").empty());
  EXPECT_FALSE(moments_of(*victim, "populated", "installation").empty());
  EXPECT_EQ(moments_of(*victim, "ended", "exit").size(), 1U);
  // What the cell says was written, and nothing else of [vdso]; then user mode saw it. Of [vvar], a
  // kernel may note that it was used.
  auto writes = moments_of(*victim, "written", "life");
  std::erase_if(writes, [](const auto& moment) { return moment["mapping"] != "[vdso]"; });
  const auto& changes = unsealed["cells"][0]["changes"];
  ASSERT_EQ(writes.size(), changes.size());
  for (std::size_t i = 0; i < writes.size(); ++i) {
    auto write = writes[i]["write"];
    EXPECT_FALSE(write["transient"]);
    EXPECT_EQ(write, changes[i]);
    // The code around it has the instruction at its place.
    const auto writer = std::find_if(unsealed["writers"].begin(), unsealed["writers"].end(),
                                     [&](const auto& one) { return one["pc"] == write["pc"]; });
    ASSERT_NE(writer, unsealed["writers"].end());
    EXPECT_EQ((*writer)["source"], "memory");
    EXPECT_EQ((*writer)["function"], write["function"]);
    EXPECT_GT((*writer)["lines"].size(), 8U);
    const auto line = std::find_if((*writer)["lines"].begin(), (*writer)["lines"].end(),
                                   [&](const auto& one) { return one["address"] == write["pc"]; });
    ASSERT_NE(line, (*writer)["lines"].end());
    EXPECT_EQ((*line)["text"], write["instruction"]);
  }
  EXPECT_EQ(moments_of(*victim, "seen", "life").size(), changes.size());
  EXPECT_FALSE(moments_of(*victim, "broken", "life").empty()) << "gone is S1 broken, as expected";
}

TEST_P(Program, SaysHowFarItIsInPlainLinesAndOnATerminal) {
  const std::vector<std::string> words = {
      program_path(), "verify",     "--arch",       arch_name(),  "--recipe",
      "lts-sealed",   "--scenario", "munmap/whole", "--scenario", "munmap/last-page"};
  Child plain(words);
  ASSERT_EQ(plain.finish(), 0) << plain.text();
  EXPECT_EQ(plain.errors().find('\x1b'), std::string::npos) << plain.errors();
  Child live(words, Child::Errors::Terminal);
  ASSERT_EQ(live.finish(), 0) << live.text();
  EXPECT_NE(live.errors().find("0 of 6 cells"), std::string::npos) << live.errors();
  EXPECT_NE(live.errors().find("5 of 6 cells"), std::string::npos) << live.errors();
  EXPECT_NE(live.errors().find(" s left"), std::string::npos) << live.errors();
}

/// The least memory that a guest may have: enough, or a guest that failed and says how.
TEST_P(Program, AGuestWithTheLeastMemoryEndsWithAMessage) {
  Child verify({program_path(), "verify", "--arch", arch_name(), "--recipe", "lts-sealed",
                "--scenario", "munmap/whole", "--memory", "64"});
  const int code = verify.finish();
  const bool good = code == static_cast<int>(ExitCode::AsExpected);
  EXPECT_TRUE(good || code == static_cast<int>(ExitCode::GuestFailed)) << verify.text();
  EXPECT_NE(verify.text().find(good ? "\nAS EXPECTED" : "the guest failed: "), std::string::npos)
      << verify.text();
}

TEST_P(Program, BootHasAPrompt) {
  Child boot({program_path(), "boot", "--arch", arch_name()});
  const std::string prompt = "sealvisor> ";
  ASSERT_TRUE(boot.wait_for(prompt)) << boot.text();
  boot.type("mappings\n");
  ASSERT_TRUE(boot.wait_for(prompt)) << boot.text();
  EXPECT_NE(boot.text().find("r-x sl [vdso]"), std::string::npos) << boot.text();
  boot.type("run munmap/whole\n");
  ASSERT_TRUE(boot.wait_for(prompt)) << boot.text();
  EXPECT_NE(boot.text().find("sealvisor-trace: "), std::string::npos) << boot.text();
  boot.type("cat /proc/sys/kernel/ostype\n");
  ASSERT_TRUE(boot.wait_for("\nLinux")) << boot.text();
  ASSERT_TRUE(boot.wait_for(prompt)) << boot.text();
  boot.type("nonsense\n");
  ASSERT_TRUE(boot.wait_for("no command 'nonsense'")) << boot.text();
  ASSERT_TRUE(boot.wait_for(prompt)) << boot.text();
  boot.type("exit\n");
  EXPECT_EQ(boot.finish(), 0) << boot.text();
}

TEST_P(Program, BootTakesCommandsFromAPipeAndEndsWithIt) {
  Child boot({"/bin/sh", "-c",
              "printf 'mappings\nnonsense\n' | " + program_path() + " boot --arch " + arch_name()});
  EXPECT_EQ(boot.finish(), 0) << boot.text();
  EXPECT_NE(boot.text().find("r-x sl [vdso]"), std::string::npos) << boot.text();
  EXPECT_NE(boot.text().find("no command 'nonsense'"), std::string::npos) << boot.text();
}

TEST_P(Program, BootSaysThatTheKernelPanicked) {
  Child boot({program_path(), "boot", "--arch", arch_name(), "--scenario", "control/panic"});
  EXPECT_EQ(boot.finish(), static_cast<int>(ExitCode::GuestFailed)) << boot.text();
  EXPECT_NE(boot.text().find("sealvisor: kernel panic after"), std::string::npos) << boot.text();
}

TEST_P(Program, CtrlAXEndsABoot) {
  Child boot({program_path(), "boot", "--arch", arch_name()});
  ASSERT_TRUE(boot.wait_for("sealvisor> ")) << boot.text();
  boot.type("\x01x");
  EXPECT_EQ(boot.finish(), 0) << boot.text();
}

}  // namespace
}  // namespace sealvisor::test
