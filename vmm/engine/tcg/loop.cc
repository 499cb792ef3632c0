#include "vmm/engine/tcg/loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "vmm/base/cpu_time.h"
#include "vmm/base/pipe.h"
#include "vmm/base/signal_text.h"
#include "vmm/engine/tcg/qemu/command_line.h"

namespace sealvisor::engine::tcg {

namespace {

constexpr std::size_t kMostShown = 600;
/// Bytes taken from one channel before the others get their turn.
constexpr std::size_t kMostAtOnce = 65536;

enum class ReadState : std::uint8_t { Bytes, Later, End };

/// Reads once without waiting. `count` is set for Bytes.
template <std::size_t N>
ReadState read_some(int fd, std::array<char, N>& block, std::size_t& count) {
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got > 0) {
      count = static_cast<std::size_t>(got);
      return ReadState::Bytes;
    }
    if (got == 0) return ReadState::End;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return ReadState::Later;
    if (errno != EINTR) return ReadState::End;
  }
}

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string last_words(std::string_view words) {
  while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) words.remove_suffix(1);
  if (words.size() > kMostShown) words.remove_prefix(words.size() - kMostShown);
  std::string line;
  for (const char c : words) {
    if (c == '\n') {
      line += "; ";
    } else if (c != '\r') {
      line += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return line;
}

Loop::Loop(const EngineConfig& config, const QemuProgram& qemu, const memory::GuestMemory& memory,
           const Fd& ring_fd, const Mapping& ring_memory, Observer& observer)
    : config_(config),
      qemu_(qemu),
      memory_(memory),
      ring_fd_(ring_fd),
      observer_(observer),
      pump_(event::Ring(ring_memory.bytes()), observer) {}

Result<Outcome> Loop::run() {
  cpu_before_ = thread_cpu_seconds();
  try {
    if (auto begun = begin(); !begun) return begun.error();
    io_.run();
  } catch (const std::exception& problem) {
    return Error{ExitCode::HostLacks, fmt::format("serving QEMU: {}", problem.what())};
  }
  return conclude();
}

Status Loop::begin() {
  // Before the child exists: from here on a signal must end the child first.
  boost::system::error_code error;
  for (const int number : {SIGINT, SIGTERM}) {
    if (!error) signals_.add(number, error);
  }
  if (error) return Error{ExitCode::HostLacks, "handling signals: " + error.message()};
  if (config_.interactive) {
    auto terminal = Terminal::open(STDIN_FILENO, STDOUT_FILENO);
    if (!terminal) return terminal.error();
    terminal_.emplace(std::move(terminal).value());
  }
  started_ = std::chrono::steady_clock::now();
  if (auto child = start_child(); !child) return child;
  return begin_watches();
}

Status Loop::start_child() {
  auto console = socket_pair("the guest's console");
  if (!console) return console.error();
  auto qmp = socket_pair("QMP");
  if (!qmp) return qmp.error();
  auto channel = socket_pair("the monitor");
  if (!channel) return channel.error();
  auto words = make_pipe("QEMU's messages");
  if (!words) return words.error();
  // The plugin closes its descriptor, maybe before QEMU opens the memory by the other's number.
  const Fd plugin_ram(::fcntl(memory_.fd().get(), F_DUPFD_CLOEXEC, 3));
  if (!plugin_ram.valid()) return errno_error(ExitCode::HostLacks, "duplicating guest RAM");

  InheritedFds fds;
  fds.ram = memory_.fd().get();
  fds.console = console.value().theirs.get();
  fds.qmp = qmp.value().theirs.get();
  ChildPlan plan;
  plan.inherited = {fds.ram, fds.console, fds.qmp};
  if (config_.plugin_loaded) {
    fds.plugin_ram = plugin_ram.get();
    fds.ring = ring_fd_.get();
    fds.channel = channel.value().theirs.get();
    plan.inherited.insert(plan.inherited.end(), {fds.plugin_ram, fds.ring, fds.channel});
    fds.count = config_.count_fd;
    if (fds.count >= 0) plan.inherited.push_back(fds.count);
  }
  plan.program = qemu_.path;
  plan.arguments = qemu_arguments(config_, memory_.size(), memory_.base(), fds);
  plan.output = words.value().writing.get();
  auto child = Child::start(plan);
  if (!child) return child.error();
  child_.emplace(std::move(child).value());
  qmp_.emplace(std::move(qmp.value().ours));
  console_fd_ = std::move(console.value().ours);
  channel_fd_ = std::move(channel.value().ours);
  words_fd_ = std::move(words.value().reading);
  // QEMU was told to wait (-S): whatever runs in the guest runs after this. If it can't be sent,
  // QEMU is on its way out, and its end says why.
  start_cpu_seconds_ = thread_cpu_seconds() - cpu_before_;
  if (auto sent = qmp_->post("cont"); !sent) text_ = sent.error().message;
  return {};
}

Status Loop::begin_watches() {
  const bool good = exit_watch_.begin(child_->pidfd().get()) &&
                    channel_watch_.begin(channel_fd_.get()) &&
                    qmp_watch_.begin(qmp_->socket().get()) &&
                    console_watch_.begin(console_fd_.get()) && words_watch_.begin(words_fd_.get());
  if (!good) return Error{ExitCode::HostLacks, "watching QEMU's channels with epoll"};
  await_exit();
  await_channel();
  await_qmp();
  await_console();
  await_words();
  if (config_.console_ready.empty() || (terminal_ && terminal_->raw())) {
    begin_input();
  } else {
    ready_.emplace(config_.console_ready);
  }
  await_signal();
  deadline_.expires_at(started_ + config_.deadline);
  deadline_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    cut_short(End::Deadline, fmt::format("the guest had not ended after {:.3g} s",
                                         std::chrono::duration<double>(config_.deadline).count()));
  });
  return {};
}

