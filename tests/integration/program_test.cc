// The program itself, as a person or a script runs it: its output, its files, its exit codes.
#include <filesystem>
#include <fstream>
#include <string>

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
  Child verify({program_path(), "verify", "--arch", arch_name(), "--scenario", "munmap/*",
                "--scenario", "life/fork", "--json", json.string()});
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  EXPECT_NE(verify.text().find("AS EXPECTED"), std::string::npos) << verify.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/report.schema.json", json.string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  ASSERT_EQ(report["runs"].size(), 3U);
  for (const auto& run : report["runs"]) EXPECT_EQ(run["counts"]["mismatches"], 0);
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
