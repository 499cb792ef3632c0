#include "vmm/base/child.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "vmm/base/pipe.h"

namespace sealvisor {

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

}  // namespace sealvisor
