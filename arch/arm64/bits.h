// Bits of arm64 (AArch64, VMSAv8-64) translation descriptors and of the registers that shape them.
//
// Arm ARM = Arm Architecture Reference Manual for A-profile, DDI 0487.
#pragma once

#include <cstdint>

namespace sealvisor::arch::arm64 {

// Descriptors: Arm ARM D8.3.1, figures for the 4 KiB granule.
inline constexpr std::uint64_t kValid = 1ULL << 0;
/// Bit 1: a table above level 1, a page at level 1; 0 makes a block, or nothing valid at level 1.
inline constexpr std::uint64_t kTableOrPage = 1ULL << 1;
inline constexpr std::uint64_t kAddress = 0x0000FFFFFFFFF000ULL;  // 47:12
// Leaf attributes: D8.3.2, D8.4.
inline constexpr std::uint64_t kUserAccess = 1ULL << 6;     // AP[1]: EL0 may access data
inline constexpr std::uint64_t kReadOnly = 1ULL << 7;       // AP[2]
inline constexpr std::uint64_t kAccessFlag = 1ULL << 10;    // AF
inline constexpr std::uint64_t kNotGlobal = 1ULL << 11;     // nG
inline constexpr std::uint64_t kDirtyModifier = 1ULL << 51;  // DBM, FEAT_HAFDBS
inline constexpr std::uint64_t kContiguous = 1ULL << 52;
inline constexpr std::uint64_t kPrivilegedNever = 1ULL << 53;  // PXN
inline constexpr std::uint64_t kUserNever = 1ULL << 54;        // UXN
// Table attributes, unless TCR_EL1.HPD0/1 (D8.3.1.3).
inline constexpr std::uint64_t kPxnTable = 1ULL << 59;
inline constexpr std::uint64_t kUxnTable = 1ULL << 60;
inline constexpr std::uint64_t kApTableNoUser = 1ULL << 61;   // APTable[0]
inline constexpr std::uint64_t kApTableReadOnly = 1ULL << 62;  // APTable[1]

// TCR_EL1: D19.2.
inline constexpr std::uint64_t kTcrSizeMask = 0x3F;
inline constexpr unsigned kTcrT0szShift = 0;
inline constexpr unsigned kTcrT1szShift = 16;
inline constexpr std::uint64_t kTcrEpd0 = 1ULL << 7;
inline constexpr std::uint64_t kTcrEpd1 = 1ULL << 23;
inline constexpr unsigned kTcrTg0Shift = 14;  // 0 = 4 KiB, 1 = 64 KiB, 2 = 16 KiB
inline constexpr unsigned kTcrTg1Shift = 30;  // 2 = 4 KiB, 1 = 16 KiB, 3 = 64 KiB
inline constexpr std::uint64_t kTcrTbi0 = 1ULL << 37;
inline constexpr std::uint64_t kTcrTbi1 = 1ULL << 38;
inline constexpr std::uint64_t kTcrHa = 1ULL << 39;
inline constexpr std::uint64_t kTcrHd = 1ULL << 40;
inline constexpr std::uint64_t kTcrHpd0 = 1ULL << 41;
inline constexpr std::uint64_t kTcrHpd1 = 1ULL << 42;
inline constexpr std::uint64_t kTcrDs = 1ULL << 59;
inline constexpr std::uint64_t kSctlrMmu = 1ULL << 0;
/// TTBRn_EL1: ASID 63:48, root 47:1 (4 KiB-aligned tables here), CNP bit 0.
inline constexpr std::uint64_t kTtbrAddress = kAddress;

}  // namespace sealvisor::arch::arm64