void Loop::await_exit() {
  exit_watch_.readable([this] { on_exit(); });
}

void Loop::await_channel() {
  channel_watch_.readable([this] { on_channel(); });
}

void Loop::await_qmp() {
  qmp_watch_.readable([this] {
    if (qmp_->pump()) {
      await_qmp();
    } else {
      qmp_watch_.end();
    }
  });
}

void Loop::await_console() {
  console_watch_.readable([this] {
    if (take_console()) {
      await_console();
    } else {
      console_watch_.end();
    }
  });
}

void Loop::await_words() {
  words_watch_.readable([this] {
    if (take_words()) {
      await_words();
    } else {
      words_watch_.end();
    }
  });
}

void Loop::await_input() {
  input_watch_.readable([this] { on_input(); });
}

void Loop::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    // The second one means that the user does not want to wait.
    if (end_ == End::Interrupted && !exit_) kill("a second signal came");
    cut_short(End::Interrupted, signal_text(number));
    await_signal();
  });
}

void Loop::on_channel() {
  std::array<char, 64> block{};
  std::size_t count = 0;
  switch (read_some(channel_fd_.get(), block, count)) {
    case ReadState::End:
      channel_watch_.end();  // The engine is going down; its exit tells how.
      return;
    case ReadState::Bytes:
      channel_bytes_.append(block.data(), count);
      break;
    case ReadState::Later:
      break;
  }
  serve_channel();
}

void Loop::serve_channel() {
  while (!channel_bytes_.empty()) {
    if (exit_ || !channel_watch_.active()) return;
    const PumpResult result = pumping_ ? pump_.go_on() : pump_.on_byte(channel_bytes_.front());
    pumping_ = result.more;
    if (result.more) {
      boost::asio::post(io_, [this] { serve_channel(); });
      return;
    }
    channel_bytes_.erase(0, 1);
    apply(result);
  }
  if (channel_watch_.active()) await_channel();
}

