#include "vmm/engine/kvm/device/pl011.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sealvisor::engine::kvm {
namespace {

// Offsets and bits as include/linux/amba/serial.h has them.
constexpr std::uint64_t kDr = 0x00, kRsr = 0x04, kFr = 0x18, kIlpr = 0x20, kIbrd = 0x24,
                        kFbrd = 0x28, kLcrH = 0x2c, kCr = 0x30, kIfls = 0x34, kImsc = 0x38,
                        kRis = 0x3c, kMis = 0x40, kIcr = 0x44, kDmacr = 0x48;
constexpr std::uint32_t kRxe = 0x10, kRxff = 0x40, kTxfe = 0x80, kLines = 0x7;
constexpr std::uint32_t kFen = 0x10;
constexpr std::uint32_t kOn = 0x301, kCrLoop = 0x80, kCrDtr = 0x400, kCrRts = 0x800,
                        kCrOut1 = 0x1000, kCrOut2 = 0x2000;
constexpr std::uint32_t kRi = 1, kCts = 2, kDcd = 4, kDsr = 8, kRxIntr = 0x10, kTxIntr = 0x20,
                        kRt = 0x40, kOe = 0x400;

/// Switched on as Linux does it, with FIFO.
Pl011 running() {
  Pl011 uart;
  uart.write(kLcrH, 0x70);
  uart.write(kCr, kOn);
  return uart;
}

std::string read_all(Pl011& uart) {
  std::string text;
  while ((uart.read(kFr) & kRxe) == 0) text += static_cast<char>(uart.read(kDr));
  return text;
}

TEST(Pl011Test, ResetState) {
  Pl011 uart;
  const std::pair<std::uint64_t, std::uint32_t> kExpected[] = {
      {kDr, 0},     {kRsr, 0},     {kFr, 0x97}, {kIlpr, 0}, {kIbrd, 0}, {kFbrd, 0}, {kLcrH, 0},
      {kCr, 0x300}, {kIfls, 0x12}, {kImsc, 0},  {kRis, 0},  {kMis, 0},  {kIcr, 0},  {kDmacr, 0}};
  for (const auto& [offset, value] : kExpected) EXPECT_EQ(uart.read(offset), value) << offset;
  EXPECT_FALSE(uart.irq());
  EXPECT_EQ(uart.take_output(), "");
}

TEST(Pl011Test, RegistersKeepTheirBits) {
  Pl011 uart;
  const std::pair<std::uint64_t, std::uint32_t> kExpected[] = {
      {kIlpr, 0xff}, {kIbrd, 0xffff}, {kFbrd, 0x3f}, {kLcrH, 0xff},
      {kIfls, 0x3f}, {kImsc, 0x7ff},  {kDmacr, 0x7}, {kCr, 0xff87}};
  for (const auto& [offset, value] : kExpected) {
    uart.write(offset, 0xffffffff);
    EXPECT_EQ(uart.read(offset), value) << offset;
    uart.write(offset, 0);
    EXPECT_EQ(uart.read(offset), 0U) << offset;
  }
}

TEST(Pl011Test, ReadOnlyAndReservedOffsets) {
  Pl011 uart;
  for (const std::uint64_t offset : {kFr, kRis, kMis, std::uint64_t{0xfe0}, std::uint64_t{0xff0}}) {
    const std::uint32_t before = uart.read(offset);
    uart.write(offset, ~before);
    EXPECT_EQ(uart.read(offset), before) << offset;
  }
  for (const std::uint64_t offset :
       {std::uint64_t{0x08}, std::uint64_t{0x1c}, std::uint64_t{0x4c}, std::uint64_t{0xfdc},
        std::uint64_t{0x19}, std::uint64_t{0xfe1}, std::uint64_t{0x1000}, ~std::uint64_t{0},
        ~std::uint64_t{3}}) {
    uart.write(offset, 0xffffffff);
    EXPECT_EQ(uart.read(offset), 0U) << offset;
  }
  EXPECT_EQ(uart.take_output(), "");
}

// drivers/amba/bus.c, amba_read_periphid(), and the table of drivers/tty/serial/amba-pl011.c.
TEST(Pl011Test, LinuxFindsAPl011) {
  Pl011 uart;
  std::uint32_t part = 0;
  std::uint32_t cell = 0;
  for (unsigned i = 0; i < 4; ++i) {
    part |= (uart.read(Pl011::kBlockBytes - 0x20 + 4 * i) & 255) << (i * 8);
    cell |= (uart.read(Pl011::kBlockBytes - 0x10 + 4 * i) & 255) << (i * 8);
  }
  EXPECT_EQ(cell, 0xb105f00dU);  // AMBA_CID
  EXPECT_EQ(part & 0x000fffff, 0x00041011U);
  // get_fifosize_arm(): revision 3 or later has 32 bytes.
  EXPECT_EQ((part >> 20) & 0xf, 3U);
  EXPECT_EQ(Pl011::kFifoBytes, 32U);
}

TEST(Pl011Test, SendsAtOnceEvenBeforeItIsSwitchedOn) {
  Pl011 uart;
  for (const char byte : std::string("hi\0\xff", 4)) {
    EXPECT_EQ(uart.read(kFr) & 0xa8, kTxfe);  // empty, not full, not busy
    uart.write(kDr, static_cast<std::uint8_t>(byte));
  }
  EXPECT_EQ(uart.take_output(), std::string("hi\0\xff", 4));
  uart.write(kCr, 0);
  uart.write(kDr, 0x141);
  EXPECT_EQ(uart.take_output(), "A");
}

TEST(Pl011Test, TransmitInterrupt) {
  Pl011 uart = running();
  uart.write(kImsc, kTxIntr);
  // Nothing crossed the trigger level yet: pl011_start_tx writes bytes first.
  EXPECT_FALSE(uart.irq());
  uart.write(kDr, 'x');
  EXPECT_EQ(uart.read(kRis), kTxIntr);
  EXPECT_EQ(uart.read(kMis), kTxIntr);
  EXPECT_TRUE(uart.irq());
  uart.write(kIcr, kTxIntr);
  EXPECT_FALSE(uart.irq());
  uart.write(kDr, 'y');
  EXPECT_TRUE(uart.irq());
  uart.write(kImsc, 0);
  EXPECT_FALSE(uart.irq());
  EXPECT_EQ(uart.read(kRis), kTxIntr);
  EXPECT_EQ(uart.read(kMis), 0U);
}

TEST(Pl011Test, ReceivesOnlyWhenSwitchedOn) {
  Pl011 uart;
  for (const std::uint32_t control : {0x000U, 0x001U, 0x200U, 0x300U, 0x381U}) {
    uart.write(kCr, control);
    EXPECT_EQ(uart.room(), 0U) << control;
    EXPECT_EQ(uart.feed("x"), 0U) << control;
  }
  uart.write(kCr, 0x201);
  EXPECT_EQ(uart.room(), 1U);
  EXPECT_EQ(uart.feed("xy"), 1U);
  EXPECT_EQ(uart.read(kFr), kLines | kTxfe | kRxff);
  EXPECT_EQ(uart.feed("y"), 0U);
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('x'));
  EXPECT_EQ(uart.read(kFr), kLines | kTxfe | kRxe);
}

