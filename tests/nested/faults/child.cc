#include "tests/nested/faults/child.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

namespace sealvisor::test {

namespace {

using Clock = std::chrono::steady_clock;

int left_until(Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

}  // namespace

void become(std::vector<std::string> words) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(arguments[0], arguments.data());
  std::perror(arguments[0]);
}

Child::Child(const std::vector<std::string>& words) {
  start([words] { become(words); });
}

Child::Child(const std::function<void()>& work) { start(work); }

void Child::start(const std::function<void()>& work) {
  int ours = -1;
  int theirs = -1;
  if (::openpty(&ours, &theirs, nullptr, nullptr, nullptr) != 0) {
    std::perror("openpty");
    return;
  }
  terminal_ = Fd(ours);
  their_end_ = Fd(theirs);
  ::fcntl(ours, F_SETFD, FD_CLOEXEC);
  ::fcntl(theirs, F_SETFD, FD_CLOEXEC);
  ::fcntl(ours, F_SETFL, O_NONBLOCK);
  ::tcgetattr(theirs, &first_);
  std::fflush(stdout);
  pid_ = ::fork();
  if (pid_ == 0) {
    if (::login_tty(::dup(theirs)) == 0) work();
    ::_exit(127);
  }
  pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
}

Child::~Child() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Child::type(std::string_view keys) const {
  if (::write(terminal_.get(), keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) {
    std::perror("typing");
  }
}

bool Child::read_more() {
  pollfd entries[] = {{terminal_.get(), POLLIN, 0}, {pidfd_.get(), POLLIN, 0}};
  const int left = left_until(until_);
  if (left == 0 || ::poll(entries, 2, left) <= 0) {
    late_ = true;
    return false;
  }
  char block[4096];
  const ssize_t got = ::read(terminal_.get(), block, sizeof block);
  if (got > 0) text_.append(block, static_cast<std::size_t>(got));
  // Nothing more comes of one that has ended.
  return got > 0 || (entries[1].revents & POLLIN) == 0;
}

bool Child::wait_for(std::string_view wanted) {
  std::size_t found = 0;
  while ((found = text_.find(wanted, waited_)) == std::string::npos) {
    if (!read_more()) return false;
  }
  waited_ = found + wanted.size();
  return true;
}

bool Child::runs_for(std::chrono::milliseconds stretch) const {
  pollfd entry{pidfd_.get(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(stretch.count())) == 0;
}

int Child::await_end(std::chrono::duration<double, std::milli>& took) {
  const auto begun = Clock::now();
  pollfd entry{pidfd_.get(), POLLIN, 0};
  const bool ended = ::poll(&entry, 1, left_until(until_)) == 1;
  took = Clock::now() - begun;
  late_ = !ended;
  return finish();
}

int Child::finish() {
  while (!late_ && read_more()) {
  }
  if (late_) return kLate;
  int status = 0;
  ::waitpid(std::exchange(pid_, 0), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

bool Child::settings_are_restored() const {
  termios now{};
  return ::tcgetattr(their_end_.get(), &now) == 0 && now.c_iflag == first_.c_iflag &&
         now.c_oflag == first_.c_oflag && now.c_cflag == first_.c_cflag &&
         now.c_lflag == first_.c_lflag && std::memcmp(now.c_cc, first_.c_cc, sizeof now.c_cc) == 0;
}

bool Child::is_raw() const {
  termios now{};
  return ::tcgetattr(their_end_.get(), &now) == 0 && (now.c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

}  // namespace sealvisor::test
