// The serial port of a PC: a 16550A. Registers only; the caller moves bytes and interrupts.
//
// Source: National Semiconductor PC16550D data sheet, "Registers" and "FIFO Interrupt Mode
// Operation". Time does not pass in it: a byte that is written is sent at once, so the transmitter
// is always empty; a byte in the receive FIFO below the trigger level has timed out at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/engine/kvm/device/byte_fifo.h"

namespace sealvisor::engine::kvm {

class Uart8250 {
 public:
  /// Registers, one byte each, at the base port and above.
  static constexpr std::uint16_t kRegisters = 8;
  static constexpr std::size_t kFifoBytes = 16;

  /// The guest reads the register at `offset` (0..7; higher bits are ignored).
  [[nodiscard]] std::uint8_t read(std::uint16_t offset);
  /// The guest writes it.
  void write(std::uint16_t offset, std::uint8_t value);

  /// What left on the line since the last call. Take it after each write: it only grows.
  [[nodiscard]] std::string take_output();

  /// How many bytes feed() takes now: what is free in the FIFO (1 without FIFO); 0 in loopback,
  /// where the line is cut off. It can grow with each access of the guest.
  [[nodiscard]] std::size_t room() const;
  /// Bytes arrive on the line. Returns how many were taken, from the first on; the rest is the
  /// caller's to offer again.
  std::size_t feed(std::string_view bytes);

  /// Level of the interrupt line. As on a PC, OUT2 gates it (loopback closes the gate).
  [[nodiscard]] bool irq() const;

 private:
  [[nodiscard]] bool latches_divisor() const;
  [[nodiscard]] bool loops() const;
  [[nodiscard]] bool has_fifo() const;
  [[nodiscard]] std::size_t depth() const;
  [[nodiscard]] std::size_t trigger() const;
  /// IIR bits 3:0: the pending interrupt of the highest priority that is enabled.
  [[nodiscard]] std::uint8_t pending() const;
  [[nodiscard]] std::uint8_t modem_lines() const;
  std::uint8_t read_data();
  std::uint8_t read_iir();
  std::uint8_t read_lsr();
  std::uint8_t read_msr();
  void send(std::uint8_t value);
  void write_ier(std::uint8_t value);
  void write_fcr(std::uint8_t value);
  void write_mcr(std::uint8_t value);

  ByteFifo<kFifoBytes> received_;
  std::uint8_t ier_ = 0;
  std::uint8_t fcr_ = 0;
  std::uint8_t lcr_ = 0;
  std::uint8_t mcr_ = 0;
  std::uint8_t scratch_ = 0;
  std::uint8_t divisor_low_ = 0;
  std::uint8_t divisor_high_ = 0;
  bool overrun_ = false;
  /// The transmitter became empty, and nobody has been told so by IIR.
  bool tells_empty_ = false;
  /// MSR bits 3:0.
  std::uint8_t modem_changes_ = 0;
  std::string output_;
};

}  // namespace sealvisor::engine::kvm
