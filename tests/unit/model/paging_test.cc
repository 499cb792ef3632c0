#include "vmm/model/paging.h"

#include <gtest/gtest.h>

namespace sealvisor::model {
namespace {

using arch::Arch;

constexpr std::uint64_t kPg = std::uint64_t{1} << 31;
constexpr std::uint64_t kPae = std::uint64_t{1} << 5;
constexpr std::uint64_t kLa57 = std::uint64_t{1} << 12;
constexpr std::uint64_t kLma = std::uint64_t{1} << 10;
/// T0SZ = T1SZ = 16, TG0 = TG1 = 4 KiB.
constexpr std::uint64_t kTcr48Bits = 16 | 16U << 16 | std::uint64_t{2} << 30;

TEST(Paging, X86RegistersSelectTheFormat) {
  const auto format = format_of(Arch::X86_64, {.first = kPg, .second = kPae, .third = kLma});
  ASSERT_TRUE(format) << format.error().message;
  EXPECT_EQ(arch::arch_of(format.value()), Arch::X86_64);
  EXPECT_EQ(arch::top_level(format.value(), arch::Half::Lower), 4U);
  const auto five = format_of(Arch::X86_64, {.first = kPg, .second = kPae | kLa57, .third = kLma});
  ASSERT_TRUE(five) << five.error().message;
  EXPECT_EQ(arch::top_level(five.value(), arch::Half::Lower), 5U);
}

TEST(Paging, X86RefusesEachRegisterByName) {
  const auto refused = [](const PagingRegisters& registers) {
    const auto format = format_of(Arch::X86_64, registers);
    return format ? "" : format.error().message.substr(0, 28);
  };
  EXPECT_EQ(refused({.first = 0, .second = kPae, .third = kLma}), "x86-64 paging: CR0.PG is 0 (");
  EXPECT_EQ(refused({.first = kPg, .second = 0, .third = kLma}), "x86-64 paging: CR4.PAE is 0 ");
  EXPECT_EQ(refused({.first = kPg, .second = kPae, .third = 0}), "x86-64 paging: EFER.LMA is 0");
}

TEST(Paging, Arm64RegistersSelectTheFormatThatIsUsedOnceTheMmuIsOn) {
  for (const std::uint64_t sctlr : {std::uint64_t{0}, std::uint64_t{1}}) {
    const auto format = format_of(Arch::Arm64, {.first = kTcr48Bits, .second = sctlr});
    ASSERT_TRUE(format) << format.error().message;
    EXPECT_EQ(arch::arch_of(format.value()), Arch::Arm64);
    EXPECT_EQ(arch::top_level(format.value(), arch::Half::Upper), 4U);
  }
}

TEST(Paging, Arm64RefusesWhatIsNotSupportedByName) {
  const auto granule = format_of(Arch::Arm64, {.first = kTcr48Bits | 1U << 14, .second = 1});
  ASSERT_FALSE(granule);
  EXPECT_EQ(granule.error().message,
            "arm64 translation: TCR_EL1.TG0 is 1, expected 0: only the 4 KiB granule is supported");
  const auto endian = format_of(Arch::Arm64, {.first = kTcr48Bits, .second = 1U << 25});
  ASSERT_FALSE(endian);
  EXPECT_EQ(endian.error().message.substr(0, 35), "arm64 translation: SCTLR_EL1.EE is ");
}

TEST(Paging, RootsAreWithoutWhatElseTheRegisterHolds) {
  // No-flush and PCID.
  EXPECT_EQ(root_of(Arch::X86_64, 0x8000'0000'0123'4fff), arch::Frame{0x1234});
  EXPECT_EQ(root_of(Arch::X86_64, 0x000f'0000'0000'0000), arch::Frame{0xf0'0000'0000});
  // ASID and CnP.
  EXPECT_EQ(root_of(Arch::Arm64, 0x000f'0000'0123'4001), arch::Frame{0x1234});
}

}  // namespace
}  // namespace sealvisor::model