TEST(Pl011Test, ReceivesWithFifo) {
  Pl011 uart = running();
  EXPECT_EQ(uart.room(), 32U);
  const std::string text = "0123456789abcdefghijklmnopqrstuvwxyz";
  EXPECT_EQ(uart.feed(text), 32U);
  EXPECT_EQ(uart.read(kFr) & (kRxe | kRxff), kRxff);
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('0'));
  EXPECT_EQ(uart.read(kFr) & (kRxe | kRxff), 0U);
  EXPECT_EQ(uart.feed("wxyz"), 1U);
  EXPECT_EQ(read_all(uart), text.substr(1, 31) + "w");
  EXPECT_EQ(uart.read(kDr), 0U);
  EXPECT_EQ(uart.feed(""), 0U);
}

TEST(Pl011Test, ReceiveInterruptHasATrigger) {
  const std::pair<std::uint32_t, std::size_t> kLevels[] = {{0, 4},  {1, 8},  {2, 16}, {3, 24},
                                                           {4, 28}, {5, 28}, {7, 28}};
  for (const auto& [level, trigger] : kLevels) {
    Pl011 uart = running();
    uart.write(kIfls, level << 3);
    uart.write(kImsc, kRxIntr);
    for (std::size_t size = 1; size <= 32; ++size) {
      ASSERT_EQ(uart.feed("x"), 1U);
      EXPECT_EQ(uart.irq(), size >= trigger) << level << " " << size;
    }
    for (std::size_t size = 32; size > 0; --size) {
      EXPECT_EQ(uart.irq(), size >= trigger) << level << " " << size;
      EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('x'));
    }
    EXPECT_FALSE(uart.irq());
  }
}

TEST(Pl011Test, ReceiveTimeoutTellsOfTheRest) {
  Pl011 uart = running();
  uart.write(kImsc, kRxIntr | kRt);
  ASSERT_EQ(uart.feed("ab"), 2U);
  EXPECT_EQ(uart.read(kMis), kRt);
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('a'));
  EXPECT_TRUE(uart.irq());
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('b'));
  EXPECT_FALSE(uart.irq());
  // Cleared by hand, it comes back with the next byte.
  ASSERT_EQ(uart.feed("c"), 1U);
  uart.write(kIcr, kRt);
  EXPECT_FALSE(uart.irq());
  ASSERT_EQ(uart.feed("d"), 1U);
  EXPECT_TRUE(uart.irq());
  EXPECT_EQ(read_all(uart), "cd");
}

