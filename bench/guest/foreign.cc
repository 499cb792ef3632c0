// Experiments stress-ng/* and perf-bench/*: tools that nobody here wrote, as guest/tools/fetch has
// them from the archive. A sample is a run of the tool, from fork to wait; its operations are what
// the tool itself counts, and says that it did.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "bench/guest/functions.h"
#include "bench/guest/mark.h"
#include "bench/guest/processes.h"
#include "bench/guest/tool_output.h"
#include "guest/agent/console.h"
#include "guest/agent/raw.h"

namespace sealvisor::bench {
namespace {

/// Stands for the number of operations.
constexpr const char* kOperations = "N";
constexpr std::size_t kMostWords = 20;

/// How a tool is called, and how it says what it did.
struct Command {
  std::array<const char*, kMostWords> words{};  ///< The program's path first.
  std::string_view before;  ///< Stands in the output before the number of operations.
  /// Stands in the output if an operation did not do what it should, though the tool ends well.
  std::string_view wrong{};
};

/// As the vdso calls it (its linker script: arch/x86/entry/vdso/vdso.lds.S;
/// arch/arm64/kernel/vdso/vdso.lds.S).
#if defined(__x86_64__)
constexpr const char* kGettimeofday = "gettimeofday";
#else
constexpr const char* kGettimeofday = "__kernel_gettimeofday";
#endif

/// stress-ng, by the same random numbers each time; then the one process that does the work.
#define STRESS_NG "/usr/bin/stress-ng", "--temp-path", "/tmp", "--no-rand-seed", "--metrics-brief"

/// By Foreign.
constexpr Command kCommands[] = {
    // fork, execve of stress-ng itself, which ends at once; wait. One at a time.
    {{STRESS_NG, "--exec", "1", "--exec-max", "1", "--exec-method", "execve", "--exec-fork-method",
      "fork", "--exec-ops", kOperations},
     "] exec "},
    // mmap, mprotect, munmap, in parts and whole, of 16 pages.
    {{STRESS_NG, "--mmap", "1", "--mmap-bytes", "64k", "--mmap-ops", kOperations}, "] mmap "},
    // mremap to fewer and fewer pages and back to 16.
    {{STRESS_NG, "--mremap", "1", "--mremap-bytes", "64k", "--mremap-ops", kOperations},
     "] mremap "},
    // A call of the vdso.
    {{STRESS_NG, "--vdso", "1", "--vdso-func", kGettimeofday, "--vdso-ops", kOperations},
     "] vdso "},
    // fork, execve of /bin/true, wait; fork, exit, wait.
    {{"/usr/bin/perf", "bench", "syscall", "execve", "--loop", kOperations},
     "# Executed ",
     "failed"},
    {{"/usr/bin/perf", "bench", "syscall", "fork", "--loop", kOperations}, "# Executed ", "failed"},
};
#undef STRESS_NG

/// The arguments of a run, as long as this object lives.
class Arguments {
 public:
  Arguments(const Command& command, std::uint32_t operations) {
    std::snprintf(number_, sizeof number_, "%u", operations);
    for (std::size_t i = 0; i < kMostWords && command.words[i] != nullptr; ++i) {
      const char* const word = command.words[i] == kOperations ? number_ : command.words[i];
      arguments_[i] = const_cast<char*>(word);
    }
  }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  [[nodiscard]] Image image() const { return {arguments_[0], arguments_.data()}; }

 private:
  char number_[12]{};
  std::array<char*, kMostWords + 1> arguments_{};
};

/// In the child: as somebody who owns nothing, with the tool's output in `output` and without the
/// doorbell. stress-ng refuses to exec as root.
[[noreturn]] void become_tool(const Image& image, int output, Shared& shared) {
  constexpr long kNobody = 65534;
  (void)agent::raw_call(SYS_dup3, output, STDOUT_FILENO, 0);
  (void)agent::raw_call(SYS_dup3, output, STDERR_FILENO, 0);
  for (const int fd : {output, kDoorbellFd, kSharedFd}) (void)agent::raw_call(SYS_close, fd);
  const long group = agent::raw_call(SYS_setgid, kNobody);
  const long user = agent::raw_call(SYS_setuid, kNobody);
  if (group != 0 || user != 0) leave(kExecFailed);
  exec_or_leave(image, shared);
}

/// What the tool printed.
class Output {
 public:
  Output() : fd_(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (fd_ >= 0) ::close(fd_);
  }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool clear() const {
    return ::ftruncate(fd_, 0) == 0 && ::lseek(fd_, 0, SEEK_SET) == 0;
  }
  /// From its start, as much as there is room for.
  [[nodiscard]] std::string_view text() {
    const ssize_t size = ::pread(fd_, text_.data(), text_.size(), 0);
    return {text_.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }

 private:
  int fd_;
  std::array<char, 8192> text_{};
};

/// The last line that says something, for people.
std::string_view last_line(std::string_view text) {
  const std::size_t end = text.find_last_not_of("\n ");
  if (end == std::string_view::npos) return "it printed nothing";
  text = text.substr(0, end + 1);
  const std::size_t start = text.rfind('\n');
  return text.substr(start == std::string_view::npos ? 0 : start + 1);
}

}  // namespace

int run_tool(Run& run, std::uint64_t which) {
  const Command& command = kCommands[which];
  const Arguments arguments(command, run.batch());
  const Image image = arguments.image();
  if (::access(image.path, X_OK) != 0) return errno;
  static Output output;
  if (output.fd() < 0) return errno;
  Shared& shared = run.shared();
  return run.samples([&](const Place& place) -> std::int64_t {
    if (!output.clear()) return -errno;
    shared.exec_error = 0;
    // One run of the tool, which does all operations of the sample.
    const std::uint32_t good = timed(place, 1, [&](std::uint32_t) {
      const long child = fork_raw();
      if (child == 0) become_tool(image, output.fd(), shared);
      return ended_with(child, 0);
    });
    if (shared.exec_error != 0) return -shared.exec_error;
    const std::string_view text = output.text();
    const std::uint32_t done = number_behind(text, command.before);
    const bool wrong = !command.wrong.empty() && text.find(command.wrong) != std::string_view::npos;
    if (good == 1 && !wrong && done == run.batch()) return run.batch();
    const std::string_view last = last_line(text);
    agent::say("%s: %s, %u operations of %u: %.*s", shared.name,
               good == 1 ? "ended well" : "failed", done, run.batch(),
               static_cast<int>(std::min<std::size_t>(last.size(), 120)), last.data());
    return -EPROTO;
  });
}

}  // namespace sealvisor::bench
