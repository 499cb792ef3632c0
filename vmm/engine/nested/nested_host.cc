#include "vmm/engine/nested/nested_host.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "vmm/base/child.h"
#include "vmm/base/fd.h"
#include "vmm/base/pipe.h"
#include "vmm/engine/nested/command_line.h"
#include "vmm/engine/tcg/loop.h"
#include "vmm/engine/tcg/qemu/program.h"
#include "vmm/image/initramfs.h"

namespace sealvisor::engine::nested {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kLeastMemory = 128 * kMiB;
constexpr std::uint64_t kMostMemory = 2048 * kMiB;
/// From the last frame, or the end of the port, to SIGKILL.
constexpr std::chrono::milliseconds kGrace{10'000};
constexpr std::size_t kMostTail = 4096;
constexpr std::size_t kMostAtOnce = 65536;
/// Turns that a channel gets once QEMU has ended: far more than a socket holds.
constexpr int kMostTurns = 64;

Status readable(const fs::path& path, const std::string& what, const std::string& advice) {
  if (::access(path.c_str(), R_OK) == 0) return {};
  Error error = errno_error(ExitCode::HostLacks, fmt::format("{} '{}'", what, path.string()));
  error.message += "; " + advice;
  return error;
}

/// The lines of a text file; Usage if one of them can't be a line.
Result<std::string> lines_of(const std::vector<std::string>& words, const char* what) {
  std::string text;
  for (const std::string& word : words) {
    if (word.find('\n') != std::string::npos || word.find('\0') != std::string::npos) {
      return Error{ExitCode::Usage,
                   fmt::format("{} '{}' has a line break or a zero byte in it", what, word)};
    }
    text += word + "\n";
  }
  return text;
}

Result<image::Initramfs> build_initramfs(const HostPlan& plan) {
  using Item = image::InitramfsItem;
  const std::string program = "bin/" + plan.program.filename().string();
  std::vector<std::string> words = {"/" + program};
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  auto job = lines_of(words, "argument");
  if (!job) return job.error();
  std::vector<std::string> variables = {"PATH=/bin", "HOME=/", "TMPDIR=/tmp"};
  variables.insert(variables.end(), plan.environment.begin(), plan.environment.end());
  auto environment = lines_of(variables, "variable");
  if (!environment) return environment.error();

  std::vector<Item> items = {
      Item::directory("dev"),
      Item::character_device("dev/console", 5, 1),
      Item::directory("bin"),
      Item::file_from("init", plan.init, 0755),
      Item::file_from(program, plan.program, 0755),
      Item::text("job", std::move(job).value(), 0644),
      Item::text("environment", std::move(environment).value(), 0644),
      Item::text("deadline", fmt::format("{}\n", plan.deadline.count()), 0644)};
  std::set<std::string> folders = {"dev", "bin"};
  for (const HostFile& file : plan.files) {
    for (std::size_t at = file.path.find('/'); at != std::string::npos;
         at = file.path.find('/', at + 1)) {
      const std::string folder = file.path.substr(0, at);
      if (folders.insert(folder).second) items.push_back(Item::directory(folder));
    }
    items.push_back(Item::file_from(file.path, file.source, file.executable ? 0755 : 0644));
  }
  return image::Initramfs::build(items);
}

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

/// Everything that happens while QEMU runs, in one thread: that of run(). One use.
class Session {
 public:
  Session(const HostPlan& plan, const tcg::QemuProgram& qemu, Folder folder)
      : plan_(plan), qemu_(qemu), port_(std::move(folder), plan.limits) {}

  [[nodiscard]] Result<HostOutcome> run(const fs::path& initramfs) {
    try {
      if (auto begun = begin(initramfs); !begun) return begun.error();
      io_.run();
    } catch (const std::exception& problem) {
      return Error{ExitCode::HostLacks, fmt::format("serving QEMU: {}", problem.what())};
    }
    return conclude();
  }

 private:
  enum class Taken : std::uint8_t { More, End };

  [[nodiscard]] Status begin(const fs::path& initramfs);
  void await_exit();
  void await_console();
  void await_port();
  void await_words();
  void await_signal();
  void on_exit();
  /// Hands what `fd` has to `take`, which says whether to go on.
  template <typename Take>
  [[nodiscard]] static Taken drain(const Fd& fd, Take take);
  [[nodiscard]] Taken take_console();
  [[nodiscard]] Taken take_port();
  [[nodiscard]] Taken take_words();
  /// The first reason counts; QEMU is killed.
  void fail(Error error);
  void end_within_grace();
  [[nodiscard]] Result<HostOutcome> conclude();
  /// The console's last lines, for messages.
  [[nodiscard]] std::string with_tail(std::string text) const;

  const HostPlan& plan_;
  const tcg::QemuProgram& qemu_;
  PortReader port_;

  // Owners come before the watches that borrow from them.
  std::optional<Child> child_;
  Fd console_fd_;
  Fd port_fd_;
  Fd words_fd_;

  boost::asio::io_context io_{1};
  tcg::Watch exit_watch_{io_};
  tcg::Watch console_watch_{io_};
  tcg::Watch port_watch_{io_};
  tcg::Watch words_watch_{io_};
  boost::asio::steady_timer deadline_{io_};
  boost::asio::steady_timer grace_{io_};
  boost::asio::signal_set signals_{io_};

  Clock::time_point started_{};
  Clock::time_point ended_{};
  std::optional<ChildExit> exit_;
  std::optional<Error> error_;
  std::string tail_;   ///< End of the console.
  std::string words_;  ///< QEMU's standard error.
  std::uint64_t console_bytes_ = 0;
};

Status Session::begin(const fs::path& initramfs) {
  // Before the child exists: from here on a signal must end the child first.
  boost::system::error_code error;
  for (const int number : {SIGINT, SIGTERM}) {
    if (!error) signals_.add(number, error);
  }
  if (error) return Error{ExitCode::HostLacks, "handling signals: " + error.message()};
  auto console = socket_pair("the emulated host's console");
  if (!console) return console.error();
  auto port = socket_pair("the emulated host's port");
  if (!port) return port.error();
  auto words = make_pipe("QEMU's messages");
  if (!words) return words.error();

  MachinePlan machine;
  machine.arch = plan_.arch;
  machine.cpu_model = plan_.cpu_model;
  machine.gic_version = plan_.gic_version;
  machine.memory_bytes = plan_.memory_bytes;
  machine.kernel = plan_.kernel;
  machine.initramfs = initramfs;
  machine.tsc_khz = emulated_tsc_khz();
  machine.kernel_arguments = plan_.kernel_arguments;
  ChildPlan start;
  start.program = qemu_.path;
  start.arguments =
      qemu_arguments(machine, console.value().theirs.get(), port.value().theirs.get());
  start.arguments.insert(start.arguments.end(), plan_.emulator_arguments.begin(),
                         plan_.emulator_arguments.end());
  start.inherited = {console.value().theirs.get(), port.value().theirs.get()};
  start.output = words.value().writing.get();
  started_ = Clock::now();
  auto child = Child::start(start);
  if (!child) return child.error();
  child_.emplace(std::move(child).value());
  console_fd_ = std::move(console.value().ours);
  port_fd_ = std::move(port.value().ours);
  words_fd_ = std::move(words.value().reading);

  const bool good = exit_watch_.begin(child_->pidfd().get()) &&
                    console_watch_.begin(console_fd_.get()) && port_watch_.begin(port_fd_.get()) &&
                    words_watch_.begin(words_fd_.get());
  if (!good) return Error{ExitCode::HostLacks, "watching QEMU's channels with epoll"};
  await_exit();
  await_console();
  await_port();
  await_words();
  await_signal();
  deadline_.expires_at(started_ + plan_.deadline + kBootTime);
  deadline_.async_wait([this](const boost::system::error_code& why) {
    if (why) return;
    fail(Error{ExitCode::GuestFailed,
               with_tail(fmt::format("the emulated host had not ended after {:.3g} s",
                                     seconds(plan_.deadline + kBootTime)))});
  });
  return {};
}

void Session::await_exit() {
  exit_watch_.readable([this] { on_exit(); });
}

void Session::await_console() {
  console_watch_.readable([this] {
    if (take_console() == Taken::More) {
      await_console();
    } else {
      console_watch_.end();
    }
  });
}

void Session::await_port() {
  port_watch_.readable([this] {
    if (take_port() == Taken::More) {
      await_port();
    } else {
      port_watch_.end();
    }
  });
}

void Session::await_words() {
  words_watch_.readable([this] {
    if (take_words() == Taken::More) {
      await_words();
    } else {
      words_watch_.end();
    }
  });
}

void Session::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    fail(Error{ExitCode::GuestFailed,
               fmt::format("the emulated host was ended by signal {}", number)});
  });
}

