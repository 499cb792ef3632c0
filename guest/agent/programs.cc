#include "guest/agent/programs.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "guest/agent/console.h"
#include "guest/agent/output.h"
#include "guest/agent/start.h"
#include "guest/agent/tracer.h"
#include "guest/scenario/programs.h"

namespace sealvisor::agent {
namespace {

using protocol::ProgramOutcome;
using scenario::ProgramItem;

constexpr const char* kList = "/programs";
/// What a program leaves behind may go on for so long after it has ended.
constexpr std::int64_t kLingerMs = 2000;
/// Output is passed on at least so often, so that it is there if the guest is ended from outside.
constexpr std::int64_t kFlushMs = 1000;

std::int64_t now_ms() {
  std::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void on_child(int /*signal*/) {}

/// While it lives, SIGCHLD comes only inside wait().
class ChildSignal {
 public:
  ChildSignal() {
    struct sigaction action {};
    action.sa_handler = on_child;
    ::sigaction(SIGCHLD, &action, nullptr);
    sigset_t mask;
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &mask, &before_);
  }
  ChildSignal(const ChildSignal&) = delete;
  ChildSignal& operator=(const ChildSignal&) = delete;
  ~ChildSignal() { restore(); }
  /// In a forked child: as it was.
  void restore() const { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  /// Waits until a child has news, a stream has bytes or `limit_ms` passed.
  void wait(const OutputStream& one, const OutputStream& other, std::int64_t limit_ms) const {
    std::array<pollfd, 2> files{{{one.read_end(), POLLIN, 0}, {other.read_end(), POLLIN, 0}}};
    const std::timespec limit{limit_ms / 1000, limit_ms % 1000 * 1'000'000};
    (void)::ppoll(files.data(), files.size(), &limit, &before_);
  }

 private:
  sigset_t before_{};
};

/// Takes what would let the program ring the doorbell, end the guest or change the kernel. Not a
/// wall: it is root, and may do anything to its guest that a process can.
bool drop_capabilities() {
  for (const int one : {CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_MODULE}) {
    if (::prctl(PR_CAPBSET_DROP, one, 0, 0, 0) != 0) return false;
  }
  return true;
}

/// The program's own process until it runs its image; ends with the errno on `report`.
[[noreturn]] void become(const ProgramItem& item, int output, int errors, int gate, int report) {
  // Its tracer is there once the other end of the gate is closed.
  char byte = 0;
  while (::read(gate, &byte, 1) < 0 && errno == EINTR) {
  }
  const int nothing = ::open("/dev/null", O_RDWR);
  std::array<char*, scenario::kMaxProgramWords + 2> words{};
  words[0] = const_cast<char*>(item.run);  // NOLINT: execve takes it so and does not write to it.
  for (std::size_t i = 0; i < item.argument_count; ++i) words[i + 1] = item.arguments[i];
  std::array<char*, scenario::kMaxProgramWords + 1> variables{};
  for (std::size_t i = 0; i < item.variable_count; ++i) variables[i] = item.variables[i];
  if (nothing >= 0 && ::dup2(nothing, 0) == 0 && ::dup2(output, 1) == 1 && ::dup2(errors, 2) == 2 &&
      ::setsid() >= 0 && ::chroot(item.root) == 0 && ::chdir("/") == 0 && drop_capabilities()) {
    ::execve(item.run, words.data(), variables.data());
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t told = ::write(report, &error, sizeof error);
  ::_exit(127);
}

/// A pipe whose ends close by themselves.
struct Pipe {
  Pipe() : good(::pipe2(ends, O_CLOEXEC) == 0) {}
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(int which) {
    if (good && ends[which] >= 0) ::close(ends[which]);
    ends[which] = -1;
  }
  int ends[2] = {-1, -1};
  bool good;
};

/// One program, from its start until nothing of it is left.
class Run {
 public:
  Run(Agent& agent, const ProgramItem& item, std::uint32_t index, Tracer& tracer)
      : agent_(agent),
        item_(item),
        tracer_(tracer),
        output_(agent.doorbell, protocol::Content::Output),
        errors_(agent.doorbell, protocol::Content::Errors) {
    end_.index = index;
  }

  void run() {
    protocol::ProgramBegin begin{};
    begin.index = end_.index;
    begin.traced = item_.traced ? 1 : 0;
    agent_.doorbell.program_begin(begin);
    if (const int error = start(); error != 0) {
      end_.outcome = started_ ? ProgramOutcome::NotTraced : ProgramOutcome::NotRun;
      end_.value = error;
    }
    if (started_) follow();
    output_.flush();
    errors_.flush();
    end_.output_left_out = output_.left_out() + errors_.left_out();
    agent_.doorbell.program_end(end_);
  }

 private:
  /// 0, or an errno.
  int start() {
    Pipe gate;
    if (!gate.good || !report_.good || !output_.open(item_.output_bytes) ||
        !errors_.open(item_.output_bytes)) {
      return errno;
    }
    std::uint64_t token = 0;
    const pid_t child = announced_fork(agent_, token);
    if (child < 0) return EAGAIN;
    if (child == 0) {
      ::alarm(0);  // The program's own limit is kept outside of it.
      signal_.restore();
      gate.close_end(1);
      become(item_, output_.write_end(), errors_.write_end(), gate.ends[0], report_.ends[1]);
    }
    started_ = true;
    main_ = child;
    output_.close_write_end();
    errors_.close_write_end();
    report_.close_end(1);
    if (!item_.traced) return 0;
    const int error = tracer_.follow(child);
    if (error != 0) ::kill(child, SIGKILL);
    return error;
  }

  void follow() {
    const std::int64_t begun = now_ms();
    std::int64_t end = begun + item_.limit_seconds * std::int64_t{1000};
    std::int64_t flushed = begun;
    while (take_news()) {
      output_.take();
      errors_.take();
      const std::int64_t now = now_ms();
      if (main_ended_ && !lingering_) {
        lingering_ = true;
        end = now + kLingerMs;
      }
      if (now >= end && !killed_) end_all();
      if (now - flushed >= kFlushMs) {
        output_.flush();
        errors_.flush();
        flushed = now;
      }
      signal_.wait(output_, errors_, kFlushMs);
    }
    output_.take();
    errors_.take();
    int error = 0;
    if (::read(report_.ends[0], &error, sizeof error) == sizeof error) {
      end_.outcome = ProgramOutcome::NotRun;
      end_.value = error;
    }
  }

  /// False: nothing is left of the program.
  bool take_news() {
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG | __WALL);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) return false;  // ECHILD
      if (pid == 0) return true;
      if (item_.traced) tracer_.take(pid, status);
      if (pid == main_ && !WIFSTOPPED(status)) on_main_ended(status);
    }
  }

