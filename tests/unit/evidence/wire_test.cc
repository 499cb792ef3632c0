#include "vmm/evidence/wire.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::test {
namespace {

using evidence::WireReader;
using evidence::WireWriter;

constexpr std::uint64_t kNumbers[] = {0,      1,          127,        128,        300,       0x3FFF,
                                      0x4000, UINT32_MAX, 1ULL << 62, 1ULL << 63, UINT64_MAX};

TEST(Wire, NumbersComeBack) {
  std::vector<std::byte> bytes;
  WireWriter out(bytes);
  for (const std::uint64_t number : kNumbers) {
    out.number(number);
    out.word(number);
    out.text(std::to_string(number));
  }
  WireReader in(bytes);
  for (const std::uint64_t number : kNumbers) {
    EXPECT_EQ(in.number(), number);
    EXPECT_EQ(in.word(), number);
    EXPECT_EQ(in.text(100), std::to_string(number));
  }
  EXPECT_TRUE(in.good());
  EXPECT_TRUE(in.empty());
}

TEST(Wire, DifferencesFoldSmall) {
  EXPECT_EQ(evidence::folded(0), 0U);
  EXPECT_EQ(evidence::folded(1), 2U);
  EXPECT_EQ(evidence::folded(std::uint64_t{0} - 1), 1U);
  for (const std::uint64_t number : kNumbers) {
    EXPECT_EQ(evidence::unfolded(evidence::folded(number)), number);
  }
}

TEST(Wire, NothingIsReadPastTheEnd) {
  std::vector<std::byte> bytes;
  WireWriter out(bytes);
  out.number(UINT64_MAX);
  out.word(1);
  out.text("text");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    WireReader in{std::span(bytes).first(size)};
    in.number();
    in.word();
    in.text(100);
    EXPECT_FALSE(in.good()) << size;
    EXPECT_EQ(in.number(), 0U);
  }
}

TEST(Wire, ANumberHasOneFormOnly) {
  for (const std::vector<std::byte>& bytes :
       {std::vector{std::byte{0x80}, std::byte{0}}, std::vector(9, std::byte{0xFF}),
        std::vector(10, std::byte{0xFF}), std::vector(11, std::byte{0x80})}) {
    WireReader in(bytes);
    EXPECT_EQ(in.number(), 0U);
    EXPECT_FALSE(in.good());
  }
}

TEST(Wire, ATextThatIsTooLongIsRefused) {
  std::vector<std::byte> bytes;
  WireWriter(bytes).text("five!");
  WireReader in(bytes);
  EXPECT_EQ(in.text(4), "");
  EXPECT_FALSE(in.good());
}

}  // namespace
}  // namespace sealvisor::test
