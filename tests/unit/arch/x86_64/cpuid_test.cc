#include "arch/x86_64/cpuid.h"

#include <gtest/gtest.h>

#include <vector>

namespace sealvisor::arch::x86_64 {
namespace {

constexpr std::uint32_t kAll = 0xffffffff;

CpuidLeaf all_ones(std::uint32_t function, std::uint32_t index = 0, bool index_matters = false) {
  return CpuidLeaf{function, index, index_matters, kAll, kAll, kAll, kAll};
}

/// What the guest sees of one leaf.
CpuidLeaf seen(const CpuidLeaf& host, const CpuidOptions& options = {}) {
  const std::vector<CpuidLeaf> leaves = guest_cpuid(std::vector{host}, options);
  EXPECT_EQ(leaves.size(), 1U);
  return leaves.empty() ? CpuidLeaf{} : leaves.front();
}

CpuidLeaf vendor(std::uint32_t ebx, std::uint32_t edx, std::uint32_t ecx) {
  return CpuidLeaf{0, 0, false, 0x20, ebx, ecx, edx};
}
CpuidLeaf intel() { return vendor(0x756e6547, 0x49656e69, 0x6c65746e); }
CpuidLeaf amd() { return vendor(0x68747541, 0x69746e65, 0x444d4163); }

TEST(CpuidTest, BasicFeatures) {
  // EBX keeps brand and CLFLUSH size: APIC id 0, one logical processor. TSC deadline is off.
  EXPECT_EQ(seen(all_ones(1)), (CpuidLeaf{1, 0, false, kAll, 0x0001ffff, 0xfeff7e03, 0xcfdfffff}));
  CpuidOptions options{};
  options.tsc_deadline = true;
  EXPECT_EQ(seen(all_ones(1), options).ecx, 0xffff7e03U);
  // It is shown though KVM does not list it.
  EXPECT_EQ(seen(CpuidLeaf{1}, options), (CpuidLeaf{1, 0, false, 0, 0x00010000, 1U << 24, 0}));
}

TEST(CpuidTest, FeaturesThatStay) {
  const CpuidLeaf basic = seen(all_ones(1));
  for (const unsigned bit : {0U, 13U, 17U, 21U, 26U, 31U}) {  // SSE3, CX16, PCID, x2APIC, XSAVE, HV
    EXPECT_NE(basic.ecx & 1U << bit, 0U) << bit;
  }
  for (const unsigned bit :
       {4U, 5U, 6U, 9U, 13U, 24U, 25U}) {  // TSC, MSR, PAE, APIC, PGE, FXSR, SSE
    EXPECT_NE(basic.edx & 1U << bit, 0U) << bit;
  }
  const CpuidLeaf seven = seen(all_ones(7, 0, true));
  for (const unsigned bit : {0U, 7U, 10U, 18U, 20U}) {  // FSGSBASE, SMEP, INVPCID, RDSEED, SMAP
    EXPECT_NE(seven.ebx & 1U << bit, 0U) << bit;
  }
  for (const unsigned bit : {2U, 3U}) {  // UMIP, PKU
    EXPECT_NE(seven.ecx & 1U << bit, 0U) << bit;
  }
  for (const unsigned bit : {20U, 26U, 29U}) {  // IBT, SPEC_CTRL, ARCH_CAPABILITIES
    EXPECT_NE(seven.edx & 1U << bit, 0U) << bit;
  }
}

TEST(CpuidTest, StructuredFeatures) {
  EXPECT_EQ(seen(all_ones(7, 0, true)),
            (CpuidLeaf{7, 0, true, kAll, 0xfdff67eb, 0x9ffedf5f, 0xbff253ff}));
  EXPECT_EQ(seen(all_ones(7, 1, true)), (CpuidLeaf{7, 1, true, 0xffbdfeff, kAll, kAll, kAll}));
  EXPECT_EQ(seen(all_ones(7, 2, true)), all_ones(7, 2, true));
  CpuidOptions options{};
  options.five_level_tables = true;
  EXPECT_EQ(seen(all_ones(7, 0, true), options).ecx, 0x9fffdf5fU);
  // The switch shows no LA57 that the host lacks.
  EXPECT_EQ(seen(CpuidLeaf{7, 0, true}, options), (CpuidLeaf{7, 0, true}));
}

TEST(CpuidTest, ExtendedFeatures) {
  EXPECT_EQ(seen(all_ones(0x80000001)),
            (CpuidLeaf{0x80000001, 0, false, kAll, kAll, 0xc6774bf1, kAll}));
  EXPECT_EQ(seen(all_ones(0x80000008)),
            (CpuidLeaf{0x80000008, 0, false, kAll, 0x777ffee5, 0, kAll}));
  EXPECT_EQ(seen(all_ones(0x80000007)), all_ones(0x80000007));
  EXPECT_EQ(seen(all_ones(6)), (CpuidLeaf{6, 0, false, 4, 0, 0, kAll}));
}

TEST(CpuidTest, KvmKeepsItsNameAndNothingElse) {
  // "KVMKVMKVM"; asked of a host with more leaves.
  const CpuidLeaf signature{0x40000000, 0, false, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d};
  const std::vector<CpuidLeaf> host{signature, all_ones(0x40000001), all_ones(0x40000002),
                                    all_ones(0x40000010), all_ones(0x4fffffff)};
  const std::vector<CpuidLeaf> expected{
      CpuidLeaf{0x40000000, 0, false, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d},
      CpuidLeaf{0x40000001}};
  EXPECT_EQ(guest_cpuid(host, {}), expected);
}

TEST(CpuidTest, OneThread) {
  EXPECT_EQ(seen(CpuidLeaf{0xb, 0, true, 1, 2, 0x100, 7}),
            (CpuidLeaf{0xb, 0, true, 0, 1, 0x100, 0}));
  EXPECT_EQ(seen(CpuidLeaf{0xb, 1, true, 5, 16, 0x201, 7}),
            (CpuidLeaf{0xb, 1, true, 0, 1, 0x201, 0}));
  EXPECT_EQ(seen(CpuidLeaf{0xb, 2, true, 0, 0, 2, 7}), (CpuidLeaf{0xb, 2, true, 0, 0, 2, 0}));
  for (std::uint32_t index = 0; index < 5; ++index) {
    EXPECT_EQ(seen(all_ones(4, index, true)),
              (CpuidLeaf{4, index, true, 0x00003fff, kAll, kAll, kAll}));
  }
  for (std::uint32_t index = 0; index < 4; ++index) {
    EXPECT_EQ(seen(all_ones(0x8000001d, index, true)),
              (CpuidLeaf{0x8000001d, index, true, 0xfc003fff, kAll, kAll, kAll}));
  }
  EXPECT_EQ(seen(all_ones(0x8000001e)), (CpuidLeaf{0x8000001e, 0, false, 0, 0, 0, kAll}));
}

TEST(CpuidTest, WholeLeavesAreLeftOut) {
  for (const std::uint32_t function :
       {0x3U,        0x5U,        0xaU,        0xfU,        0x10U,       0x12U,
        0x14U,       0x19U,       0x1bU,       0x1cU,       0x1fU,       0x20U,
        0x21U,       0x23U,       0x8000000aU, 0x8000001bU, 0x8000001cU, 0x8000001fU,
        0x80000020U, 0x80000022U, 0x80000023U, 0x80000026U}) {
    EXPECT_TRUE(guest_cpuid(std::vector{all_ones(function)}, {}).empty()) << function;
  }
  for (const std::uint32_t function : {0x0U, 0x2U, 0xdU, 0x15U, 0x16U, 0x80000000U, 0x80000002U,
                                       0x80000005U, 0x80000006U, 0xc0000000U}) {
    EXPECT_EQ(seen(all_ones(function)), all_ones(function)) << function;
  }
}

TEST(CpuidTest, AmdIsNotAffectedByTsa) {
  EXPECT_EQ(seen(CpuidLeaf{0x80000021, 0, false, 0x60, 0, 0, 0}),
            (CpuidLeaf{0x80000021, 0, false, 0x40, 0, 0x86, 0}));
  const CpuidLeaf largest{0x80000000, 0, false, 0x8000001e, 1, 2, 3};
  const std::vector<CpuidLeaf> expected{amd(), CpuidLeaf{0x80000000, 0, false, 0x80000021, 1, 2, 3},
                                        CpuidLeaf{0x80000021, 0, false, 0, 0, 0x86, 0}};
  EXPECT_EQ(guest_cpuid(std::vector{amd(), largest}, {}), expected);

  // A host that lists it gets no second one, and a larger maximum stays.
  const CpuidLeaf larger{0x80000000, 0, false, 0x80000028, 1, 2, 3};
  const std::vector<CpuidLeaf> listed{amd(), larger, CpuidLeaf{0x80000021}};
  const std::vector<CpuidLeaf> listed_expected{amd(), larger,
                                               CpuidLeaf{0x80000021, 0, false, 0, 0, 0x86, 0}};
  EXPECT_EQ(guest_cpuid(listed, {}), listed_expected);

  const CpuidLeaf hygon = vendor(0x6f677948, 0x6e65476e, 0x656e6975);
  EXPECT_EQ(guest_cpuid(std::vector{hygon, largest}, {}).size(), 3U);
}

TEST(CpuidTest, IntelGetsNoAmdLeaf) {
  const CpuidLeaf largest{0x80000000, 0, false, 0x80000008, 0, 0, 0};
  EXPECT_EQ(guest_cpuid(std::vector{intel(), largest}, {}), (std::vector{intel(), largest}));
  EXPECT_TRUE(guest_cpuid({}, {}).empty());
}

TEST(CpuidTest, ArchCapabilitiesHideWhatNeedsVerw) {
  constexpr std::uint64_t kNotAffected = 0x800e120;
  EXPECT_EQ(arch_capabilities(0), kNotAffected);
  // RDCL_NO, IBRS_ALL, SSB_NO, GDS_NO, ITS_NO stay.
  constexpr std::uint64_t kOthers = 0x4000000004000013;
  EXPECT_EQ(arch_capabilities(kOthers), kOthers | kNotAffected);
  // TSX_CTRL, FB_CLEAR, FB_CLEAR_CTRL, RFDS_CLEAR go.
  EXPECT_EQ(arch_capabilities(0x10060080), kNotAffected);
}

}  // namespace
}  // namespace sealvisor::arch::x86_64
