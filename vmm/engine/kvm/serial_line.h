// A UART of the guest's with what waits on both its sides, and its interrupt.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/result.h"
#include "vmm/engine/kvm/interrupt_lines.h"

namespace sealvisor::engine::kvm {

/// `Uart`: take_output(), feed(), irq() as those of device/uart8250.h and device/pl011.h.
template <typename Uart>
class SerialLine {
 public:
  /// `irq_line`: as InterruptLines::set_irq() takes it.
  explicit SerialLine(std::uint32_t irq_line) : irq_line_(irq_line) {}

  [[nodiscard]] Uart& uart() { return uart_; }
  /// To be called after each access of the guest's: takes what it sent, gives it what waits, and
  /// sets the interrupt.
  [[nodiscard]] Status settle(InterruptLines& lines) {
    output_ += uart_.take_output();
    if (!input_.empty()) input_.erase(0, uart_.feed(input_));
    const bool level = uart_.irq();
    if (level == level_) return {};
    level_ = level;
    return lines.set_irq(irq_line_, level);
  }
  /// How many bytes type() takes now. It can grow with each access of the guest's.
  [[nodiscard]] std::size_t room() const { return kMostWaiting - input_.size(); }
  /// Bytes for the guest. What does not fit into its UART waits. Precondition: at most room().
  [[nodiscard]] Status type(InterruptLines& lines, std::string_view bytes) {
    assert(bytes.size() <= room());
    input_ += bytes;
    return settle(lines);
  }
  /// What the guest sent since the last call.
  [[nodiscard]] std::string take_output() { return std::exchange(output_, {}); }

 private:
  /// As much as Linux keeps of a line that is typed (drivers/tty/n_tty.c, N_TTY_BUF_SIZE).
  static constexpr std::size_t kMostWaiting = 4096;

  Uart uart_;
  std::string output_;
  std::string input_;
  std::uint32_t irq_line_;
  bool level_ = false;
};

}  // namespace sealvisor::engine::kvm
