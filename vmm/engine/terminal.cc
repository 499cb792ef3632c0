#include "vmm/engine/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine {

namespace {
constexpr char kEscape = 0x01;  // Ctrl-A
constexpr int kMostWaitMs = 5000;
}  // namespace

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
  const termios before = mode;
  ::cfmakeraw(&mode);
  if (::tcsetattr(input, TCSANOW, &mode) != 0) {
    return errno_error(ExitCode::HostLacks, "setting the terminal to raw mode");
  }
  terminal.saved_ = before;
  return terminal;
}

Terminal::Terminal(Terminal&& other) noexcept
    : input_(other.input_),
      output_(other.output_),
      saved_(std::exchange(other.saved_, std::nullopt)),
      own_input_(std::move(other.own_input_)) {}

Terminal::~Terminal() {
  if (saved_) ::tcsetattr(input_, TCSANOW, &*saved_);
}

bool Terminal::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    pollfd entry{output_, POLLOUT, 0};
    const int ready = ::poll(&entry, 1, kMostWaitMs);
    if (ready < 0 && errno == EINTR) continue;
    // A pipe without a reader: a write would raise SIGPIPE, and the terminal would stay raw.
    if (ready != 1 || (entry.revents & (POLLERR | POLLNVAL)) != 0) return false;
    // A pipe that polls writable takes this much without blocking (pipe(7), PIPE_BUF).
    const ssize_t count =
        ::write(output_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace sealvisor::engine
