#include "vmm/engine/kvm/device/pl011.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sealvisor::engine::kvm {

namespace {

// DDI 0183G, table 3-1, "Pl011Register summary".
enum Pl011Register : std::uint64_t {
  kDr = 0x000,
  kRsr = 0x004,
  kFr = 0x018,
  kIlpr = 0x020,
  kIbrd = 0x024,
  kFbrd = 0x028,
  kLcrH = 0x02c,
  kCr = 0x030,
  kIfls = 0x034,
  kImsc = 0x038,
  kRis = 0x03c,
  kMis = 0x040,
  kIcr = 0x044,
  kDmacr = 0x048,
  kPeriphId0 = 0xfe0,
};

/// UARTPeriphID0-3 (part 0x011, designer 0x41, revision 3 = r1p5) and UARTPCellID0-3: 3.3.15 and
/// on.
constexpr std::array<std::uint8_t, 8> kIdentity = {0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

constexpr std::uint32_t kDrOverrun = 1 << 11;
constexpr std::uint32_t kRsrOverrun = 1 << 3;

// UARTFR, table 3-4.
constexpr std::uint32_t kFrCts = 1 << 0;
constexpr std::uint32_t kFrDsr = 1 << 1;
constexpr std::uint32_t kFrDcd = 1 << 2;
constexpr std::uint32_t kFrReceiveEmpty = 1 << 4;
constexpr std::uint32_t kFrReceiveFull = 1 << 6;
constexpr std::uint32_t kFrTransmitEmpty = 1 << 7;
constexpr std::uint32_t kFrRing = 1 << 8;

constexpr std::uint32_t kLcrFifo = 1 << 4;  // FEN

// UARTCR, table 3-9.
constexpr std::uint32_t kCrEnable = 1 << 0;
constexpr std::uint32_t kCrLoop = 1 << 7;
constexpr std::uint32_t kCrReceive = 1 << 9;
constexpr std::uint32_t kCrDtr = 1 << 10;
constexpr std::uint32_t kCrRts = 1 << 11;
constexpr std::uint32_t kCrOut1 = 1 << 12;
constexpr std::uint32_t kCrOut2 = 1 << 13;
/// Bits 6:3 are reserved.
constexpr std::uint32_t kCrBits = 0xff87;

// UARTIMSC, UARTRIS, UARTMIS, UARTICR: table 3-11.
constexpr std::uint32_t kIntRing = 1 << 0;
constexpr std::uint32_t kIntCts = 1 << 1;
constexpr std::uint32_t kIntDcd = 1 << 2;
constexpr std::uint32_t kIntDsr = 1 << 3;
constexpr std::uint32_t kIntReceive = 1 << 4;
constexpr std::uint32_t kIntTransmit = 1 << 5;
constexpr std::uint32_t kIntTimeout = 1 << 6;
constexpr std::uint32_t kIntOverrun = 1 << 10;
constexpr std::uint32_t kIntBits = 0x7ff;

}  // namespace

bool Pl011::loops() const { return (cr_ & kCrLoop) != 0; }
bool Pl011::has_fifo() const { return (lcr_ & kLcrFifo) != 0; }
std::size_t Pl011::depth() const { return has_fifo() ? kFifoBytes : 1; }

std::size_t Pl011::trigger() const {
  // RXIFLSEL, table 3-10: 1/8, 1/4, 1/2, 3/4, 7/8 full; the rest is reserved.
  constexpr std::size_t kEighths[] = {1, 2, 4, 6, 7, 7, 7, 7};
  return has_fifo() ? kFifoBytes / 8 * kEighths[(ifls_ >> 3) & 7] : 1;
}

std::uint32_t Pl011::modem_lines() const {
  // The other side is always there and ready.
  if (!loops()) return kFrCts | kFrDsr | kFrDcd;
  // LBE of table 3-9: the outputs RTS, DTR, Out1, Out2 are fed to CTS, DSR, DCD, RI.
  std::uint32_t lines = 0;
  if ((cr_ & kCrRts) != 0) lines |= kFrCts;
  if ((cr_ & kCrDtr) != 0) lines |= kFrDsr;
  if ((cr_ & kCrOut1) != 0) lines |= kFrDcd;
  if ((cr_ & kCrOut2) != 0) lines |= kFrRing;
  return lines;
}

std::uint32_t Pl011::flags() const {
  std::uint32_t value = modem_lines() | kFrTransmitEmpty;
  if (received_.empty()) value |= kFrReceiveEmpty;
  if (received_.size() >= depth()) value |= kFrReceiveFull;
  return value;
}

bool Pl011::irq() const { return (raw_ & mask_) != 0; }

std::uint32_t Pl011::read(std::uint64_t offset) {
  if (offset >= kPeriphId0 && offset < kBlockBytes && offset % 4 == 0) {
    return kIdentity[(offset - kPeriphId0) / 4];
  }
  switch (offset) {
    case kDr:
      return read_data();
    case kRsr:
      return errors_;
    case kFr:
      return flags();
    case kIlpr:
      return ilpr_;
    case kIbrd:
      return ibrd_;
    case kFbrd:
      return fbrd_;
    case kLcrH:
      return lcr_;
    case kCr:
      return cr_;
    case kIfls:
      return ifls_;
    case kImsc:
      return mask_;
    case kRis:
      return raw_;
    case kMis:
      return raw_ & mask_;
    case kDmacr:
      return dmacr_;
    default:
      return 0;
  }
}

void Pl011::write(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kDr:
      send(static_cast<std::uint8_t>(value));
      break;
    case kRsr:  // UARTECR: any write clears all errors.
      errors_ = 0;
      break;
    case kIlpr:
      ilpr_ = value & 0xff;
      break;
    case kIbrd:
      ibrd_ = value & 0xffff;
      break;
    case kFbrd:
      fbrd_ = value & 0x3f;
      break;
    case kLcrH:
      write_lcr(value);
      break;
    case kCr:
      write_cr(value);
      break;
    case kIfls:
      ifls_ = value & 0x3f;
      break;
    case kImsc:
      mask_ = value & kIntBits;
      break;
    case kIcr:
      raw_ &= ~value;
      break;
    case kDmacr:
      dmacr_ = value & 0x7;
      break;
    default:  // Read-only and reserved.
      break;
  }
}

