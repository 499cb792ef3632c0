#include "arch/arm64/id_registers.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <tuple>

namespace sealvisor::arch::arm64 {
namespace {

/// All hidden fields of `reg` taken out of `value`.
std::uint64_t filtered(IdRegister reg, std::uint64_t value) {
  for (const IdField& field : hidden_fields()) {
    if (field.reg == reg) value = without(field, value);
  }
  return value;
}

const IdField& field_named(std::string_view name) {
  for (const IdField& field : hidden_fields()) {
    if (field.name == name) return field;
  }
  ADD_FAILURE() << "no field " << name;
  return hidden_fields().front();
}

TEST(IdRegisters, AreFilteredToWhatAGuestMaySee) {
  constexpr std::uint64_t kAll = ~std::uint64_t{0};
  // Every field at its most, so what is left names what is not hidden.
  EXPECT_EQ(filtered(kMmfr1, kAll), 0xFFFF'FFFF'FFFF'FFF0U);  // HAFDBS 3:0
  EXPECT_EQ(filtered(kMmfr3, kAll), 0xFFFF'FFF0'FFFF'F0FFU);  // D128 35:32, S1PIE 11:8
  EXPECT_EQ(filtered(kMmfr2, kAll), 0xFFFF'FFFF'F0FF'FFFFU);  // NV 27:24
  EXPECT_EQ(filtered(kPfr0, kAll), 0xFFFF'FFF0'FFFF'FFFFU);   // SVE 35:32
  // GCS 47:44, SME 27:24, MTE 11:8
  EXPECT_EQ(filtered(kPfr1, kAll), 0xFFFF'0FFF'F0FF'F0FFU);
  // TraceBuffer 47:44, PMSVer 35:32, PMUVer 11:8
  EXPECT_EQ(filtered(kDfr0, kAll), 0xFFFF'0FF0'FFFF'F0FFU);
  EXPECT_EQ(filtered(kIsar0, kAll), 0x0FFF'FFFF'FFFF'FFFFU);  // RNDR 63:60
  EXPECT_EQ(filtered(kIsar1, kAll), 0x0FFF'FFFF'FFFF'FFFFU);  // LS64 63:60
  EXPECT_EQ(filtered(kIsar2, kAll), 0xFFFF'FFFF'FFF0'FFFFU);  // MOPS 19:16
  for (const IdRegister reg :
       {kPfr0, kPfr1, kDfr0, kIsar0, kIsar1, kIsar2, kMmfr0, kMmfr1, kMmfr2, kMmfr3}) {
    EXPECT_EQ(filtered(reg, 0), 0U);
  }
  EXPECT_EQ(filtered(IdRegister{6, 3}, kAll), kAll);
}

TEST(IdRegisters, KeepThe4KibGranule) {
  // TGRAN4: 0 supported, 1 with 52 bits, 15 not supported.
  const IdField& granule = field_named("ID_AA64MMFR0_EL1.TGRAN4");
  EXPECT_TRUE(offers(granule, 0x1000'1125));
  EXPECT_EQ(without(granule, 0x1000'1125), 0x1125U);
  EXPECT_FALSE(offers(granule, 0x1125));
  EXPECT_FALSE(offers(granule, 0xF000'1125));
  EXPECT_EQ(without(granule, 0xF000'1125), 0xF000'1125U);
  EXPECT_FALSE(offers(granule, 0x8000'0000));
  EXPECT_TRUE(offers(granule, 0x7000'0000));
}

TEST(IdRegisters, OfAKnownCpuAreLeftAsTheyAre) {
  // Cortex-A72 Technical Reference Manual: ID_AA64MMFR0_EL1 0x1124, PFR0 0x2222, ISAR0 0x11120; no
  // hardware access flag. PMUVer 1 is what is left to hide.
  EXPECT_EQ(filtered(kMmfr0, 0x1124), 0x1124U);
  EXPECT_EQ(filtered(kMmfr1, 0), 0U);
  EXPECT_EQ(filtered(kPfr0, 0x2222), 0x2222U);
  EXPECT_EQ(filtered(kIsar0, 0x1'1120), 0x1'1120U);
  EXPECT_EQ(filtered(kDfr0, 0x1030'5106), 0x1030'5006U);
}

TEST(IdRegisters, TellWhatIsOffered) {
  const IdField& walker = field_named("ID_AA64MMFR1_EL1.HAFDBS");
  EXPECT_FALSE(offers(walker, 0x1021'2120));
  EXPECT_TRUE(offers(walker, 0x1021'2121));  // access flag
  EXPECT_TRUE(offers(walker, 0x1021'2122));  // and dirty state
  EXPECT_EQ(walker.in(0x1021'2122), 2U);
  EXPECT_EQ(without(walker, 0x1021'2122), 0x1021'2120U);
  const IdField& counters = field_named("ID_AA64DFR0_EL1.PMUVer");
  EXPECT_TRUE(offers(counters, 0xF00));  // 15: a PMU of another kind
}

TEST(IdRegisters, HaveEachFieldOnceWithAName) {
  std::set<std::string> names;
  std::set<std::tuple<int, int, unsigned>> places;
  for (const IdField& field : hidden_fields()) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_TRUE(places.insert({field.reg.crm, field.reg.op2, field.shift}).second) << field.name;
    EXPECT_LE(field.shift, 60U) << field.name;
    EXPECT_EQ(field.shift % 4, 0U) << field.name;
    EXPECT_FALSE(std::string_view(field.what).empty()) << field.name;
  }
  EXPECT_EQ(names.size(), 15U);
}

TEST(IdRegisters, TellWhatPstateHas) {
  EXPECT_FALSE(has_mte2(0x000));
  EXPECT_FALSE(has_mte2(0x100));  // instructions only
  EXPECT_TRUE(has_mte2(0x200));
  EXPECT_TRUE(has_mte2(0x300));
  EXPECT_FALSE(has_nmi(0xFFFF'FF0F'FFFF'FFFF));
  EXPECT_TRUE(has_nmi(1ULL << 36));
  EXPECT_TRUE(has_user32(0x2222));
  EXPECT_FALSE(has_user32(0x1111));
}

}  // namespace
}  // namespace sealvisor::arch::arm64
