#include "vmm/image/decompress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>

#include "tests/unit/image/compressed.h"

namespace sealvisor::image {
namespace {

using test::compressed;
using test::lz4_legacy;
using test::some_text;

constexpr auto kAll = std::to_array<Compression>(
    {Compression::Gzip, Compression::Xz, Compression::Lzma, Compression::Zstd, Compression::Lz4});
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

struct Unpacked {
  Result<std::uint64_t> count;
  std::string bytes;
};

/// Unpacks `packed`, which comes in pieces of `piece` bytes.
Unpacked unpack(Compression compression, std::string_view packed, std::uint64_t most = kNoLimit,
                std::size_t piece = 100'000) {
  std::string bytes;
  std::size_t at = 0;
  auto count = decompress(
      compression,
      [&](std::span<std::byte> into) -> Result<std::size_t> {
        const std::size_t size = std::min({into.size(), piece, packed.size() - at});
        std::memcpy(into.data(), packed.data() + at, size);
        at += size;
        return size;
      },
      most,
      [&](std::span<const std::byte> some) -> Status {
        bytes.append(reinterpret_cast<const char*>(some.data()), some.size());
        return {};
      });
  return {std::move(count), std::move(bytes)};
}

class Decompress : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(All, Decompress, testing::ValuesIn(kAll),
                         [](const testing::TestParamInfo<Compression>& one) {
                           return std::string(name_of(one.param));
                         });

TEST_P(Decompress, GivesBackWhatWasPacked) {
  // Longer than any buffer on the way; one byte; nothing.
  for (const std::size_t size : {std::size_t{300'000}, std::size_t{1}, std::size_t{0}}) {
    const std::string plain = some_text(size);
    const std::string packed = compressed(GetParam(), plain);
    EXPECT_EQ(compression_of(std::as_bytes(std::span(packed))), GetParam());
    for (const std::size_t piece : {std::size_t{1'000'000}, std::size_t{1}}) {
      const Unpacked whole = unpack(GetParam(), packed, kNoLimit, piece);
      ASSERT_TRUE(whole.count) << whole.count.error().message;
      EXPECT_EQ(whole.count.value(), size);
      EXPECT_EQ(whole.bytes, plain);
    }
  }
}

TEST_P(Decompress, TakesMembersBehindEachOtherAndZeroes) {
  const std::string one = compressed(GetParam(), some_text(5000));
  const Unpacked whole = unpack(GetParam(), one + one + std::string(512, '\0'));
  ASSERT_TRUE(whole.count) << whole.count.error().message;
  EXPECT_EQ(whole.bytes, some_text(5000) + some_text(5000));
}

TEST_P(Decompress, StopsAtTheBound) {
  const std::string packed = compressed(GetParam(), std::string(1'000'000, 'x'));
  const Unpacked bomb = unpack(GetParam(), packed, 999'999);
  ASSERT_FALSE(bomb.count);
  EXPECT_EQ(bomb.count.error().message, "unpacks to more than 999999 bytes");
  EXPECT_LT(bomb.bytes.size(), 1'000'000U);
  EXPECT_TRUE(unpack(GetParam(), packed, 1'000'000).count);
}

TEST_P(Decompress, NoPrefixIsTakenForTheWhole) {
  const std::string packed = compressed(GetParam(), some_text(4000));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    const Unpacked part = unpack(GetParam(), packed.substr(0, size));
    ASSERT_FALSE(part.count) << size;
    ASSERT_EQ(part.count.error().code, ExitCode::Usage);
    ASSERT_NE(part.count.error().message.find("is cut off"), std::string::npos)
        << size << ": " << part.count.error().message;
  }
}

TEST_P(Decompress, NoByteMayBeAnother) {
  const std::string packed = compressed(GetParam(), some_text(4000));
  std::size_t unnoticed = 0;
  for (std::size_t at = 0; at < packed.size(); ++at) {
    std::string other = packed;
    other[at] = static_cast<char>(other[at] ^ 0x10);
    const Unpacked result = unpack(GetParam(), other);
    if (result.count && result.bytes != some_text(4000)) ++unnoticed;
  }
  // .lzma has no checksum, nor have lz4 and zstd unless they are asked for one.
  const bool checked = GetParam() == Compression::Gzip || GetParam() == Compression::Xz;
  EXPECT_TRUE(unnoticed == 0 || !checked) << unnoticed;
}

TEST_P(Decompress, PassesOnWhatSourceAndSinkSay) {
  const std::string packed = compressed(GetParam(), some_text(5000));
  const auto none = [](std::span<std::byte>) -> Result<std::size_t> {
    return Error{ExitCode::HostLacks, "no source"};
  };
  const auto full = [](std::span<const std::byte>) -> Status {
    return Error{ExitCode::HostLacks, "no room"};
  };
  const auto unread = decompress(GetParam(), none, kNoLimit, full);
  ASSERT_FALSE(unread);
  EXPECT_EQ(unread.error().message, "no source");
  std::size_t at = 0;
  const auto unwritten = decompress(
      GetParam(),
      [&](std::span<std::byte> into) -> Result<std::size_t> {
        const std::size_t size = std::min(into.size(), packed.size() - at);
        std::memcpy(into.data(), packed.data() + at, size);
        at += size;
        return size;
      },
      kNoLimit, full);
  ASSERT_FALSE(unwritten);
  EXPECT_EQ(unwritten.error().message, "no room");
}

TEST(DecompressLz4, TakesTheLegacyFormatOfTheKernelsBuild) {
  const std::string plain = some_text(300'000);
  const std::string packed = lz4_legacy(plain, 65'536);
  EXPECT_EQ(compression_of(std::as_bytes(std::span(packed))), Compression::Lz4);
  for (const std::size_t piece : {std::size_t{1'000'000}, std::size_t{3}}) {
    const Unpacked whole = unpack(Compression::Lz4, packed + packed, kNoLimit, piece);
    ASSERT_TRUE(whole.count) << whole.count.error().message;
    EXPECT_EQ(whole.bytes, plain + plain);
  }
  // Where a block ends it may end as a whole; everywhere else it is cut off.
  const Unpacked block = unpack(Compression::Lz4, packed.substr(0, packed.size() - 1));
  ASSERT_FALSE(block.count);
  EXPECT_EQ(block.count.error().message, "is cut off");
}

TEST(DecompressLz4, RefusesLegacyBlocksThatCannotBe) {
  std::string huge = lz4_legacy(some_text(100), 100);
  huge[4 + 3] = '\x7f';
  const Unpacked refused = unpack(Compression::Lz4, huge);
  ASSERT_FALSE(refused.count);
  EXPECT_NE(refused.count.error().message.find("expected at most"), std::string::npos)
      << refused.count.error().message;
  std::string broken = lz4_legacy(std::string(5000, 'x'), 5000);
  broken[4 + 4] = '\xff';
  EXPECT_FALSE(unpack(Compression::Lz4, broken).count);
}

TEST(CompressionOf, KnowsNothingElse) {
  for (const std::string_view head : {"", "\x1f", "BZh9", "ARM",
                                      "\x7f"
                                      "ELF",
                                      "MZ"}) {
    EXPECT_FALSE(compression_of(std::as_bytes(std::span(head)))) << head;
  }
}

}  // namespace
}  // namespace sealvisor::image
