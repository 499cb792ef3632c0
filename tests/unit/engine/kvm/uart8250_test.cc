#include "vmm/engine/kvm/device/uart8250.h"

#include <gtest/gtest.h>

#include <string>

namespace sealvisor::engine::kvm {
namespace {

// Registers and bits as include/uapi/linux/serial_reg.h has them.
constexpr std::uint16_t kTx = 0, kRx = 0, kDll = 0, kDlm = 1, kIer = 1, kIir = 2, kFcr = 2,
                        kEfr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;
constexpr std::uint8_t kRdi = 1, kThri = 2, kRlsi = 4, kMsi = 8;
constexpr std::uint8_t kFifo = 1, kClearRx = 2;
constexpr std::uint8_t kDtr = 1, kRts = 2, kOut1 = 4, kOut2 = 8, kLoop = 0x10;

std::string read_all(Uart8250& uart) {
  std::string text;
  while ((uart.read(kLsr) & 1) != 0) text += static_cast<char>(uart.read(kRx));
  return text;
}

TEST(Uart8250Test, ResetState) {
  Uart8250 uart;
  EXPECT_EQ(uart.read(kIer), 0);
  EXPECT_EQ(uart.read(kIir), 1);
  EXPECT_EQ(uart.read(kLcr), 0);
  EXPECT_EQ(uart.read(kMcr), 0);
  EXPECT_EQ(uart.read(kLsr), 0x60);
  EXPECT_EQ(uart.read(kMsr), 0xb0);
  EXPECT_EQ(uart.read(kScr), 0);
  EXPECT_EQ(uart.read(kRx), 0);
  EXPECT_EQ(uart.take_output(), "");
  EXPECT_FALSE(uart.irq());
}

TEST(Uart8250Test, RegistersKeepTheirBits) {
  Uart8250 uart;
  for (const std::uint16_t offset : {kIer, kLcr, kMcr, kScr}) uart.write(offset, 0x7f);
  EXPECT_EQ(uart.read(kIer), 0x0f);
  EXPECT_EQ(uart.read(kLcr), 0x7f);
  EXPECT_EQ(uart.read(kMcr), 0x1f);
  EXPECT_EQ(uart.read(kScr), 0x7f);
  // Status registers can't be written.
  Uart8250 other;
  other.write(kLsr, 0xff);
  other.write(kMsr, 0xff);
  EXPECT_EQ(other.read(kLsr), 0x60);
  EXPECT_EQ(other.read(kMsr), 0xb0);
  // Offsets wrap.
  other.write(kScr + 8, 0x5a);
  EXPECT_EQ(other.read(kScr), 0x5a);
  EXPECT_EQ(other.read(kScr + 16), 0x5a);
}

TEST(Uart8250Test, DivisorHidesDataAndInterruptEnable) {
  Uart8250 uart;
  uart.write(kIer, kRdi);
  uart.write(kLcr, 0x83);
  uart.write(kDll, 0x0c);
  uart.write(kDlm, 0x34);
  EXPECT_EQ(uart.read(kDll), 0x0c);
  EXPECT_EQ(uart.read(kDlm), 0x34);
  EXPECT_EQ(uart.take_output(), "");
  uart.write(kLcr, 0x03);
  EXPECT_EQ(uart.read(kIer), kRdi);
  EXPECT_EQ(uart.read(kRx), 0);
}

TEST(Uart8250Test, SendsAtOnce) {
  Uart8250 uart;
  for (const char byte : std::string("hi\0\xff", 4)) {
    uart.write(kTx, static_cast<std::uint8_t>(byte));
    EXPECT_EQ(uart.read(kLsr), 0x60);
  }
  EXPECT_EQ(uart.take_output(), std::string("hi\0\xff", 4));
  EXPECT_EQ(uart.take_output(), "");
}

TEST(Uart8250Test, TransmitterInterrupt) {
  Uart8250 uart;
  uart.write(kMcr, kOut2);
  // serial8250_do_startup: it must come as soon as it is enabled (else UART_BUG_TXEN).
  uart.write(kIer, kThri);
  EXPECT_TRUE(uart.irq());
  EXPECT_EQ(uart.read(kIir), 0x2);
  // Reading IIR acknowledges it.
  EXPECT_FALSE(uart.irq());
  EXPECT_EQ(uart.read(kIir), 0x1);
  // It comes back with each byte that was sent.
  uart.write(kTx, 'x');
  EXPECT_TRUE(uart.irq());
  EXPECT_EQ(uart.read(kIir), 0x2);
  // And each time that it is enabled anew (else UART_BUG_THRE).
  uart.write(kIer, 0);
  EXPECT_FALSE(uart.irq());
  uart.write(kIer, kThri);
  EXPECT_EQ(uart.read(kIir), 0x2);
  // Enabling what is enabled does nothing.
  uart.write(kIer, kThri | kRdi);
  EXPECT_FALSE(uart.irq());
}

TEST(Uart8250Test, ReceivesWithoutFifo) {
  Uart8250 uart;
  EXPECT_EQ(uart.room(), 1U);
  EXPECT_EQ(uart.feed("ab"), 1U);
  EXPECT_EQ(uart.room(), 0U);
  EXPECT_EQ(uart.feed("b"), 0U);
  EXPECT_EQ(uart.read(kLsr), 0x61);
  EXPECT_EQ(uart.read(kRx), 'a');
  EXPECT_EQ(uart.read(kLsr), 0x60);
  EXPECT_EQ(uart.feed("b"), 1U);
  EXPECT_EQ(uart.read(kRx), 'b');
}

TEST(Uart8250Test, ReceivesWithFifo) {
  Uart8250 uart;
  uart.write(kFcr, kFifo);
  EXPECT_EQ(uart.room(), 16U);
  EXPECT_EQ(uart.feed("0123456789abcdefghij"), 16U);
  EXPECT_EQ(uart.feed("ghij"), 0U);
  EXPECT_EQ(uart.read(kRx), '0');
  EXPECT_EQ(uart.feed("ghij"), 1U);
  EXPECT_EQ(read_all(uart), "123456789abcdefg");
  EXPECT_EQ(uart.feed(""), 0U);
  EXPECT_EQ(uart.feed("ghij"), 4U);
  EXPECT_EQ(read_all(uart), "ghij");
}

TEST(Uart8250Test, ReceiveInterruptHasATriggerAndATimeout) {
  struct Case {
    std::uint8_t fcr;
    std::size_t trigger;
  };
  for (const Case& c : {Case{0x01, 1}, Case{0x41, 4}, Case{0x81, 8}, Case{0xc1, 14}}) {
    Uart8250 uart;
    uart.write(kMcr, kOut2);
    uart.write(kFcr, c.fcr);
    uart.write(kIer, kRdi);
    EXPECT_FALSE(uart.irq());
    for (std::size_t size = 1; size <= 16; ++size) {
      ASSERT_EQ(uart.feed("x"), 1U);
      EXPECT_TRUE(uart.irq());
      EXPECT_EQ(uart.read(kIir), size < c.trigger ? 0xcc : 0xc4) << c.trigger << " " << size;
    }
    EXPECT_EQ(read_all(uart).size(), 16U);
    EXPECT_FALSE(uart.irq());
    EXPECT_EQ(uart.read(kIir), 0xc1);
  }
}

TEST(Uart8250Test, ReceiveInterruptWithoutFifo) {
  Uart8250 uart;
  uart.write(kMcr, kOut2);
  uart.write(kIer, kRdi);
  ASSERT_EQ(uart.feed("x"), 1U);
  EXPECT_EQ(uart.read(kIir), 0x04);
  EXPECT_TRUE(uart.irq());
  uart.write(kIer, 0);
  EXPECT_FALSE(uart.irq());
}

TEST(Uart8250Test, FifoControl) {
  Uart8250 uart;
  // Bits other than the enable count only with it.
  uart.write(kFcr, 0xc0);
  EXPECT_EQ(uart.read(kIir), 0x01);
  uart.write(kFcr, kFifo);
  EXPECT_EQ(uart.read(kIir), 0xc1);
  ASSERT_EQ(uart.feed("abc"), 3U);
  uart.write(kFcr, kFifo);
  EXPECT_EQ(read_all(uart), "abc");
  ASSERT_EQ(uart.feed("abc"), 3U);
  uart.write(kFcr, kFifo | kClearRx);
  EXPECT_EQ(read_all(uart), "");
  ASSERT_EQ(uart.feed("abc"), 3U);
  uart.write(kFcr, 0);
  EXPECT_EQ(read_all(uart), "");
  EXPECT_EQ(uart.room(), 1U);
}

TEST(Uart8250Test, InterruptsHavePriorities) {
  Uart8250 uart;
  uart.write(kFcr, kFifo);
  uart.write(kMcr, kLoop);
  for (int i = 0; i < 17; ++i) uart.write(kTx, 'x');
  uart.write(kMcr, kOut2);
  uart.write(kIer, kRdi | kThri | kRlsi | kMsi);
  EXPECT_EQ(uart.read(kIir), 0xc6);  // overrun
  EXPECT_EQ(uart.read(kLsr), 0x63);
  EXPECT_EQ(uart.read(kIir), 0xc4);  // received
  EXPECT_EQ(read_all(uart), std::string(16, 'x'));
  EXPECT_EQ(uart.read(kIir), 0xc2);  // transmitter empty
  EXPECT_TRUE(uart.irq());
  EXPECT_EQ(uart.read(kIir), 0xc0);  // modem lines
  EXPECT_TRUE(uart.irq());
  EXPECT_NE(uart.read(kMsr) & 0x0f, 0);
  EXPECT_EQ(uart.read(kIir), 0xc1);
  EXPECT_FALSE(uart.irq());
}

TEST(Uart8250Test, Out2GatesTheInterrupt) {
  Uart8250 uart;
  uart.write(kIer, kThri);
  EXPECT_FALSE(uart.irq());
  uart.write(kMcr, kOut2);
  EXPECT_TRUE(uart.irq());
  uart.write(kMcr, kOut2 | kLoop);
  EXPECT_FALSE(uart.irq());
  uart.write(kMcr, kDtr | kRts | kOut2);
  EXPECT_TRUE(uart.irq());
}

TEST(Uart8250Test, LoopbackReturnsBytesAndLines) {
  Uart8250 uart;
  uart.write(kFcr, kFifo);
  uart.write(kMcr, kLoop);
  EXPECT_EQ(uart.room(), 0U);
  EXPECT_EQ(uart.feed("x"), 0U);
  uart.write(kTx, 'a');
  uart.write(kTx, 'b');
  EXPECT_EQ(uart.take_output(), "");
  EXPECT_EQ(read_all(uart), "ab");

  EXPECT_EQ(uart.read(kMsr), 0x0b);  // CTS, DSR, DCD went away
  uart.write(kMcr, kLoop | kRts);
  EXPECT_EQ(uart.read(kMsr), 0x11);
  uart.write(kMcr, kLoop | kDtr);
  EXPECT_EQ(uart.read(kMsr), 0x23);
  uart.write(kMcr, kLoop | kOut1);
  EXPECT_EQ(uart.read(kMsr), 0x42);  // the start of a ring is no change
  uart.write(kMcr, kLoop | kOut2);
  EXPECT_EQ(uart.read(kMsr), 0x8c);  // its end is
  EXPECT_EQ(uart.read(kMsr), 0x80);
}

TEST(Uart8250Test, OverrunWithoutFifoKeepsTheNewByte) {
  Uart8250 uart;
  uart.write(kMcr, kLoop);
  uart.write(kTx, 'a');
  uart.write(kTx, 'b');
  EXPECT_EQ(uart.read(kLsr), 0x63);
  EXPECT_EQ(uart.read(kLsr), 0x61);
  EXPECT_EQ(uart.read(kRx), 'b');
}

// drivers/tty/serial/8250/8250_port.c, autoconfig(): what it does and what it expects.
TEST(Uart8250Test, LinuxFindsA16550A) {
  Uart8250 uart;
  const std::uint8_t ier = uart.read(kIer);
  uart.write(kIer, 0);
  ASSERT_EQ(uart.read(kIer) & 0x0f, 0);
  uart.write(kIer, 0x0f);
  ASSERT_EQ(uart.read(kIer) & 0x0f, 0x0f);
  uart.write(kIer, ier);

  const std::uint8_t mcr = uart.read(kMcr);
  const std::uint8_t lcr = uart.read(kLcr);
  uart.write(kMcr, kLoop | kOut2 | kRts);
  ASSERT_EQ(uart.read(kMsr) & 0xf0, 0x90);  // DCD, CTS
  uart.write(kMcr, mcr);

  uart.write(kLcr, 0xbf);
  uart.write(kEfr, 0);
  uart.write(kLcr, 0);
  uart.write(kFcr, kFifo);
  ASSERT_EQ(uart.read(kIir) & 0xc0, 0xc0);  // 16550A or later
  uart.write(kMcr, mcr);
  uart.write(kLcr, lcr);
  EXPECT_EQ(uart.take_output(), "");
}

// autoconfig_16550a(), with CONFIG_SERIAL_8250_16550A_VARIANTS: none of the variants answers.
TEST(Uart8250Test, LinuxFindsNoVariant) {
  Uart8250 uart;
  uart.write(kFcr, kFifo);
  // No EFR, be it with DLAB set or behind the magic value.
  for (const std::uint8_t value : {std::uint8_t{0x80}, std::uint8_t{0xbf}}) {
    uart.write(kLcr, value);
    EXPECT_NE(uart.read(kEfr), 0);
  }
  // No second bank: what is at EXCR1's place does not follow the loop bit.
  uart.write(kLcr, 0xe0);
  const std::uint8_t before = uart.read(2);
  uart.write(kLcr, 0);
  uart.write(kMcr, kLoop);
  uart.write(kLcr, 0xe0);
  EXPECT_EQ(uart.read(2), before);
  uart.write(kLcr, 0);
  uart.write(kMcr, 0);
  // No 64-byte FIFO, with or without DLAB (TI16750).
  for (const std::uint8_t value : {std::uint8_t{0x00}, std::uint8_t{0x80}}) {
    uart.write(kLcr, value);
    uart.write(kFcr, kFifo | 0x20);
    EXPECT_EQ(uart.read(kIir) & 0xe0, 0xc0);
    uart.write(kFcr, kFifo);
  }
  uart.write(kLcr, 0);
  // No unit enable bit in IER (XScale).
  uart.write(kIer, 0x40);
  EXPECT_EQ(uart.read(kIer), 0);
  // size_fifo(): 16 bytes.
  uart.write(kFcr, kFifo | kClearRx | 4);
  uart.write(kMcr, kLoop);
  for (int i = 0; i < 256; ++i) uart.write(kTx, static_cast<std::uint8_t>(i));
  EXPECT_EQ(read_all(uart).size(), 16U);
  EXPECT_EQ(uart.take_output(), "");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