void Session::on_exit() {
  exit_ = child_->wait(std::chrono::milliseconds(0));
  if (!exit_) {
    await_exit();
    return;
  }
  ended_ = Clock::now();
  // What it wrote last is still in the sockets.
  for (int turn = 0; turn < kMostTurns && console_watch_.active(); ++turn) {
    if (take_console() == Taken::End) console_watch_.end();
  }
  for (int turn = 0; turn < kMostTurns && port_watch_.active(); ++turn) {
    if (take_port() == Taken::End) port_watch_.end();
  }
  if (words_watch_.active()) static_cast<void>(take_words());
  io_.stop();
}

template <typename Take>
Session::Taken Session::drain(const Fd& fd, Take take) {
  std::array<char, 16384> block{};
  // The other channels get their turn after this much.
  for (std::size_t taken = 0; taken < kMostAtOnce;) {
    const ssize_t count = ::read(fd.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Taken::More;
    if (count <= 0) return Taken::End;
    taken += static_cast<std::size_t>(count);
    if (!take(std::string_view(block.data(), static_cast<std::size_t>(count)))) return Taken::End;
  }
  return Taken::More;
}

Session::Taken Session::take_console() {
  return drain(console_fd_, [this](std::string_view bytes) {
    console_bytes_ += bytes.size();
    tail_.append(bytes);
    if (tail_.size() > 2 * kMostTail) tail_.erase(0, tail_.size() - kMostTail);
    if (plan_.on_console) plan_.on_console(bytes);
    if (console_bytes_ <= plan_.console_limit) return true;
    fail(Error{ExitCode::GuestFailed,
               with_tail(fmt::format("the emulated host wrote more than {} bytes to its console",
                                     plan_.console_limit))});
    return false;
  });
}

Session::Taken Session::take_port() {
  return drain(port_fd_, [this](std::string_view bytes) {
    const bool before = port_.end().has_value();
    if (auto taken = port_.take(bytes); !taken) {
      fail(taken.error());
      return false;
    }
    if (before || !port_.end()) return true;
    // Its init waits for this byte; a socket that is full or closed ends with its own time limit.
    const char answer = kTaken;
    static_cast<void>(::send(port_fd_.get(), &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    end_within_grace();
    return true;
  });
}

Session::Taken Session::take_words() {
  return drain(words_fd_, [this](std::string_view bytes) {
    words_.append(bytes);
    if (words_.size() > tcg::kMostWords) words_.erase(0, words_.size() - tcg::kMostWords);
    return true;
  });
}

void Session::fail(Error error) {
  if (!error_) error_ = std::move(error);
  child_->kill();
}

void Session::end_within_grace() {
  grace_.expires_after(kGrace);
  grace_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    fail(Error{ExitCode::GuestFailed,
               with_tail(fmt::format("the emulated host did not reset within {} ms of its last "
                                     "frame",
                                     kGrace.count()))});
  });
}

std::string Session::with_tail(std::string text) const {
  const std::string console = tcg::last_words(tail_);
  return console.empty() ? text + "; its console is empty"
                         : fmt::format("{}; its console ends with: {}", text, console);
}

Result<HostOutcome> Session::conclude() {
  if (error_) return *error_;
  if (!exit_) return Error{ExitCode::HostLacks, "serving QEMU: the loop ended before QEMU"};
  const std::string said = words_.empty() ? "" : ": " + tcg::last_words(words_);
  if (exit_->signal == 0 && exit_->status != 0 && console_bytes_ == 0) {
    return Error{ExitCode::HostLacks, fmt::format("{} ended with status {} before anything ran{}",
                                                  qemu_.path.string(), exit_->status, said)};
  }
  if (exit_->signal != 0 || exit_->status != 0) {
    return Error{
        ExitCode::GuestFailed,
        with_tail(fmt::format("QEMU ended with {} {}{}", exit_->signal != 0 ? "signal" : "status",
                              exit_->signal != 0 ? exit_->signal : exit_->status, said))};
  }
  if (!port_.end()) {
    return Error{
        ExitCode::GuestFailed,
        with_tail(fmt::format("the emulated host ended without sending {}", port_.missing()))};
  }
  HostOutcome outcome;
  outcome.end = *port_.end();
  outcome.wall_seconds = seconds(ended_ - started_);
  outcome.cpu_seconds = exit_->cpu_seconds;
  outcome.files = port_.files();
  outcome.version = text_of(qemu_.version);
  return outcome;
}

}  // namespace

