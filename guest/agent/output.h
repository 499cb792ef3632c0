// What a program writes, on its way to the VMM.
#pragma once

#include <array>
#include <cstdint>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// One stream of a program: the end of a pipe that this process reads.
class OutputStream {
 public:
  OutputStream(Doorbell& doorbell, protocol::Content content)
      : doorbell_(doorbell), content_(content) {}
  OutputStream(const OutputStream&) = delete;
  OutputStream& operator=(const OutputStream&) = delete;
  ~OutputStream();

  /// Makes the pipe. `most`: bytes that are passed on. False: errno says why.
  [[nodiscard]] bool open(std::uint32_t most);
  /// The end to write to, for the child; this process closes it once it has forked.
  [[nodiscard]] int write_end() const { return ends_[1]; }
  void close_write_end();
  /// The end that is read, for poll(2); -1: it is closed.
  [[nodiscard]] int read_end() const { return ends_[0]; }

  /// Takes what is there, without waiting.
  void take();
  /// Rings with what was taken and not passed on yet.
  void flush();
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

 private:
  Doorbell& doorbell_;
  protocol::Content content_;
  int ends_[2] = {-1, -1};
  std::uint64_t room_ = 0;
  std::uint64_t left_out_ = 0;
  std::uint32_t held_ = 0;
  std::array<char, protocol::kMaxPiece> buffer_;  // Not cleared: it is long.
};

}  // namespace sealvisor::agent