  void on_main_ended(int status) {
    main_ended_ = true;
    if (end_.outcome != ProgramOutcome::Exited) return;  // Something came first.
    if (killed_) {
      end_.outcome = ProgramOutcome::TooLong;
    } else if (WIFSIGNALED(status)) {
      end_.outcome = ProgramOutcome::Killed;
      end_.value = WTERMSIG(status);
    } else {
      end_.value = WEXITSTATUS(status);
    }
  }

  /// To init, -1 is every process but itself (kill(2)).
  void end_all() {
    killed_ = true;
    if (item_.traced) end_.left_running = tracer_.processes() - (main_ended_ ? 0U : 1U);
    ::kill(-1, SIGKILL);
  }

  Agent& agent_;
  const ProgramItem& item_;
  Tracer& tracer_;
  OutputStream output_;
  OutputStream errors_;
  ChildSignal signal_;
  Pipe report_;
  protocol::ProgramEnd end_{};
  pid_t main_ = 0;
  bool started_ = false;
  bool main_ended_ = false;
  bool lingering_ = false;
  bool killed_ = false;
};

/// The folders of the kernel's that programs expect.
bool furnish(const char* root) {
  char path[256];
  for (const char* what : {"proc", "devtmpfs", "tmpfs"}) {
    const char* const where = std::strcmp(what, "proc") == 0    ? "proc"
                              : std::strcmp(what, "tmpfs") == 0 ? "tmp"
                                                                : "dev";
    const int size = std::snprintf(path, sizeof path, "%s/%s", root, where);
    if (size < 0 || static_cast<std::size_t>(size) >= sizeof path) return false;
    struct stat before {};
    struct stat after {};
    // Another program's root was furnished already.
    const bool mounted =
        ::stat(root, &before) == 0 && ::stat(path, &after) == 0 && before.st_dev != after.st_dev;
    if (!mounted && !mount_at(what, path)) return false;
  }
  return true;
}

/// A 32-bit image, once, so that the monitor knows the mappings of such processes when the program
/// has one. A kernel without them has none.
void teach_compat(Agent& agent) {
  std::uint64_t token = 0;
  const pid_t child = announced_fork(agent, token);
  if (child == 0) ::_exit(exec_image(kCompatImage, agent.doorbell, token));
  if (child < 0) return;
  const int status = wait_for(child).status();
  if (status != 0) say("32-bit programs: %s", std::strerror(status));
}

void refuse(Doorbell& doorbell, int status) {
  doorbell.scenario_begin("programs");
  doorbell.scenario_end("programs", status, 0);
}

}  // namespace

void run_programs(Agent& agent) {
  static std::array<char, scenario::kMaxProgramsSize + 1> text;
  static scenario::ProgramList list;
  if (::access(kList, F_OK) != 0) return;
  const ssize_t size = read_whole(kList, text);
  if (size < 0) return refuse(agent.doorbell, ENOENT);
  if (!scenario::parse_programs({text.data(), static_cast<std::size_t>(size)}, list)) {
    say("%s line %zu: %.*s", kList, list.line, static_cast<int>(list.error.size()),
        list.error.data());
    return refuse(agent.doorbell, EINVAL);
  }
  teach_compat(agent);
  static Tracer tracer(agent.doorbell);
  for (std::uint32_t i = 0; i < list.size; ++i) {
    if (!furnish(list.items[i].root)) return refuse(agent.doorbell, EIO);
    tracer.restart(list.items[i].root);
    Run(agent, list.items[i], i, tracer).run();
  }
}

}  // namespace sealvisor::agent
