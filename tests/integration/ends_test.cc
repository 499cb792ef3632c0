// Guests that do not come to their own end, through the program: each way has its exit code and its
// words, what was seen until then is kept, and no process is left.
#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "tests/integration/guest.h"
#include "tests/integration/program.h"
#include "vmm/base/result.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;

void leave_alone(Child& /*verify*/) {}
void ctrl_c(Child& verify) { verify.type_at_terminal("\x03"); }
void terminate(Child& verify) { ::kill(verify.pid(), SIGTERM); }
void kill_qemu(Child& verify) {
  const std::vector<pid_t> found = verify.processes("qemu-system");
  ASSERT_EQ(found.size(), 1U) << "QEMU processes of this run";
  ::kill(found[0], SIGKILL);
}

/// One row: what the guest does once a cell has been judged, what is done to it then, and what the
/// run must say.
struct EndRow {
  const char* name;
  const char* last;                      ///< Scenario behind `munmap/whole`.
  std::vector<const char*> more;         ///< Further words of the command line.
  std::function<void(Child&)> act;       ///< Done when that scenario has begun.
  std::vector<const char*> said;         ///< In the report, and in its ending.
  std::vector<const char*> concluded{};  ///< In the conclusion.
};

const EndRow kEndRows[] = {
    {"Panic",
     "control/panic",
     {},
     leave_alone,
     {"the guest failed: kernel panic", "| ", "Kernel panic"},
     {"kernel panic"}},
    {"Hang",
     "control/hang",
     {"--deadline", "20"},
     leave_alone,
     {"deadline: the guest had not ended after 20 s"},
     {"deadline"}},
    {"ConsoleFlood",
     "control/flood-console",
     {"--deadline", "220"},
     leave_alone,
     {"console flood: more than"},
     {"console"}},
    {"DoorbellFlood",
     "control/flood-doorbell",
     {"--deadline", "220"},
     leave_alone,
     {"doorbell flood: more than"},
     {"doorbell flood"}},
    {"KilledQemu",
     "control/hang",
     {},
     kill_qemu,
     {"engine died: QEMU was killed by signal 9"},
     {"engine died"}},
    {"Terminated", "control/hang", {}, terminate, {"interrupted: signal 15"}, {"interrupted"}},
    {"CtrlCWithMoreToDo",
     "control/hang",
     {"--recipe", "lts-unsealed", "--recipe", "lying"},
     ctrl_c,
     {"interrupted: signal 2", "lying: did not run: interrupted before it started"},
     {"interrupted: signal 2", "lying: did not run"}},
};

class Ends : public testing::TestWithParam<std::tuple<arch::Arch, EndRow>> {};
INSTANTIATE_TEST_SUITE_P(
    Table, Ends, testing::Combine(testing::ValuesIn(arch::kAllArchs), testing::ValuesIn(kEndRows)),
    [](const testing::TestParamInfo<std::tuple<arch::Arch, EndRow>>& one) {
      return std::string(arch::name_of(std::get<0>(one.param))) + "_" + std::get<1>(one.param).name;
    });

TEST_P(Ends, HasItsExitCodeItsWordsAndItsEvidence) {
  const auto& [arch, row] = GetParam();
  const std::string name(arch::name_of(arch));
  const Folder folder;
  const fs::path json = folder.path() / "report.json";
  std::vector<std::string> words = {program_path(), "verify",
                                    "--arch",       name,
                                    "--recipe",     "lts-sealed",
                                    "--scenario",   "munmap/whole",
                                    "--scenario",   row.last,
                                    "--json",       json.string(),
                                    "--bundle",     (folder.path() / "bundle").string()};
  words.insert(words.end(), row.more.begin(), row.more.end());
  Child verify(words, Child::Errors::Terminal);
  // Scenarios run in the order of the list: the cells come first.
  ASSERT_TRUE(verify.wait_for("lts-sealed: " + std::string(row.last))) << verify.text();
  row.act(verify);
  EXPECT_EQ(verify.finish(), static_cast<int>(ExitCode::GuestFailed)) << verify.text();
  EXPECT_TRUE(verify.processes().empty()) << "processes are left";

  const auto report = nlohmann::json::parse(std::ifstream(json), nullptr, false);
  ASSERT_FALSE(report.is_discarded()) << "no JSON was written";
  EXPECT_EQ(report["exit_code"], static_cast<int>(ExitCode::GuestFailed));
  const auto& run = report["runs"][0];
  ASSERT_EQ(run["cells"].size(), 3U);
  EXPECT_EQ(run["cells"][0]["mapping"], "[vdso]");
  EXPECT_EQ(run["cells"][0]["verdict"], "held") << "what was judged before";
  EXPECT_GT(run["counts"]["table_writes"], 0);
  EXPECT_EQ(run["counts"]["mismatches"], 0);

  for (const char* part : row.said) {
    EXPECT_NE(verify.output().find(part), std::string::npos) << part << ":\n" << verify.output();
  }
  const std::string conclusion = report["conclusion"];
  EXPECT_TRUE(conclusion.starts_with("NOT AS EXPECTED: ")) << conclusion;
  for (const char* part : row.concluded) {
    EXPECT_NE(conclusion.find(part), std::string::npos) << conclusion;
  }
  EXPECT_TRUE(verify.output().ends_with("\n" + conclusion + "\n")) << verify.output();

  if (row.last == std::string_view("control/hang")) {
    EXPECT_LT(run["seconds"], 60) << "a guest that hangs ends when it is told to";
  }

  std::vector<event::Event> events;
  const fs::path evidence = folder.path() / "bundle/runs" / (name + "-lts-sealed");
  read_trace(evidence, events);
  // Nothing was judged of which there is no record.
  EXPECT_GE(events.size(), run["counts"]["table_writes"].get<std::size_t>());
  if (row.last == std::string_view("control/panic")) {
    std::ifstream file(evidence / "console.txt", std::ios::binary);
    const std::string console{std::istreambuf_iterator<char>(file), {}};
    EXPECT_NE(console.find("Kernel panic"), std::string::npos);
  }
  // And what was judged follows from it, as of any other run.
  Child audit({program_path(), "audit", (folder.path() / "bundle").string()});
  EXPECT_EQ(audit.finish(), 0) << audit.text();
  EXPECT_NE(audit.output().find("\nCONFIRMED: "), std::string::npos) << audit.text();
}

/// The one end after which nobody can say anything.
TEST(EndsOfTheProgram, AKilledOneLeavesNoQemu) {
  Child verify({program_path(), "verify", "--arch", "arm64", "--recipe", "lts-sealed", "--scenario",
                "control/hang"},
               Child::Errors::Terminal);
  ASSERT_TRUE(verify.wait_for("lts-sealed: control/hang")) << verify.text();
  const std::vector<pid_t> qemu = verify.processes("qemu-system");
  ASSERT_EQ(qemu.size(), 1U);
  ::kill(verify.pid(), SIGKILL);
  EXPECT_EQ(verify.finish(), -1);
  EXPECT_TRUE(ends(qemu[0]));
}

}  // namespace
}  // namespace sealvisor::test
