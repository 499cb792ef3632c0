#include "tests/integration/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sealvisor::test {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kLongest{240};
constexpr std::string_view kMarkName = "SEALVISOR_TEST_MARK";

struct TwoEnds {
  Fd reading;
  Fd writing;
};

TwoEnds make_pipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

TwoEnds make_terminal() {
  Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_TRUE(master.valid() && ::grantpt(master.get()) == 0 && ::unlockpt(master.get()) == 0);
  std::array<char, 64> name{};
  EXPECT_EQ(::ptsname_r(master.get(), name.data(), name.size()), 0);
  Fd slave(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_TRUE(slave.valid()) << name.data();
  return {std::move(master), std::move(slave)};
}

}  // namespace

std::string whole_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const std::string& program_path() {
  static const std::string path = SEALVISOR_BUILD_DIR "/sealvisor";
  return path;
}

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "sealvisor-program-XXXXXX").string();
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Child::Child(std::vector<std::string> words, Errors errors) : end_(steady_clock::now() + kLongest) {
  static int count = 0;
  mark_ = fmt::format("{}={}.{}", kMarkName, ::getpid(), ++count);
  TwoEnds in = make_pipe();
  TwoEnds out = make_pipe();
  TwoEnds err = errors == Errors::Terminal ? make_terminal() : make_pipe();
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  child_ = ::fork();
  if (child_ == 0) {
    ::putenv(mark_.data());
    if (errors == Errors::Terminal) {
      ::setsid();
      ::ioctl(err.writing.get(), TIOCSCTTY, 0);
      ::setenv("TERM", "xterm", 1);
    }
    ::dup2(in.reading.get(), STDIN_FILENO);
    ::dup2(out.writing.get(), STDOUT_FILENO);
    ::dup2(err.writing.get(), STDERR_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  input_ = std::move(in.writing);
  output_ = std::move(out.reading);
  errors_ = std::move(err.reading);
}

Child::~Child() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

void Child::type(std::string_view line) const {
  EXPECT_EQ(::write(input_.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
}

void Child::type_at_terminal(std::string_view keys) const {
  EXPECT_EQ(::write(errors_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool Child::wait_for(std::string_view wanted) {
  std::size_t found = 0;
  while ((found = text_.find(wanted, waited_)) == std::string::npos) {
    if (!read_more()) return false;
  }
  waited_ = found + wanted.size();
  return true;
}

int Child::finish() {
  while (read_more()) {
  }
  if (late_) return -1;
  int status = 0;
  ::waitpid(std::exchange(child_, 0), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool Child::read_more() {
  struct Source {
    Fd& fd;
    std::string& text;
  };
  const std::array<Source, 2> sources = {Source{output_, output_text_},
                                         Source{errors_, errors_text_}};
  std::array<pollfd, 2> entries{};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    // poll() passes over what is negative.
    entries[i] = {sources[i].fd.valid() ? sources[i].fd.get() : -1, POLLIN, 0};
  }
  if (!output_.valid() && !errors_.valid()) return false;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end_ - steady_clock::now());
  if (left.count() <= 0 ||
      ::poll(entries.data(), entries.size(), static_cast<int>(left.count())) <= 0) {
    late_ = true;
    return false;
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (entries[i].revents == 0) continue;
    std::array<char, 4096> block{};
    const ssize_t got = ::read(sources[i].fd.get(), block.data(), block.size());
    if (got <= 0) {  // a terminal that nobody has open any more: EIO
      sources[i].fd.reset();
      continue;
    }
    const std::string_view bytes(block.data(), static_cast<std::size_t>(got));
    sources[i].text += bytes;
    text_ += bytes;
  }
  return true;
}

std::vector<pid_t> Child::processes(std::string_view name) const {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string number = entry.path().filename();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    // Each string of it ends with a NUL; of a process that is gone there is none.
    const std::string environment = whole_file(entry.path() / "environ");
    if (environment.find(mark_ + '\0') == std::string::npos) continue;
    if (!whole_file(entry.path() / "comm").starts_with(name)) continue;
    found.push_back(std::atoi(number.c_str()));
  }
  return found;
}

bool ends(pid_t process) {
  const Fd watch(static_cast<int>(::syscall(SYS_pidfd_open, process, 0U)));
  if (!watch.valid()) return errno == ESRCH;
  pollfd entry{watch.get(), POLLIN, 0};
  return ::poll(&entry, 1, 10'000) == 1;
}

}  // namespace sealvisor::test
