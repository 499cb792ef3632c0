#include <gtest/gtest.h>

#include "guest/agent/store_class.h"
#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {
namespace {

TEST(StorePattern, NoByteMakesAnEntryValidOrStaysZero) {
  for (std::uint32_t i = 0; i < 300; ++i) {
    for (std::uint32_t k = 0; k < 64; ++k) {
      const std::uint8_t byte = protocol::store_pattern_byte(i, k);
      EXPECT_EQ(byte & 1, 0) << i << " " << k;
      EXPECT_NE(byte, 0) << i << " " << k;
    }
  }
}

TEST(StorePattern, EachStoreToOnePlaceChangesEveryByte) {
  for (std::uint32_t i = 0; i < 300; ++i) {
    for (std::uint32_t k = 0; k < 64; ++k) {
      EXPECT_NE(protocol::store_pattern_byte(i, k), protocol::store_pattern_byte(i + 1, k));
    }
  }
}

TEST(StorePattern, NumbersAreTheBytesInMemory) {
  EXPECT_EQ(pattern<std::uint8_t>(0), 0x02);
  EXPECT_EQ(pattern<std::uint16_t>(0), 0x0402);
  EXPECT_EQ(pattern<std::uint64_t>(3), 0x16141210'0e0c0a08U);
  const PatternBytes bytes(3);
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.bytes, sizeof value);
  EXPECT_EQ(value, pattern<std::uint64_t>(3));
}

TEST(StoreRun, PlacesFollowTheStep) {
  const StoreRun down{0x1000, -8, 3};
  EXPECT_EQ(down.place(0), reinterpret_cast<void*>(0x1000));
  EXPECT_EQ(down.place(2), reinterpret_cast<void*>(0xff0));
}

}  // namespace
}  // namespace sealvisor::agent
