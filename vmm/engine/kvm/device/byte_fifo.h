// A receive FIFO of a serial device.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace sealvisor::engine::kvm {

template <std::size_t Capacity>
class ByteFifo {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }

  /// Precondition: size() < Capacity.
  void push(std::uint8_t byte) {
    assert(size_ < Capacity);
    bytes_[(first_ + size_) % Capacity] = byte;
    ++size_;
  }
  /// Precondition: not empty.
  std::uint8_t pop() {
    assert(size_ > 0);
    const std::uint8_t byte = bytes_[first_];
    first_ = (first_ + 1) % Capacity;
    --size_;
    return byte;
  }

 private:
  std::array<std::uint8_t, Capacity> bytes_{};
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace sealvisor::engine::kvm
