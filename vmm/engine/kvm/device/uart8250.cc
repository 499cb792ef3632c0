#include "vmm/engine/kvm/device/uart8250.h"

#include <algorithm>
#include <utility>

namespace sealvisor::engine::kvm {

namespace {

// PC16550D data sheet, table 2 "Summary of Registers".
enum UartRegister : std::uint16_t { kData = 0, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScratch };

constexpr std::uint8_t kIerReceived = 1 << 0;
constexpr std::uint8_t kIerEmpty = 1 << 1;
constexpr std::uint8_t kIerLine = 1 << 2;
constexpr std::uint8_t kIerModem = 1 << 3;
constexpr std::uint8_t kIerBits = 0x0f;

// IIR: table 4, "Interrupt Control Functions".
constexpr std::uint8_t kIirNone = 0x1;
constexpr std::uint8_t kIirLine = 0x6;
constexpr std::uint8_t kIirReceived = 0x4;
constexpr std::uint8_t kIirTimeout = 0xc;
constexpr std::uint8_t kIirEmpty = 0x2;
constexpr std::uint8_t kIirModem = 0x0;
constexpr std::uint8_t kIirFifo = 0xc0;

constexpr std::uint8_t kFcrEnable = 1 << 0;
constexpr std::uint8_t kFcrClearReceived = 1 << 1;
constexpr unsigned kFcrTriggerShift = 6;

constexpr std::uint8_t kLcrDivisor = 1 << 7;  // DLAB

constexpr std::uint8_t kMcrDtr = 1 << 0;
constexpr std::uint8_t kMcrRts = 1 << 1;
constexpr std::uint8_t kMcrOut1 = 1 << 2;
constexpr std::uint8_t kMcrOut2 = 1 << 3;
constexpr std::uint8_t kMcrLoop = 1 << 4;
constexpr std::uint8_t kMcrBits = 0x1f;

constexpr std::uint8_t kLsrReady = 1 << 0;
constexpr std::uint8_t kLsrOverrun = 1 << 1;
constexpr std::uint8_t kLsrEmpty = (1 << 5) | (1 << 6);  // THRE, TEMT

constexpr std::uint8_t kMsrCts = 1 << 4;
constexpr std::uint8_t kMsrDsr = 1 << 5;
constexpr std::uint8_t kMsrRing = 1 << 6;
constexpr std::uint8_t kMsrCarrier = 1 << 7;
/// A change of line n (bits 7:4) is bit n of 3:0; of ring, its end only.
constexpr unsigned kMsrChangeShift = 4;

}  // namespace

bool Uart8250::latches_divisor() const { return (lcr_ & kLcrDivisor) != 0; }
bool Uart8250::loops() const { return (mcr_ & kMcrLoop) != 0; }
bool Uart8250::has_fifo() const { return (fcr_ & kFcrEnable) != 0; }
std::size_t Uart8250::depth() const { return has_fifo() ? kFifoBytes : 1; }

std::size_t Uart8250::trigger() const {
  constexpr std::size_t kLevels[] = {1, 4, 8, 14};
  return has_fifo() ? kLevels[fcr_ >> kFcrTriggerShift] : 1;
}

std::uint8_t Uart8250::pending() const {
  if ((ier_ & kIerLine) != 0 && overrun_) return kIirLine;
  if ((ier_ & kIerReceived) != 0 && !received_.empty()) {
    return received_.size() >= trigger() ? kIirReceived : kIirTimeout;
  }
  if ((ier_ & kIerEmpty) != 0 && tells_empty_) return kIirEmpty;
  if ((ier_ & kIerModem) != 0 && modem_changes_ != 0) return kIirModem;
  return kIirNone;
}

bool Uart8250::irq() const { return (mcr_ & kMcrOut2) != 0 && !loops() && pending() != kIirNone; }

std::uint8_t Uart8250::modem_lines() const {
  // The other side is always there and ready.
  if (!loops()) return kMsrCts | kMsrDsr | kMsrCarrier;
  // Loopback: RTS, DTR, OUT1, OUT2 come back as CTS, DSR, RI, DCD.
  std::uint8_t lines = 0;
  if ((mcr_ & kMcrRts) != 0) lines |= kMsrCts;
  if ((mcr_ & kMcrDtr) != 0) lines |= kMsrDsr;
  if ((mcr_ & kMcrOut1) != 0) lines |= kMsrRing;
  if ((mcr_ & kMcrOut2) != 0) lines |= kMsrCarrier;
  return lines;
}

std::uint8_t Uart8250::read(std::uint16_t offset) {
  switch (offset % kRegisters) {
    case kData:
      return latches_divisor() ? divisor_low_ : read_data();
    case kIer:
      return latches_divisor() ? divisor_high_ : ier_;
    case kIirFcr:
      return read_iir();
    case kLcr:
      return lcr_;
    case kMcr:
      return mcr_;
    case kLsr:
      return read_lsr();
    case kMsr:
      return read_msr();
    default:
      return scratch_;
  }
}

void Uart8250::write(std::uint16_t offset, std::uint8_t value) {
  switch (offset % kRegisters) {
    case kData:
      if (latches_divisor()) {
        divisor_low_ = value;
      } else {
        send(value);
      }
      break;
    case kIer:
      if (latches_divisor()) {
        divisor_high_ = value;
      } else {
        write_ier(value);
      }
      break;
    case kIirFcr:
      write_fcr(value);
      break;
    case kLcr:
      lcr_ = value;
      break;
    case kMcr:
      write_mcr(value);
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:  // LSR and MSR: "read only" in practice; writes are for factory tests.
      break;
  }
}

std::string Uart8250::take_output() { return std::exchange(output_, {}); }

std::uint8_t Uart8250::read_data() { return received_.empty() ? std::uint8_t{0} : received_.pop(); }

std::uint8_t Uart8250::read_iir() {
  const std::uint8_t which = pending();
  // Reading IIR resets this interrupt if it is the one that it shows.
  if (which == kIirEmpty) tells_empty_ = false;
  return static_cast<std::uint8_t>(which | (has_fifo() ? kIirFifo : 0));
}

std::uint8_t Uart8250::read_lsr() {
  std::uint8_t value = kLsrEmpty;
  if (!received_.empty()) value |= kLsrReady;
  if (overrun_) value |= kLsrOverrun;
  overrun_ = false;
  return value;
}

std::uint8_t Uart8250::read_msr() {
  const auto value = static_cast<std::uint8_t>(modem_lines() | modem_changes_);
  modem_changes_ = 0;
  return value;
}

void Uart8250::send(std::uint8_t value) {
  tells_empty_ = true;
  if (!loops()) {
    output_ += static_cast<char>(value);
    return;
  }
  if (received_.size() >= depth()) {
    overrun_ = true;
    // A full FIFO keeps what it has; without FIFO the new byte takes the place of the old one.
    if (has_fifo()) return;
    received_.clear();
  }
  received_.push(value);
}

void Uart8250::write_ier(std::uint8_t value) {
  // Enabling the interrupt while the transmitter is empty raises it.
  if ((value & kIerEmpty) != 0 && (ier_ & kIerEmpty) == 0) tells_empty_ = true;
  ier_ = value & kIerBits;
}

void Uart8250::write_fcr(std::uint8_t value) {
  const bool switches = ((value ^ fcr_) & kFcrEnable) != 0;
  if (switches || (value & kFcrClearReceived) != 0) received_.clear();
  // The other bits are taken only if the FIFOs are on.
  fcr_ = (value & kFcrEnable) != 0 ? value : std::uint8_t{0};
}

void Uart8250::write_mcr(std::uint8_t value) {
  const std::uint8_t before = modem_lines();
  mcr_ = value & kMcrBits;
  const std::uint8_t after = modem_lines();
  auto changed = static_cast<std::uint8_t>(before ^ after);
  if ((after & kMsrRing) != 0) changed &= static_cast<std::uint8_t>(~kMsrRing);
  modem_changes_ |= static_cast<std::uint8_t>(changed >> kMsrChangeShift);
}

std::size_t Uart8250::room() const { return loops() ? 0 : depth() - received_.size(); }

std::size_t Uart8250::feed(std::string_view bytes) {
  const std::size_t count = std::min(room(), bytes.size());
  for (const char byte : bytes.substr(0, count)) received_.push(static_cast<std::uint8_t>(byte));
  return count;
}

}  // namespace sealvisor::engine::kvm
