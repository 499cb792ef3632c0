// What happens beside the vCPU: signals, the deadline, what is typed. A thread of its own, which
// only asks the vCPU's thread to stop; it never touches the machine.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "vmm/base/result.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine::kvm {

/// Why the guest is to be stopped from outside.
struct StopRequest {
  End end{};
  std::string text;
};

class IoThread {
 public:
  /// `kick` makes the vCPU's thread look at requested(); it is called from this thread and must
  /// stay callable as long as the object lives. `input`: what is typed; nullptr: nothing.
  IoThread(std::chrono::milliseconds deadline, const Terminal* input, std::function<void()> kick);
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  /// Ends and joins the thread.
  ~IoThread();

  /// Takes over SIGINT and SIGTERM and starts the thread, which is confined when this returns.
  [[nodiscard]] Status start();
  /// CPU time of the thread up to the end of start().
  [[nodiscard]] double start_cpu_seconds() const { return start_cpu_seconds_; }
  /// Input that is held back until now (EngineConfig::console_ready) begins; `then_end`: what
  /// follows the last byte of an input that ends.
  void begin_input(std::string then_end);

  /// The first request to stop. From any thread.
  [[nodiscard]] std::optional<StopRequest> requested() const;
  /// The next bytes that were typed, at most `most`; fewer: there are no more now. What nobody
  /// takes stays in the terminal or pipe, but for a few KiB. There Ctrl-A x is out of reach too, if
  /// the guest takes nothing and that much was typed before it. From any thread.
  [[nodiscard]] std::string take_input(std::size_t most);
  /// Whether the person at the console asked for the end.
  [[nodiscard]] bool quit() const { return quit_.load(); }

 private:
  void request(End end, std::string text);
  void await_signal();
  void await_input();
  void on_input();
  /// Hands `bytes` over. Whether more is to be read now.
  [[nodiscard]] bool type(const std::string& bytes);

  std::chrono::milliseconds limit_;
  const Terminal* terminal_;
  std::function<void()> kick_;

  boost::asio::io_context io_;
  boost::asio::signal_set signals_{io_};
  boost::asio::steady_timer deadline_{io_};
  boost::asio::posix::stream_descriptor input_{io_};
  EscapeFilter escape_;
  std::string then_end_;
  bool ended_ = false;  ///< The input; this thread's only.

  mutable std::mutex mutex_;
  std::optional<StopRequest> request_;
  std::string typed_;
  bool paused_ = false;  ///< Nothing is read until some of what was typed is taken.
  std::atomic<bool> quit_{false};
  double start_cpu_seconds_ = 0;
  std::thread thread_;
};

}  // namespace sealvisor::engine::kvm