Result<NestedHost> NestedHost::create(HostPlan plan) {
  const char* arch = arch::name_of(plan.arch);
  if (plan.memory_bytes % kMiB != 0 || plan.memory_bytes < kLeastMemory ||
      plan.memory_bytes > kMostMemory) {
    return Error{ExitCode::Usage,
                 fmt::format("an emulated host of {} bytes, expected whole MiB from {} to {}",
                             plan.memory_bytes, kLeastMemory / kMiB, kMostMemory / kMiB)};
  }
  if (plan.deadline <= plan.deadline.zero() || plan.deadline > kLongestDeadline) {
    return Error{ExitCode::Usage, fmt::format("a deadline of {} ms, expected 1 to {}",
                                              plan.deadline.count(), kLongestDeadline.count())};
  }
  if (plan.gic_version != 2 && plan.gic_version != 3) {
    return Error{ExitCode::Usage,
                 fmt::format("a GICv{}, expected version 2 or 3", plan.gic_version)};
  }
  if (plan.out.empty()) return Error{ExitCode::Usage, "no folder for the files of the host"};
  const Status parts[] = {
      readable(plan.kernel, "the emulated host's kernel",
               fmt::format("`sealvisor kernel build host {}` builds it", arch)),
      readable(plan.init, "the emulated host's init", "the build of the project makes it"),
      readable(plan.program, "the program for the emulated host",
               fmt::format("tests/nested/build-program {} builds it", arch)),
  };
  for (const Status& part : parts) {
    if (!part) return part.error();
  }
  auto qemu = tcg::find_qemu(plan.arch);
  if (!qemu) return qemu.error();
  return NestedHost(std::move(plan), std::move(qemu).value());
}

Result<HostOutcome> NestedHost::run() {
  auto initramfs = build_initramfs(plan_);
  if (!initramfs) return initramfs.error();
  auto folder = Folder::open(plan_.out);
  if (!folder) return folder.error();
  Session session(plan_, qemu_, std::move(folder).value());
  return session.run(initramfs.value().path());
}

void make_room(HostPlan& plan, std::uint64_t bytes) {
  plan.memory_bytes += (2 * bytes + kMiB - 1) / kMiB * kMiB;
}

Result<fs::path> host_kernel(const fs::path& folder, arch::Arch arch) {
  const fs::path path = folder / (arch == arch::Arch::Arm64 ? "Image" : "vmlinux");
  if (auto there =
          readable(path, "the emulated host's kernel",
                   fmt::format("`sealvisor kernel build host {}` builds it", arch::name_of(arch)));
      !there) {
    return there.error();
  }
  return path;
}

}  // namespace sealvisor::engine::nested
