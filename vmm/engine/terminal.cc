#include "vmm/engine/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine {

namespace {
constexpr char kEscape = 0x01;  // Ctrl-A
constexpr std::chrono::milliseconds kMostWait{5000};
/// Between two looks whether to give up.
constexpr std::chrono::milliseconds kTurn{20};

/// What restore_terminal() restores. Written while input is -1 only, so that a handler on any
/// thread sees all of it or nothing.
struct Kept {
  std::atomic<int> input{-1};
  termios mode{};
};
Kept kept;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler reads it");

/// Those that end the process and may come to it, with what they did before.
constexpr std::array kFatal = {SIGHUP, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV};
std::array<struct sigaction, kFatal.size()> before_fatal{};

/// The signal does what it does by default once this returns (SA_RESETHAND): a fault happens again.
void on_fatal(int number) {
  restore_terminal();
  static_cast<void>(::raise(number));
}

void handle_fatal() {
  struct sigaction action {};
  action.sa_handler = on_fatal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (std::size_t i = 0; i < kFatal.size(); ++i) {
    ::sigaction(kFatal[i], nullptr, &before_fatal[i]);
    // What is ignored (nohup) or has a handler does not end the process.
    if (before_fatal[i].sa_handler == SIG_DFL) ::sigaction(kFatal[i], &action, nullptr);
  }
}

void unhandle_fatal() {
  for (std::size_t i = 0; i < kFatal.size(); ++i) {
    if (before_fatal[i].sa_handler == SIG_DFL) ::sigaction(kFatal[i], &before_fatal[i], nullptr);
  }
}
}  // namespace

void restore_terminal() noexcept {
  const int input = kept.input.exchange(-1);
  if (input < 0) return;
  // Set from the background too, where the default is to stop.
  sigset_t output;
  ::sigemptyset(&output);
  ::sigaddset(&output, SIGTTOU);
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, &output, &mask);
  ::tcsetattr(input, TCSANOW, &kept.mode);
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

bool ReadyWatch::shown(std::string_view bytes) {
  if (ready_) return false;
  tail_.append(bytes);
  ready_ = tail_.find(text_) != std::string::npos;
  if (tail_.size() > text_.size()) tail_.erase(0, tail_.size() - text_.size());
  return ready_;
}

std::string EscapeFilter::filter(std::string_view typed) {
  std::string out;
  for (const char key : typed) {
    if (quit_) break;
    if (!escaped_) {
      escaped_ = key == kEscape;
      if (!escaped_) out += key;
      continue;
    }
    escaped_ = false;
    if (key == 'x') {
      quit_ = true;
    } else {
      out += kEscape;
      if (key != 'a' && key != kEscape) out += key;
    }
  }
  return out;
}

Result<Terminal> Terminal::open(int input, int output) {
  Terminal terminal(input, output);
  struct stat status {};
  if (::fstat(input, &status) == 0 && (::isatty(input) == 1 || S_ISFIFO(status.st_mode))) {
    terminal.own_input_ = Fd(::open(fmt::format("/proc/self/fd/{}", input).c_str(),
                                    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  }
  termios mode{};
  if (::isatty(input) != 1 || ::tcgetattr(input, &mode) != 0) return terminal;
  if (kept.input.load() >= 0) {
    return Error{ExitCode::HostLacks, "another guest has its console on a terminal already"};
  }
  kept.mode = mode;
  kept.input.store(input);
  terminal.raw_ = true;
  handle_fatal();
  ::cfmakeraw(&mode);
  if (::tcsetattr(input, TCSANOW, &mode) != 0) {
    return errno_error(ExitCode::HostLacks, "setting the terminal to raw mode");
  }
  return terminal;
}

Terminal::Terminal(Terminal&& other) noexcept
    : input_(other.input_),
      output_(other.output_),
      raw_(std::exchange(other.raw_, false)),
      own_input_(std::move(other.own_input_)) {}

Terminal::~Terminal() {
  if (!raw_) return;
  restore_terminal();
  unhandle_fatal();
}

bool Terminal::write(std::string_view bytes, const std::function<bool()>& give_up) const {
  using Clock = std::chrono::steady_clock;
  auto until = Clock::now() + kMostWait;
  while (!bytes.empty()) {
    pollfd entry{output_, POLLOUT, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(kTurn.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR)) {
      if (give_up() || Clock::now() >= until) return false;
      continue;
    }
    // A pipe without a reader: a write would raise SIGPIPE, and the terminal would stay raw.
    if (ready != 1 || (entry.revents & (POLLERR | POLLNVAL)) != 0) return false;
    // A pipe that polls writable takes this much without blocking (pipe(7), PIPE_BUF).
    const ssize_t count =
        ::write(output_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (count <= 0) continue;
    bytes.remove_prefix(static_cast<std::size_t>(count));
    until = Clock::now() + kMostWait;
  }
  return true;
}

}  // namespace sealvisor::engine
