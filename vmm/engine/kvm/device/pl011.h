// The serial port of the arm64 machine: an ARM PrimeCell UART, PL011. Registers only; the caller
// moves bytes and interrupts.
//
// Source: PrimeCell UART (PL011) Technical Reference Manual, ARM DDI 0183G (r1p5), chapter 3. Time
// does not pass in it: a byte that is written is sent at once, so the transmit FIFO is always
// empty; a byte in the receive FIFO below the trigger level has timed out at once.
//
// One deviation: a byte leaves even if UARTCR has not enabled the transmitter. Linux's early
// console relies on firmware to have done so, and there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "vmm/engine/kvm/device/byte_fifo.h"

namespace sealvisor::engine::kvm {

class Pl011 {
 public:
  /// Bytes of the register block.
  static constexpr std::uint64_t kBlockBytes = 0x1000;
  /// Of revision r1p5.
  static constexpr std::size_t kFifoBytes = 32;

  /// The guest reads at `offset`. A register is at a multiple of 4; its bits fit in the 16 low
  /// ones, which accesses of any size see. Other offsets read as 0.
  [[nodiscard]] std::uint32_t read(std::uint64_t offset);
  /// The guest writes there.
  void write(std::uint64_t offset, std::uint32_t value);

  /// What left on the line since the last call. Take it after each write: it only grows.
  [[nodiscard]] std::string take_output();

  /// How many bytes feed() takes now: what is free in the FIFO (1 without FIFO); 0 while the
  /// receiver is off or in loopback, where the line is cut off. It can grow with each access.
  [[nodiscard]] std::size_t room() const;
  /// Bytes arrive on the line. Returns how many were taken, from the first on; the rest is the
  /// caller's to offer again.
  std::size_t feed(std::string_view bytes);

  /// Level of UARTINTR.
  [[nodiscard]] bool irq() const;

 private:
  [[nodiscard]] bool loops() const;
  [[nodiscard]] bool has_fifo() const;
  [[nodiscard]] std::size_t depth() const;
  [[nodiscard]] std::size_t trigger() const;
  /// FR bits RI, DCD, DSR, CTS.
  [[nodiscard]] std::uint32_t modem_lines() const;
  [[nodiscard]] std::uint32_t flags() const;
  std::uint32_t read_data();
  void send(std::uint8_t value);
  void arrive(std::uint8_t byte);
  void write_lcr(std::uint32_t value);
  void write_cr(std::uint32_t value);

  ByteFifo<kFifoBytes> received_;
  std::uint32_t errors_ = 0;  ///< RSR.
  std::uint32_t ilpr_ = 0;
  std::uint32_t ibrd_ = 0;
  std::uint32_t fbrd_ = 0;
  std::uint32_t lcr_ = 0;
  std::uint32_t cr_ = 0x300;
  std::uint32_t ifls_ = 0x12;
  std::uint32_t mask_ = 0;
  std::uint32_t raw_ = 0;  ///< RIS.
  std::uint32_t dmacr_ = 0;
  std::string output_;
};

}  // namespace sealvisor::engine::kvm
