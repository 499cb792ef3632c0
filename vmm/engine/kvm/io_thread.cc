#include "vmm/engine/kvm/io_thread.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <future>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "vmm/base/cpu_time.h"
#include "vmm/base/signal_text.h"
#include "vmm/engine/kvm/sandbox.h"

namespace sealvisor::engine::kvm {

namespace {
/// Bytes that wait for the vCPU's thread before no more are read. It takes what the guest's serial
/// line has room for (serial_line.h).
constexpr std::size_t kMostTyped = 4096;
}  // namespace

IoThread::IoThread(std::chrono::milliseconds deadline, const Terminal* input,
                   std::function<void()> kick)
    : limit_(deadline), terminal_(input), kick_(std::move(kick)) {}

IoThread::~IoThread() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
  // The terminal owns it.
  if (input_.is_open()) input_.release();
}

Status IoThread::start() {
  boost::system::error_code error;
  for (const int number : {SIGINT, SIGTERM}) {
    if (!error) signals_.add(number, error);
  }
  if (error) return Error{ExitCode::HostLacks, "handling signals: " + error.message()};
  await_signal();
  deadline_.expires_after(limit_);
  deadline_.async_wait([this](const boost::system::error_code& failed) {
    if (failed) return;
    request(End::Deadline, fmt::format("the guest had not ended after {:.3g} s",
                                       std::chrono::duration<double>(limit_).count()));
  });
  std::promise<Status> confined;
  std::future<Status> ready = confined.get_future();
  try {
    thread_ = std::thread([this, confined = std::move(confined)]() mutable {
      Status status = confine(Confined::Io);
      const bool good = status.ok();
      start_cpu_seconds_ = thread_cpu_seconds();  // read behind the future
      confined.set_value(std::move(status));
      if (!good) return;
      try {
        io_.run();
      } catch (const std::exception& problem) {
        request(End::EngineDied, fmt::format("serving the guest: {}", problem.what()));
      }
      // Here, for the thread that destroys this may no longer change what signals do.
      boost::system::error_code ignored;
      signals_.clear(ignored);
    });
  } catch (const std::system_error& problem) {
    return Error{ExitCode::HostLacks, fmt::format("starting the I/O thread: {}", problem.what())};
  }
  // It does a fixed number of steps first, none of which waits.
  return ready.get();
}

void IoThread::request(End end, std::string text) {
  {
    const std::lock_guard lock(mutex_);
    if (!request_) request_ = StopRequest{end, std::move(text)};
  }
  kick_();
}

std::optional<StopRequest> IoThread::requested() const {
  const std::lock_guard lock(mutex_);
  return request_;
}

std::string IoThread::take_input(std::size_t most) {
  const std::lock_guard lock(mutex_);
  std::string taken = typed_.substr(0, most);
  typed_.erase(0, taken.size());
  if (paused_ && typed_.size() < kMostTyped) {
    paused_ = false;
    boost::asio::post(io_, [this] { await_input(); });
  }
  return taken;
}

void IoThread::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    request(End::Interrupted, signal_text(number));
    await_signal();
  });
}

void IoThread::begin_input(std::string then_end) {
  boost::asio::post(io_, [this, end = std::move(then_end)] {
    then_end_ = end;
    boost::system::error_code error;
    if (terminal_ == nullptr) return;
    if (terminal_->input().valid()) input_.assign(terminal_->input().get(), error);
    if (error || !terminal_->input().valid()) {
      // /dev/null or a file: nothing that can be waited for.
      static_cast<void>(type(then_end_));
      return;
    }
    await_input();
  });
}

void IoThread::await_input() {
  input_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code& error) {
                      if (!error) on_input();
                    });
}

void IoThread::on_input() {
  std::array<char, 1024> block{};
  const ssize_t got = ::read(input_.native_handle(), block.data(), block.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    await_input();
    return;
  }
  if (got <= 0) {
    ended_ = true;
    static_cast<void>(type(then_end_));
    return;
  }
  const bool go_on = type(escape_.filter({block.data(), static_cast<std::size_t>(got)}));
  if (escape_.quit()) {
    quit_.store(true);
    request(End::Interrupted, "Ctrl-A x was typed");
    return;
  }
  if (go_on) await_input();
}

bool IoThread::type(const std::string& bytes) {
  if (bytes.empty()) return true;
  bool paused = false;
  {
    const std::lock_guard lock(mutex_);
    typed_ += bytes;
    // Decided here once: from now on take_input() begins to read again, and no one else.
    paused = paused_ = !ended_ && typed_.size() >= kMostTyped;
  }
  kick_();
  return !paused;
}

}  // namespace sealvisor::engine::kvm
