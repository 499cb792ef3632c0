#include "guest/agent/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sealvisor::agent {

OutputStream::~OutputStream() {
  close_write_end();
  if (ends_[0] >= 0) ::close(ends_[0]);
}

bool OutputStream::open(std::uint32_t most) {
  room_ = most;
  return ::pipe2(ends_, O_CLOEXEC) == 0 && ::fcntl(ends_[0], F_SETFL, O_NONBLOCK) == 0;
}

void OutputStream::close_write_end() {
  if (ends_[1] >= 0) ::close(ends_[1]);
  ends_[1] = -1;
}

void OutputStream::take() {
  while (ends_[0] >= 0) {
    if (held_ == buffer_.size()) flush();
    const ssize_t got = ::read(ends_[0], buffer_.data() + held_, buffer_.size() - held_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      ::close(ends_[0]);
      ends_[0] = -1;
      return;
    }
    const std::uint64_t kept = std::min<std::uint64_t>(static_cast<std::uint64_t>(got), room_);
    room_ -= kept;
    held_ += static_cast<std::uint32_t>(kept);
    left_out_ += static_cast<std::uint64_t>(got) - kept;
  }
}

void OutputStream::flush() {
  if (held_ == 0) return;
  protocol::Piece piece{};
  piece.address = reinterpret_cast<std::uintptr_t>(buffer_.data());
  piece.bytes = held_;
  piece.content = content_;
  doorbell_.piece(piece);
  held_ = 0;
}

}  // namespace sealvisor::agent
