// Bits of arm64 (AArch64, VMSAv8-64) translation descriptors and of the registers that shape them.
//
// Arm ARM = Arm Architecture Reference Manual for A-profile, DDI 0487.
#pragma once

#include <cstdint>

namespace sealvisor::arch::arm64 {

// Descriptors: Arm ARM D8.3, figures for the 4 KiB granule.
inline constexpr std::uint64_t kValid = 1ULL << 0;
/// Bit 1: a table above level 1, a page at level 1; 0 makes a block, or nothing valid at level 1.
inline constexpr std::uint64_t kTableOrPage = 1ULL << 1;
/// 47:12, the address that an entry holds without 52-bit descriptors.
inline constexpr std::uint64_t kAddress = 0x0000FFFFFFFFF000ULL;
// Leaf attributes: D8.3 (layout), D8.4 (permissions), D8.5 (access flag and dirty state).
inline constexpr unsigned kAttributeShift = 2;  // AttrIndx, 4:2
inline constexpr std::uint64_t kAttributeMask = 7;
inline constexpr std::uint64_t kNonSecure = 1ULL << 5;   // NS; ignored in Non-secure state
inline constexpr std::uint64_t kUserAccess = 1ULL << 6;  // AP[1]: EL0 may access data
inline constexpr std::uint64_t kReadOnly = 1ULL << 7;    // AP[2]
inline constexpr unsigned kShareShift = 8;               // SH, 9:8
inline constexpr std::uint64_t kShareMask = 3;
inline constexpr std::uint64_t kAccessFlag = 1ULL << 10;     // AF
inline constexpr std::uint64_t kNotGlobal = 1ULL << 11;      // nG
inline constexpr std::uint64_t kNoTranslation = 1ULL << 16;  // nT of a block, FEAT_BBM
inline constexpr std::uint64_t kGuarded = 1ULL << 50;        // GP, FEAT_BTI
inline constexpr std::uint64_t kDirtyModifier = 1ULL << 51;  // DBM, FEAT_HAFDBS
/// Contiguous: a hint that 16 neighbours translate alike, so one TLB entry may hold them (D8.7).
inline constexpr std::uint64_t kContiguous = 1ULL << 52;
inline constexpr std::uint64_t kPrivilegedNever = 1ULL << 53;  // PXN
inline constexpr std::uint64_t kUserNever = 1ULL << 54;        // UXN
// Table attributes, unless TCR_EL1.HPD0/1 (D8.4).
inline constexpr std::uint64_t kPxnTable = 1ULL << 59;
inline constexpr std::uint64_t kUxnTable = 1ULL << 60;
inline constexpr std::uint64_t kApTableNoUser = 1ULL << 61;    // APTable[0]
inline constexpr std::uint64_t kApTableReadOnly = 1ULL << 62;  // APTable[1]
inline constexpr std::uint64_t kNsTable = 1ULL << 63;          // ignored in Non-secure state

// TCR_EL1: Arm ARM, "TCR_EL1, Translation Control Register (EL1)".
inline constexpr std::uint64_t kTcrSizeMask = 0x3F;
inline constexpr unsigned kTcrT0szShift = 0;
inline constexpr unsigned kTcrT1szShift = 16;
inline constexpr std::uint64_t kTcrEpd0 = 1ULL << 7;
inline constexpr std::uint64_t kTcrEpd1 = 1ULL << 23;
inline constexpr unsigned kTcrTg0Shift = 14;  // 0 = 4 KiB, 1 = 64 KiB, 2 = 16 KiB
inline constexpr unsigned kTcrTg1Shift = 30;  // 2 = 4 KiB, 1 = 16 KiB, 3 = 64 KiB
inline constexpr unsigned kTcrIpsShift = 32;  // IPS, 34:32
inline constexpr std::uint64_t kTcrIpsMask = 7;
inline constexpr std::uint64_t kTcrTbi0 = 1ULL << 37;
inline constexpr std::uint64_t kTcrTbi1 = 1ULL << 38;
inline constexpr std::uint64_t kTcrHa = 1ULL << 39;
inline constexpr std::uint64_t kTcrHd = 1ULL << 40;
inline constexpr std::uint64_t kTcrHpd0 = 1ULL << 41;
inline constexpr std::uint64_t kTcrHpd1 = 1ULL << 42;
inline constexpr std::uint64_t kTcrDs = 1ULL << 59;
// TCR2_EL1: Arm ARM, "TCR2_EL1, Extended Translation Control Register (EL1)"; FEAT_TCR2.
inline constexpr std::uint64_t kTcr2Pie = 1ULL << 1;   // permissions by index, FEAT_S1PIE
inline constexpr std::uint64_t kTcr2D128 = 1ULL << 5;  // 128-bit descriptors, FEAT_D128
// SCTLR_EL1: Arm ARM, "SCTLR_EL1, System Control Register (EL1)".
inline constexpr std::uint64_t kSctlrMmu = 1ULL << 0;       // M
inline constexpr std::uint64_t kSctlrKeepPan = 1ULL << 23;  // SPAN: 1 keeps PSTATE.PAN at entry
/// E0E: data of EL0.
inline constexpr std::uint64_t kSctlrUserBigEndian = 1ULL << 24;
inline constexpr std::uint64_t kSctlrBigEndian = 1ULL << 25;    // EE: also of table walks
inline constexpr std::uint64_t kSctlrSsbsAtEntry = 1ULL << 44;  // DSSBS
inline constexpr std::uint64_t kSctlrNmiOpen = 1ULL << 62;      // SPINTMASK: 0 sets ALLINT at entry
/// TTBRn_EL1: ASID 63:48, root 47:1 (4 KiB-aligned tables here), CnP bit 0.
inline constexpr std::uint64_t kTtbrAddress = kAddress;
/// Bits of the root's address that are not 0 only for a root smaller than 4 KiB.
inline constexpr std::uint64_t kTtbrInPage = 0xFFE;

}  // namespace sealvisor::arch::arm64