void Loop::apply(const PumpResult& result) {
  if (result.broken) {
    finish(End::RingBroken, "the event ring's indices or its channel's bytes make no sense");
    channel_watch_.end();
    kill("its memory can't be trusted");
    return;
  }
  // Asked for before the vCPU goes on, so that it gets no further than it must.
  if (result.give_up) finish(End::GaveUp, *result.give_up);
  if (!result.answer) return;
  const char go = event::kGo;
  // One byte to a reader that waits for it; if that fails the engine is gone.
  if (::send(channel_fd_.get(), &go, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) channel_watch_.end();
}

bool Loop::take_console() {
  std::array<char, 4096> block{};
  for (std::size_t taken = 0; taken < kMostAtOnce;) {
    std::size_t count = 0;
    const ReadState state = read_some(console_fd_.get(), block, count);
    if (state != ReadState::Bytes) return state == ReadState::Later;
    taken += count;
    if (terminal_) {
      console_bytes_ += count;
      observer_.on_console({block.data(), count});
      if (ready_ && ready_->shown({block.data(), count})) begin_input();
      if (!terminal_->write({block.data(), count})) {
        finish(End::Interrupted, "the terminal takes no more output");
      }
      continue;
    }
    const std::uint64_t room =
        config_.console_limit - std::min(console_bytes_, config_.console_limit);
    console_bytes_ += count;
    const std::size_t passed = static_cast<std::size_t>(std::min<std::uint64_t>(count, room));
    if (passed > 0) observer_.on_console({block.data(), passed});
    if (passed < count) {
      finish(End::ConsoleFlood,
             fmt::format("more than {} bytes on the console", config_.console_limit));
    }
  }
  return true;
}

bool Loop::take_words() {
  std::array<char, 4096> block{};
  for (std::size_t taken = 0; taken < kMostAtOnce;) {
    std::size_t count = 0;
    const ReadState state = read_some(words_fd_.get(), block, count);
    if (state != ReadState::Bytes) return state == ReadState::Later;
    taken += count;
    words_.append(block.data(), count);
    if (words_.size() > kMostWords) words_.erase(0, words_.size() - kMostWords);
  }
  return true;
}

void Loop::begin_input() {
  if (terminal_ && terminal_->input().valid() && input_watch_.begin(terminal_->input().get())) {
    await_input();
  } else if (terminal_ && !config_.console_ready.empty()) {
    // /dev/null or a file: nothing that can be waited for.
    pending_input_ += kEndOfInput;
    send_input();
  }
}

void Loop::on_input() {
  std::array<char, 1024> block{};
  std::size_t count = 0;
  switch (read_some(terminal_->input().get(), block, count)) {
    case ReadState::End:
      input_watch_.end();
      if (!config_.console_ready.empty()) {
        pending_input_ += kEndOfInput;
        send_input();
      }
      return;
    case ReadState::Later:
      await_input();
      return;
    case ReadState::Bytes:
      break;
  }
  pending_input_ += escape_.filter({block.data(), count});
  if (escape_.quit()) {
    input_watch_.end();
    finish(End::Interrupted, "Ctrl-A x was typed");
    return;
  }
  send_input();
}

void Loop::send_input() {
  while (!pending_input_.empty()) {
    const ssize_t sent = ::send(console_fd_.get(), pending_input_.data(), pending_input_.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      pending_input_.erase(0, static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN && console_watch_.active()) {
      // The guest reads slowly. Nothing more is taken from the terminal until it has.
      console_watch_.writable([this] { send_input(); });
      return;
    } else if (errno != EINTR) {
      input_watch_.end();
      return;
    }
  }
  if (input_watch_.active()) await_input();
}

void Loop::on_exit() {
  exit_ = child_->wait(std::chrono::milliseconds(0));
  if (!exit_) {
    await_exit();
    return;
  }
  ended_ = std::chrono::steady_clock::now();
  // What was written before the end is still there. A process that QEMU's stand-in left behind may
  // hold the other ends open, so this does not wait for their end.
  qmp_->pump();
  take_rest();
}

void Loop::take_rest() {
  const PumpResult result = pump_.take_rest();
  if (result.broken && !end_) {
    end_ = End::RingBroken;
    text_ = "the event ring's indices make no sense";
  }
  // Of a guest that was ended, or that passed its deadline by what it left to judge, the rest is
  // not waited for.
  if (result.more && (!end_ || std::chrono::steady_clock::now() < ended_ + kGrace)) {
    boost::asio::post(io_, [this] { take_rest(); });
    return;
  }
  while (console_watch_.active() && take_console() && wait_readable(console_fd_.get(), {})) {
  }
  while (words_watch_.active() && take_words() && wait_readable(words_fd_.get(), {})) {
  }
  io_.stop();
}

void Loop::cut_short(End end, std::string text) {
  if (!exit_) {
    finish(end, std::move(text));
  } else if (!end_) {
    end_ = end;
    text_ = std::move(text);
  }
}

void Loop::finish(End end, std::string text) {
  if (end_ || exit_) return;
  end_ = end;
  text_ = std::move(text);
  deadline_.cancel();
  if (!qmp_->post("quit")) {
    kill("it does not listen");
    return;
  }
  grace_.expires_after(kGrace);
  grace_.async_wait([this](const boost::system::error_code& error) {
    if (!error) kill(fmt::format("it did not end within {} ms of being asked", kGrace.count()));
  });
}

void Loop::kill(const std::string& why) {
  if (!killed_.empty()) return;
  killed_ = why;
  child_->kill();
}

bool Loop::started() const { return qmp_->negotiated() || console_bytes_ > 0 || pump_.seen_any(); }

Result<Outcome> Loop::conclude() {
  if (!exit_) return Error{ExitCode::HostLacks, "serving QEMU: the loop ended before QEMU"};
  const std::string said = words_.empty() ? "" : ": " + last_words(words_);
  if (!end_ && exit_->signal == 0 && exit_->status != 0 && !started()) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} ended with status {} before the guest started{}",
                             qemu_.path.string(), exit_->status, said)};
  }
  Outcome outcome;
  outcome.started = started_;
  outcome.wall_seconds = seconds(ended_ - started_);
  outcome.start.cpu_seconds = start_cpu_seconds_;
  outcome.engine_cpu_seconds = exit_->cpu_seconds;
  outcome.version = text_of(qemu_.version);
  outcome.cpu_model = cpu_model(config_);
  outcome.quit = escape_.quit();
  if (end_) {
    outcome.end = *end_;
    outcome.text = text_;
    if (!killed_.empty()) outcome.text += fmt::format("; QEMU was killed: {}", killed_);
  } else if (exit_->signal != 0) {
    outcome.end = End::EngineDied;
    outcome.text = fmt::format("QEMU was killed by {}{}", signal_text(exit_->signal), said);
  } else if (exit_->status != 0) {
    outcome.end = End::EngineDied;
    outcome.text = fmt::format("QEMU ended with status {}{}", exit_->status, said);
  } else if (qmp_->shutdown_reason().starts_with("guest-")) {
    outcome.end = End::GuestReset;
    outcome.text = qmp_->shutdown_reason();
  } else {
    outcome.end = End::EngineDied;
    outcome.text = fmt::format(
        "QEMU ended although neither the guest nor we asked for it ({}){}",
        qmp_->shutdown_reason().empty() ? "no reason given" : qmp_->shutdown_reason(), said);
  }
  return outcome;
}

}  // namespace sealvisor::engine::tcg
