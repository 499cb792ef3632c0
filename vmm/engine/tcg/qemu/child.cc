#include "vmm/engine/tcg/qemu/child.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::tcg {

namespace {

/// What the child did not manage before exec, sent back through a pipe.
struct StartFailure {
  int number = 0;
  bool exec = false;  ///< Else: preparing failed.
};

/// Runs in the child between fork and exec: async-signal-safe calls only, no allocation.
[[noreturn]] void become(const char* program, char* const* arguments,
                         std::span<const int> inherited, int null, int output, int report,
                         pid_t parent) {
  StartFailure failure;
  const auto give_up = [&]() {
    failure.number = errno;
    [[maybe_unused]] const ssize_t sent = ::write(report, &failure, sizeof failure);
    ::_exit(127);
  };
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up();
  // The parent may have died before the call above took effect.
  if (::getppid() != parent) ::_exit(127);
  if (::setpgid(0, 0) != 0) give_up();
  for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE, SIGCHLD}) {
    ::signal(number, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(null, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) give_up();
  // Another engine of this process may have made descriptors that are not close-on-exec.
  if (::syscall(SYS_close_range, 3U, std::numeric_limits<unsigned>::max(), CLOSE_RANGE_CLOEXEC) !=
      0) {
    give_up();
  }
  for (const int fd : {0, 1, 2}) ::fcntl(fd, F_SETFD, 0);
  for (const int fd : inherited) {
    if (::fcntl(fd, F_SETFD, 0) != 0) give_up();
  }
  ::execv(program, arguments);
  failure.exec = true;
  give_up();
  ::_exit(127);
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

Result<Child> Child::start(const ChildPlan& plan) {
  const std::string name = plan.program.string();
  Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid()) return errno_error(ExitCode::HostLacks, "opening /dev/null");
  auto report = make_pipe("starting " + name);
  if (!report) return report.error();

  std::vector<char*> arguments;
  arguments.push_back(const_cast<char*>(name.c_str()));
  for (const std::string& argument : plan.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(ExitCode::HostLacks, "fork for " + name);
  if (pid == 0) {
    become(name.c_str(), arguments.data(), plan.inherited, null.get(), plan.output,
           report.value().writing.get(), parent);
  }
  Child child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))));
  if (!child.pidfd_.valid()) {
    return errno_error(ExitCode::HostLacks, "pidfd_open (Linux 5.3 or newer is needed)");
  }
  report.value().writing.reset();
  // Closed by a successful exec, so this wait is as long as exec takes.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  StartFailure failure;
  if (!wait_readable(report.value().reading.get(), until)) {
    return Error{ExitCode::HostLacks, fmt::format("{} did not start within 10 s", name)};
  }
  if (::read(report.value().reading.get(), &failure, sizeof failure) == sizeof failure) {
    errno = failure.number;
    return errno_error(ExitCode::HostLacks,
                       (failure.exec ? "running " : "preparing to run ") + name);
  }
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      exit_(std::exchange(other.exit_, std::nullopt)) {}

Child::~Child() {
  if (pid_ < 0 || exit_) return;
  kill();
  reap();
}

void Child::kill() {
  if (pid_ < 0 || exit_) return;
  // Not reaped yet, so neither number can have been given to another process.
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);
}

std::optional<ChildExit> Child::wait(std::chrono::milliseconds limit) {
  if (exit_) return exit_;
  if (!wait_readable(pidfd_.get(), std::chrono::steady_clock::now() + limit)) return std::nullopt;
  reap();
  return exit_;
}

void Child::reap() {
  int status = 0;
  rusage usage{};
  pid_t got = 0;
  do {
    got = ::wait4(pid_, &status, 0, &usage);
  } while (got < 0 && errno == EINTR);
  ChildExit how;
  if (got == pid_) {
    if (WIFSIGNALED(status)) how.signal = WTERMSIG(status);
    if (WIFEXITED(status)) how.status = WEXITSTATUS(status);
    how.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  exit_ = how;
}

Result<SocketPair> socket_pair(const std::string& what) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return errno_error(ExitCode::HostLacks, "socketpair for " + what);
  }
  SocketPair sockets{Fd(pair[0]), Fd(pair[1])};
  if (::fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
    return errno_error(ExitCode::HostLacks, "socket for " + what);
  }
  return sockets;
}

Result<Pipe> make_pipe(const std::string& what) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(ExitCode::HostLacks, "pipe for " + what);
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
    return errno_error(ExitCode::HostLacks, "pipe for " + what);
  }
  return pipe;
}

bool wait_readable(int fd, std::chrono::steady_clock::time_point until) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const auto wait = std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000);
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(wait));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (ready == 0 && left.count() <= wait) return false;
  }
}

}  // namespace sealvisor::engine::tcg
