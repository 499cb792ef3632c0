// The program itself, as a person or a script runs it: its output, its files, its exit codes.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace sealvisor::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLongest{240};

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "sealvisor-program-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// `program` with pipes for its input and its output (standard output and standard error).
class Child {
 public:
  explicit Child(std::vector<std::string> words) {
    int in[2];
    int out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(out[1], STDERR_FILENO);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    const Fd no_input(in[0]);
    const Fd no_output(out[1]);
    input_ = Fd(in[1]);
    output_ = Fd(out[0]);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  [[nodiscard]] pid_t pid() const { return child_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  void type(std::string_view line) const {
    EXPECT_EQ(::write(input_.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }

  /// Reads until `wanted` comes behind what was waited for before. False: the output ended.
  bool wait_for(std::string_view wanted) {
    std::size_t found = 0;
    while ((found = text_.find(wanted, waited_)) == std::string::npos) {
      if (!read_more()) return false;
    }
    waited_ = found + wanted.size();
    return true;
  }

  /// Reads all that is left. The exit code; -1: a signal ended it, or it took too long.
  int finish() {
    while (read_more()) {
    }
    if (late_) return -1;
    int status = 0;
    ::waitpid(std::exchange(child_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool read_more() {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end_ - steady_clock::now());
    pollfd entry{output_.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&entry, 1, static_cast<int>(left.count())) != 1) {
      late_ = true;
      return false;
    }
    char block[4096];
    const ssize_t got = ::read(output_.get(), block, sizeof block);
    if (got <= 0) return false;
    text_.append(block, static_cast<std::size_t>(got));
    return true;
  }

  pid_t child_ = 0;
  Fd input_;
  Fd output_;
  std::string text_;
  std::size_t waited_ = 0;
  steady_clock::time_point end_ = steady_clock::now() + kLongest;
  bool late_ = false;
};

const std::string kProgram = SEALVISOR_BUILD_DIR "/sealvisor";

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
  Child verify({kProgram, "verify", "--arch", arch_name(), "--scenario", "munmap/*", "--scenario",
                "life/fork", "--json", json.string(), "--trace", folder_.path().string()});
  ASSERT_EQ(verify.finish(), 0) << verify.text();
  EXPECT_NE(verify.text().find("AS EXPECTED"), std::string::npos) << verify.text();
  Child check({"python3", SEALVISOR_SOURCE_DIR "/tests/unit/report/check_schema.py",
               SEALVISOR_SOURCE_DIR "/docs/report.schema.json", json.string()});
  EXPECT_EQ(check.finish(), 0) << check.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  ASSERT_EQ(report["runs"].size(), 3U);
  for (const auto& run : report["runs"]) EXPECT_EQ(run["counts"]["mismatches"], 0);
  const fs::path trace = folder_.path() / (arch_name() + "-lts-sealed.events.gz");
  EXPECT_GT(fs::file_size(trace), 1000U);
}

TEST_P(Program, AFullDiskIsNamedAndTheVerdictsAreKept) {
  fs::create_symlink("/dev/full", folder_.path() / (arch_name() + "-lts-sealed.events.gz"));
  const fs::path json = folder_.path() / "report.json";
  Child verify({kProgram, "verify", "--arch", arch_name(), "--recipe", "lts-sealed", "--scenario",
                "munmap/whole", "--json", json.string(), "--trace", folder_.path().string()});
  EXPECT_EQ(verify.finish(), static_cast<int>(ExitCode::HostLacks)) << verify.text();
  EXPECT_NE(verify.text().find("No space left on device"), std::string::npos) << verify.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  EXPECT_EQ(report["exit_code"], static_cast<int>(ExitCode::HostLacks));
  EXPECT_EQ(report["runs"][0]["cells"][0]["verdict"], "held");
}

TEST_P(Program, AReportThatFindsNoRoomIsNamed) {
  Child verify({kProgram, "verify", "--arch", arch_name(), "--recipe", "lts-sealed", "--scenario",
                "munmap/whole", "--json", "/dev/full"});
  EXPECT_EQ(verify.finish(), static_cast<int>(ExitCode::HostLacks)) << verify.text();
  EXPECT_NE(verify.text().find("/dev/full"), std::string::npos) << verify.text();
  EXPECT_NE(verify.text().find("held"), std::string::npos) << "the verdicts are still printed";
}

TEST_P(Program, AnInterruptKeepsTheEvidence) {
  const fs::path json = folder_.path() / "report.json";
  Child verify({kProgram, "verify", "--arch", arch_name(), "--recipe", "lts-sealed", "--scenario",
                "life/*", "--json", json.string()});
  ASSERT_TRUE(verify.wait_for("booting")) << verify.text();
  ::kill(verify.pid(), SIGINT);
  EXPECT_EQ(verify.finish(), static_cast<int>(ExitCode::GuestFailed)) << verify.text();
  const auto report = nlohmann::json::parse(std::ifstream(json));
  EXPECT_EQ(report["exit_code"], static_cast<int>(ExitCode::GuestFailed));
}

TEST_P(Program, BootHasAPrompt) {
  Child boot({kProgram, "boot", "--arch", arch_name()});
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
              "printf 'mappings\nnonsense\n' | " + kProgram + " boot --arch " + arch_name()});
  EXPECT_EQ(boot.finish(), 0) << boot.text();
  EXPECT_NE(boot.text().find("r-x sl [vdso]"), std::string::npos) << boot.text();
  EXPECT_NE(boot.text().find("no command 'nonsense'"), std::string::npos) << boot.text();
}

TEST_P(Program, BootSaysThatTheKernelPanicked) {
  Child boot({kProgram, "boot", "--arch", arch_name(), "--scenario", "control/panic"});
  EXPECT_EQ(boot.finish(), static_cast<int>(ExitCode::GuestFailed)) << boot.text();
  EXPECT_NE(boot.text().find("sealvisor: kernel panic after"), std::string::npos) << boot.text();
}

TEST_P(Program, CtrlAXEndsABoot) {
  Child boot({kProgram, "boot", "--arch", arch_name()});
  ASSERT_TRUE(boot.wait_for("sealvisor> ")) << boot.text();
  boot.type("\x01x");
  EXPECT_EQ(boot.finish(), 0) << boot.text();
}

/// What each wrong input is called by; the exit code is that of usage.
TEST_P(Program, NamesWhatIsWrong) {
  const fs::path text = folder_.path() / "text";
  std::ofstream(text) << std::string(4096, 'x');
  const fs::path empty = folder_.path() / "empty";
  const std::ofstream made(empty);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--kernel", text.string()}, text.string()},
      {{"--kernel", empty.string()}, empty.string()},
      {{"--kernel", (folder_.path() / "none").string()}, "No such file"},
      {{"--kernel", folder_.path().string()}, folder_.path().string()},
      {{"--scenario", "munmap/hole"}, "munmap/whole"},
      {{"--recipe", "lts-seeled"}, "lts-seeled"},
      {{"--json", (folder_.path() / "none" / "x.json").string()}, "No such file"},
      {{"--json", folder_.path().string()}, "is a directory"},
  };
  for (const auto& [words, named] : wrong) {
    std::vector<std::string> command = {kProgram, "verify", "--arch", arch_name()};
    command.insert(command.end(), words.begin(), words.end());
    Child verify(command);
    EXPECT_EQ(verify.finish(), static_cast<int>(ExitCode::Usage)) << verify.text();
    EXPECT_NE(verify.text().find(named), std::string::npos) << verify.text();
  }
}

}  // namespace
}  // namespace sealvisor::test
