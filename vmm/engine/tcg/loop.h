// One run of QEMU: its process, its channels, its deadlines.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "vmm/base/child.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/tcg/event_pump.h"
#include "vmm/engine/tcg/qemu/program.h"
#include "vmm/engine/tcg/qemu/qmp.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine::tcg {

/// From `quit` to SIGKILL.
inline constexpr std::chrono::milliseconds kGrace{2000};
/// Bytes of QEMU's standard error that are kept: its end.
inline constexpr std::size_t kMostWords = 65536;

/// Lends a descriptor to the loop: readiness only, the owner keeps it and outlives this.
class Watch {
 public:
  explicit Watch(boost::asio::io_context& io) : descriptor_(io) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { end(); }

  /// False if `fd` can't be waited for.
  [[nodiscard]] bool begin(int fd) {
    boost::system::error_code error;
    descriptor_.assign(fd, error);
    return !error;
  }
  void end() {
    if (descriptor_.is_open()) descriptor_.release();
  }
  [[nodiscard]] bool active() const { return descriptor_.is_open(); }
  /// Calls `handler` once `fd` can be read; never after end().
  template <typename Handler>
  void readable(Handler handler) {
    wait(boost::asio::posix::stream_descriptor::wait_read, std::move(handler));
  }
  template <typename Handler>
  void writable(Handler handler) {
    wait(boost::asio::posix::stream_descriptor::wait_write, std::move(handler));
  }

 private:
  template <typename Handler>
  void wait(boost::asio::posix::stream_descriptor::wait_type what, Handler handler) {
    descriptor_.async_wait(what, [this, handler](const boost::system::error_code& error) {
      if (!error && active()) handler();
    });
  }
  boost::asio::posix::stream_descriptor descriptor_;
};

/// Everything that happens while QEMU runs, in one thread: that of run(). One use.
///
/// What ends a run: the guest resets (QEMU then ends by itself); or we ask for the end with QMP
/// `quit`, and kill QEMU if it has not ended kGrace later. Until QEMU is gone all channels are
/// served, so that it is never stuck on one of them.
class Loop {
 public:
  /// `ring_fd` and `ring_memory` are of the initialised ring. All arguments outlive the loop.
  Loop(const EngineConfig& config, const QemuProgram& qemu, const memory::GuestMemory& memory,
       const Fd& ring_fd, const Mapping& ring_memory, Observer& observer);

  /// See Engine::run().
  [[nodiscard]] Result<Outcome> run();
  /// The machine protocol while run() runs, else nullptr.
  [[nodiscard]] QmpClient* qmp() { return qmp_ ? &*qmp_ : nullptr; }

 private:
  [[nodiscard]] Status begin();
  [[nodiscard]] Status start_child();
  [[nodiscard]] Status begin_watches();
  void await_exit();
  void await_channel();
  void await_qmp();
  void await_console();
  void await_words();
  void await_input();
  void await_signal();
  void on_channel();
  /// Handles what came through the channel, in turns; then waits for more.
  void serve_channel();
  void apply(const PumpResult& result);
  [[nodiscard]] bool take_console();
  [[nodiscard]] bool take_words();
  void begin_input();
  void on_input();
  void send_input();
  void on_exit();
  /// Takes what QEMU wrote before it ended, in turns; then ends the loop.
  void take_rest();
  /// Time is over, or nobody wants to wait: ends the guest, or what is done once it has ended.
  void cut_short(End end, std::string text);
  /// Ends the guest politely; the first reason counts.
  void finish(End end, std::string text);
  void kill(const std::string& why);
  [[nodiscard]] bool started() const;
  [[nodiscard]] Result<Outcome> conclude();

  const EngineConfig& config_;
  const QemuProgram& qemu_;
  const memory::GuestMemory& memory_;
  const Fd& ring_fd_;
  Observer& observer_;
  EventPump pump_;

  // Owners come before the watches that borrow from them.
  std::optional<Terminal> terminal_;
  std::optional<Child> child_;
  std::optional<QmpClient> qmp_;
  Fd channel_fd_;
  Fd console_fd_;
  Fd words_fd_;

  boost::asio::io_context io_{1};
  Watch exit_watch_{io_};
  Watch channel_watch_{io_};
  Watch qmp_watch_{io_};
  Watch console_watch_{io_};
  Watch words_watch_{io_};
  Watch input_watch_{io_};
  boost::asio::steady_timer deadline_{io_};
  boost::asio::steady_timer grace_{io_};
  boost::asio::signal_set signals_{io_};

  std::chrono::steady_clock::time_point started_{};
  std::chrono::steady_clock::time_point ended_{};
  double cpu_before_ = 0;  ///< Of this thread, when run() was called.
  double start_cpu_seconds_ = 0;
  std::optional<End> end_;
  std::optional<ChildExit> exit_;
  std::string text_;
  std::string killed_;         ///< Why it had to be killed.
  std::string words_;          ///< QEMU's standard error.
  std::string channel_bytes_;  ///< Came through the channel and are not handled yet.
  bool pumping_ = false;       ///< The first of them is under way.
  std::string pending_input_;
  std::optional<ReadyWatch> ready_;  ///< Input begins when the console has shown it.
  EscapeFilter escape_;
  std::uint64_t console_bytes_ = 0;
};

/// The end of what QEMU said, as one printable line of at most 600 bytes.
[[nodiscard]] std::string last_words(std::string_view words);

}  // namespace sealvisor::engine::tcg