TEST(Pl011Test, ReceiveInterruptWithoutFifo) {
  Pl011 uart;
  uart.write(kCr, kOn);
  uart.write(kImsc, kRxIntr | kRt);
  ASSERT_EQ(uart.feed("x"), 1U);
  EXPECT_EQ(uart.read(kMis), kRxIntr);
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('x'));
  EXPECT_EQ(uart.read(kRis), 0U);
}

TEST(Pl011Test, SwitchingTheFifoEmptiesIt) {
  Pl011 uart = running();
  uart.write(kIfls, 0);
  ASSERT_EQ(uart.feed("abcd"), 4U);
  uart.write(kLcrH, 0x60 | kFen);
  EXPECT_EQ(uart.read(kRis), kRxIntr | kRt);
  uart.write(kLcrH, 0x60);
  EXPECT_EQ(uart.read(kRis), 0U);
  EXPECT_EQ(uart.read(kFr) & kRxe, kRxe);
  EXPECT_EQ(uart.room(), 1U);
}

TEST(Pl011Test, LoopbackReturnsBytes) {
  Pl011 uart = running();
  uart.write(kCr, kOn | kCrLoop);
  uart.write(kDr, 'a');
  uart.write(kDr, 'b');
  EXPECT_EQ(uart.take_output(), "");
  EXPECT_EQ(read_all(uart), "ab");
  EXPECT_EQ(uart.feed("x"), 0U);
}

TEST(Pl011Test, OverrunKeepsTheFifo) {
  Pl011 uart = running();
  uart.write(kCr, kOn | kCrLoop);
  for (std::uint32_t i = 0; i < 33; ++i) uart.write(kDr, 'A' + i);
  EXPECT_EQ(uart.read(kRsr), 8U);
  EXPECT_EQ(uart.read(kRis) & kOe, kOe);
  EXPECT_EQ(uart.read(kDr), 0x800U | 'A');
  // The next byte that finds room clears the state, not the interrupt.
  uart.write(kDr, 'z');
  EXPECT_EQ(uart.read(kRsr), 0U);
  EXPECT_EQ(uart.read(kDr), static_cast<std::uint32_t>('B'));
  EXPECT_EQ(uart.read(kRis) & kOe, kOe);
  uart.write(kIcr, kOe);
  EXPECT_EQ(uart.read(kRis) & kOe, 0U);

  uart.write(kDr, 'y');
  uart.write(kDr, 'x');
  EXPECT_EQ(uart.read(kRsr), 8U);
  uart.write(kRsr, 0);
  EXPECT_EQ(uart.read(kRsr), 0U);
}

TEST(Pl011Test, LoopbackReturnsLinesAndTellsOfChanges) {
  Pl011 uart = running();
  EXPECT_EQ(uart.read(kFr) & 0x107, kLines);
  uart.write(kCr, kOn | kCrLoop);
  EXPECT_EQ(uart.read(kFr) & 0x107, 0U);
  EXPECT_EQ(uart.read(kRis), kCts | kDcd | kDsr);
  const std::pair<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> kCases[] = {
      {kCrRts, {0x1, kCts}},
      {kCrDtr, {0x2, kDsr}},
      {kCrOut1, {0x4, kDcd}},
      {kCrOut2, {0x100, kRi}}};
  for (const auto& [control, expected] : kCases) {
    uart.write(kCr, kOn | kCrLoop);
    uart.write(kIcr, 0x7ff);
    uart.write(kCr, kOn | kCrLoop | control);
    EXPECT_EQ(uart.read(kFr) & 0x107, expected.first) << control;
    EXPECT_EQ(uart.read(kRis), expected.second) << control;
  }
}

// drivers/tty/serial/amba-pl011.c: pl011_hwinit, pl011_startup, pl011_enable_interrupts, then a
// line typed and echoed.
TEST(Pl011Test, LinuxStartsIt) {
  Pl011 uart;
  uart.write(kIcr, 0x7d0);
  EXPECT_EQ(uart.read(kImsc), 0U);
  uart.write(kImsc, kRxIntr | kRt);
  uart.write(kIfls, 0x12);
  uart.write(kCr, 0xf01);
  uart.write(kIcr, kRt | kRxIntr);
  EXPECT_NE(uart.read(kFr) & kRxe, 0U);
  uart.write(kIbrd, 13);
  uart.write(kFbrd, 1);
  uart.write(kLcrH, 0x70);
  EXPECT_FALSE(uart.irq());

  ASSERT_EQ(uart.feed("ls\n"), 3U);
  ASSERT_TRUE(uart.irq());
  EXPECT_EQ(uart.read(kRis) & (kRxIntr | kRt), kRt);
  const std::string line = read_all(uart);
  EXPECT_EQ(line, "ls\n");
  EXPECT_FALSE(uart.irq());
  for (const char byte : line) uart.write(kDr, static_cast<std::uint8_t>(byte));
  EXPECT_EQ(uart.take_output(), "ls\n");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
