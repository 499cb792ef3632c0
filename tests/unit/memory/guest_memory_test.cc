#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <limits>
#include <vector>

namespace sealvisor::memory {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kArmBase = std::uint64_t{1} << 30;

/// The guest's side: the same file, writable.
Mapping writable(const GuestMemory& memory) {
  return Mapping::map(memory.fd(), memory.size(), PROT_READ | PROT_WRITE, "test").value();
}

TEST(GuestMemory, RefusesSizesThatTheMachinesCantHave) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, kMiB, 63 * kMiB, 65 * kMiB, 2050 * kMiB,
                                    std::numeric_limits<std::uint64_t>::max()}) {
    const auto memory = GuestMemory::create(arch::Arch::X86_64, bytes);
    ASSERT_FALSE(memory.ok()) << bytes;
    EXPECT_EQ(memory.error().code, ExitCode::Usage);
    EXPECT_NE(memory.error().message.find(std::to_string(bytes)), std::string::npos);
  }
}

TEST(GuestMemory, BeginsWhereTheMachineBegins) {
  const auto x86 = GuestMemory::create(arch::Arch::X86_64, 64 * kMiB);
  const auto arm = GuestMemory::create(arch::Arch::Arm64, 64 * kMiB);
  ASSERT_TRUE(x86 && arm);
  EXPECT_EQ(x86.value().read_u64(arch::Gpa{0}), 0U);
  EXPECT_EQ(arm.value().read_u64(arch::Gpa{0}), std::nullopt);
  EXPECT_EQ(arm.value().read_u64(arch::Gpa{kArmBase - 8}), std::nullopt);
  EXPECT_EQ(arm.value().read_u64(arch::Gpa{kArmBase}), 0U);
  EXPECT_EQ(arm.value().read_u64(arch::Gpa{kArmBase + 64 * kMiB - 8}), 0U);
  EXPECT_EQ(arm.value().read_u64(arch::Gpa{kArmBase + 64 * kMiB}), std::nullopt);
}

TEST(GuestMemory, SeesWhatTheGuestWrites) {
  const auto memory = GuestMemory::create(arch::Arch::Arm64, 64 * kMiB);
  ASSERT_TRUE(memory);
  const Mapping guest = writable(memory.value());
  const std::uint64_t value = 0x1122334455667788;
  std::memcpy(guest.data() + 4096 + 16, &value, 8);
  EXPECT_EQ(memory.value().read_u64(arch::Gpa{kArmBase + 4096 + 16}), value);
  arch::Table table{};
  ASSERT_TRUE(memory.value().read_table(arch::Frame{(kArmBase >> 12) + 1}, table));
  EXPECT_EQ(table[2], value);
  EXPECT_EQ(table[1], 0U);
  // A frame number whose address does not fit 64 bits is no other frame.
  EXPECT_FALSE(memory.value().read_table(
      arch::Frame{(std::uint64_t{1} << 52) + (kArmBase >> 12) + 1}, table));
  EXPECT_TRUE(memory.value().read(arch::Gpa{kArmBase}, {}));
}

/// As its own loop says, and as that of any other reader does.
TEST(GuestMemory, ComparesATableInTheBitsThatCount) {
  const auto memory = GuestMemory::create(arch::Arch::X86_64, 64 * kMiB);
  ASSERT_TRUE(memory);
  const Mapping guest = writable(memory.value());
  const std::uint64_t value = 0x7;
  std::memcpy(guest.data() + 4096 + 511 * 8, &value, 8);
  const auto& reader = static_cast<const arch::TableReader&>(memory.value());
  const auto holds = [&](arch::Frame frame, const arch::Table& known, std::uint64_t bits) {
    const bool own = reader.holds(frame, known, bits);
    EXPECT_EQ(own, reader.arch::TableReader::holds(frame, known, bits));
    return own;
  };
  constexpr std::uint64_t kAll = ~std::uint64_t{0};
  arch::Table known{};
  known[511] = 0x67;
  EXPECT_FALSE(holds(arch::Frame{1}, known, kAll));
  EXPECT_TRUE(holds(arch::Frame{1}, known, ~std::uint64_t{0x60}));
  EXPECT_FALSE(holds(arch::Frame{1}, known, ~std::uint64_t{0x20}));
  known[511] = 0x7;
  EXPECT_TRUE(holds(arch::Frame{1}, known, kAll));
  known[0] = 1;
  EXPECT_FALSE(holds(arch::Frame{1}, known, kAll));
  EXPECT_TRUE(holds(arch::Frame{64 * kMiB / 4096 - 1}, {}, kAll));
  EXPECT_FALSE(holds(arch::Frame{64 * kMiB / 4096}, {}, kAll)) << "outside of RAM";
}

TEST(GuestMemory, CopiesAtAnyAlignment) {
  const auto memory = GuestMemory::create(arch::Arch::X86_64, 64 * kMiB);
  ASSERT_TRUE(memory);
  const Mapping guest = writable(memory.value());
  for (std::size_t i = 0; i < 64; ++i) guest.data()[8190 - 32 + i] = std::byte(i + 1);
  for (std::size_t start = 0; start < 17; ++start) {
    for (std::size_t length = 1; length < 40; ++length) {
      std::vector<std::byte> out(length);
      ASSERT_TRUE(memory.value().read(arch::Gpa{8190 - 32 + start}, out));
      for (std::size_t i = 0; i < length; ++i) ASSERT_EQ(out[i], std::byte(start + i + 1));
    }
  }
}

TEST(GuestMemory, RefusesRangesThatLeaveRamOrWrap) {
  const auto memory = GuestMemory::create(arch::Arch::X86_64, 64 * kMiB);
  ASSERT_TRUE(memory);
  const GuestMemory& ram = memory.value();
  std::array<std::byte, 16> out{};
  EXPECT_TRUE(ram.read(arch::Gpa{64 * kMiB - 16}, out));
  EXPECT_FALSE(ram.read(arch::Gpa{64 * kMiB - 15}, out));
  EXPECT_FALSE(ram.read(arch::Gpa{64 * kMiB}, out));
  EXPECT_FALSE(ram.read(arch::Gpa{~std::uint64_t{0} - 7}, out));
  EXPECT_FALSE(ram.read(arch::Gpa{~std::uint64_t{0}}, out));
  EXPECT_EQ(ram.read_u64(arch::Gpa{64 * kMiB - 8}), 0U);
  EXPECT_EQ(ram.read_u64(arch::Gpa{64 * kMiB - 7}), std::nullopt);
  EXPECT_EQ(ram.read_u64(arch::Gpa{4}), std::nullopt) << "not aligned";
  arch::Table table{};
  EXPECT_FALSE(ram.read_table(arch::Frame{64 * kMiB >> 12}, table));
  EXPECT_FALSE(ram.read_table(arch::Frame{~std::uint64_t{0}}, table));
}

}  // namespace
}  // namespace sealvisor::memory