std::string Pl011::take_output() { return std::exchange(output_, {}); }

std::uint32_t Pl011::read_data() {
  if (received_.empty()) return 0;
  std::uint32_t value = received_.pop();
  if ((errors_ & kRsrOverrun) != 0) value |= kDrOverrun;
  if (received_.size() < trigger()) raw_ &= ~kIntReceive;
  if (received_.empty()) raw_ &= ~kIntTimeout;
  return value;
}

void Pl011::send(std::uint8_t value) {
  // The FIFO drained through its trigger level.
  raw_ |= kIntTransmit;
  if (loops()) {
    arrive(value);
  } else {
    output_ += static_cast<char>(value);
  }
}

void Pl011::arrive(std::uint8_t byte) {
  if (received_.size() >= depth()) {
    errors_ |= kRsrOverrun;
    raw_ |= kIntOverrun;
    // 3.3.1: what is in the FIFO stays valid. The holding register is as a FIFO of one.
    return;
  }
  // 3.3.2: the bit is cleared "once there is an empty space in the FIFO and a new character can be
  // written to it".
  errors_ &= ~kRsrOverrun;
  received_.push(byte);
  if (received_.size() >= trigger()) raw_ |= kIntReceive;
  if (has_fifo()) raw_ |= kIntTimeout;
}

void Pl011::write_lcr(std::uint32_t value) {
  const bool had_fifo = has_fifo();
  lcr_ = value & 0xff;
  if (had_fifo == has_fifo()) return;
  received_.clear();
  raw_ &= ~(kIntReceive | kIntTimeout);
}

void Pl011::write_cr(std::uint32_t value) {
  const std::uint32_t before = modem_lines();
  cr_ = value & kCrBits;
  const std::uint32_t changed = before ^ modem_lines();
  if ((changed & kFrCts) != 0) raw_ |= kIntCts;
  if ((changed & kFrDsr) != 0) raw_ |= kIntDsr;
  if ((changed & kFrDcd) != 0) raw_ |= kIntDcd;
  if ((changed & kFrRing) != 0) raw_ |= kIntRing;
}

std::size_t Pl011::room() const {
  const bool receives = (cr_ & kCrEnable) != 0 && (cr_ & kCrReceive) != 0 && !loops();
  return receives ? depth() - received_.size() : 0;
}

std::size_t Pl011::feed(std::string_view bytes) {
  const std::size_t count = std::min(room(), bytes.size());
  for (const char byte : bytes.substr(0, count)) arrive(static_cast<std::uint8_t>(byte));
  return count;
}

}  // namespace sealvisor::engine::kvm
