// Bits of x86-64 paging-structure entries and of the registers that shape them.
//
// SDM = Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A. The AMD64
// Architecture Programmer's Manual (APM), volume 2, section 5.4 has the same layout.
#pragma once

#include <cstdint>

namespace sealvisor::arch::x86_64 {

// Entries: SDM 4.5, tables 4-14 to 4-20.
inline constexpr std::uint64_t kPresent = 1ULL << 0;       // P
inline constexpr std::uint64_t kWritable = 1ULL << 1;      // R/W, SDM 4.6.1
inline constexpr std::uint64_t kUser = 1ULL << 2;          // U/S, SDM 4.6.1
inline constexpr std::uint64_t kWriteThrough = 1ULL << 3;  // PWT, SDM 4.9
inline constexpr std::uint64_t kCacheDisable = 1ULL << 4;  // PCD, SDM 4.9
inline constexpr std::uint64_t kAccessed = 1ULL << 5;      // A, SDM 4.8
inline constexpr std::uint64_t kDirty = 1ULL << 6;  // D, SDM 4.8: leaves only; ignored in tables
/// PS: at levels 2 and 3 the entry maps a large page. Bit 7 of a level-1 entry is PAT instead, and
/// at levels 4 and 5 it is reserved.
inline constexpr std::uint64_t kPageSizeBit = 1ULL << 7;
inline constexpr std::uint64_t kSmallPat = 1ULL << 7;   // PAT of a 4 KiB leaf, SDM 4.9.2
inline constexpr std::uint64_t kGlobal = 1ULL << 8;     // G of a leaf, SDM 4.10.2.4
inline constexpr std::uint64_t kLargePat = 1ULL << 12;  // PAT of 2 MiB and 1 GiB leaves, SDM 4.9.2
/// 51:12, the most that an entry holds of an address. Bits from MAXPHYADDR up are reserved.
inline constexpr std::uint64_t kAddress = 0x000FFFFFFFFFF000ULL;
/// Protection key, bits 62:59 of leaves (SDM 4.6.2).
inline constexpr unsigned kKeyShift = 59;
inline constexpr std::uint64_t kKeyMask = 0xF;
/// XD, with EFER.NXE; reserved without (SDM 4.5, APM 5.6.3).
inline constexpr std::uint64_t kExecuteDisable = 1ULL << 63;
/// Address bits that must be 0 in a 2 MiB leaf (20:13, SDM table 4-18) and a 1 GiB leaf (29:13,
/// table 4-16).
inline constexpr std::uint64_t kReserved2M = 0x00000000001FE000ULL;
inline constexpr std::uint64_t kReserved1G = 0x000000003FFFE000ULL;

/// MAXPHYADDR that processors with long mode may have (CPUID 8000_0008 EAX[7:0], SDM 4.1.4).
inline constexpr unsigned kLeastPhysBits = 32;
inline constexpr unsigned kMostPhysBits = 52;

// Registers: SDM 2.5 (CR0, CR3, CR4) and 2.2.1 (IA32_EFER).
inline constexpr std::uint64_t kCr0Paging = 1ULL << 31;
inline constexpr std::uint64_t kCr4Pae = 1ULL << 5;
inline constexpr std::uint64_t kCr4La57 = 1ULL << 12;
inline constexpr std::uint64_t kCr4ProtectionKeys = 1ULL << 22;
inline constexpr std::uint64_t kEferLongModeActive = 1ULL << 10;
inline constexpr std::uint64_t kEferNoExecute = 1ULL << 11;
/// CR3: root address 51:12; PCID in 11:0, no-flush in bit 63 (SDM 4.10.4.1), LAM in 62:61.
inline constexpr std::uint64_t kCr3Address = kAddress;

}  // namespace sealvisor::arch::x86_64
