#include "vmm/engine/kvm/serial_line.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <gtest/gtest.h>

#include "vmm/engine/kvm/device/pl011.h"
#include "vmm/engine/kvm/device/uart8250.h"

namespace sealvisor::engine::kvm {
namespace {

class NoLines final : public InterruptLines {
 public:
  Status set_irq(std::uint32_t /*line*/, bool /*level*/) override { return {}; }
};

/// A line whose guest does nothing, until the test reads for it: both UARTs have their data
/// register at 0.
template <typename Uart>
class SerialLines : public testing::Test {
 protected:
  void SetUp() override {
    // UARTCR: UARTEN and RXE. Before that a PL011 takes nothing.
    if constexpr (std::is_same_v<Uart, Pl011>) line.uart().write(0x30, 0x201);
  }
  char read() {
    const auto byte = static_cast<char>(line.uart().read(0));
    EXPECT_TRUE(line.settle(lines).ok());
    return byte;
  }
  NoLines lines;
  SerialLine<Uart> line{1};
};
using Uarts = testing::Types<Uart8250, Pl011>;
TYPED_TEST_SUITE(SerialLines, Uarts);

TYPED_TEST(SerialLines, TakesSoMuchAndNoMoreUntilTheGuestReads) {
  std::string typed;
  // The UART takes the first of it, and then nothing before the guest reads.
  while (this->line.room() > 0) {
    const std::string part(this->line.room(), static_cast<char>('a' + typed.size() % 26));
    ASSERT_TRUE(this->line.type(this->lines, part).ok());
    typed += part;
    ASSERT_LT(typed.size(), std::size_t{1} << 16) << "it has no bound";
  }
  EXPECT_GE(typed.size(), 4096U);
  std::string got;
  got += this->read();
  EXPECT_EQ(this->line.room(), 1U);
  ASSERT_TRUE(this->line.type(this->lines, "!").ok());
  typed += "!";
  EXPECT_EQ(this->line.room(), 0U);
  while (got.size() < typed.size()) got += this->read();
  EXPECT_TRUE(got == typed) << "nothing is lost, and all is in order";
}

}  // namespace
}  // namespace sealvisor::engine::kvm
