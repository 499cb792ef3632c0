// Ctrl-C while several guests run.
#pragma once

#include <csignal>
#include <mutex>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

namespace sealvisor::app {

/// SIGINT and SIGTERM while this lives: noted, never fatal. An engine that runs handles them too,
/// and ends its guest. Thread-safe.
class Interrupts {
 public:
  Interrupts() {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) seen_ = true;
    });
  }
  [[nodiscard]] bool seen() {
    const std::lock_guard lock(mutex_);
    io_.poll();
    return seen_;
  }

 private:
  std::mutex mutex_;
  bool seen_ = false;
  boost::asio::io_context io_;
  boost::asio::signal_set signals_{io_, SIGINT, SIGTERM};
};

}  // namespace sealvisor::app
