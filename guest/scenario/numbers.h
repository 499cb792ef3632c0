// Numbers that operations pass to the kernel: those of its uapi headers, which both architectures
// share.
#pragma once

#include <array>
#include <cstdint>

namespace sealvisor::scenario {

/// PROT_*: include/uapi/asm-generic/mman-common.h.
inline constexpr std::uint32_t kNone = 0, kR = 1, kW = 2, kX = 4;

/// include/uapi/asm-generic/mman-common.h, MADV_*.
enum Advice : std::uint32_t {
  kNormal = 0,
  kRandom = 1,
  kSequential = 2,
  kWillNeed = 3,
  kDontNeed = 4,
  kFree = 8,
  kRemove = 9,
  kDontFork = 10,
  kDoFork = 11,
  kMergeable = 12,
  kUnmergeable = 13,
  kHugePage = 14,
  kNoHugePage = 15,
  kDontDump = 16,
  kDoDump = 17,
  kWipeOnFork = 18,
  kKeepOnFork = 19,
  kCold = 20,
  kPageOut = 21,
  kPopulateRead = 22,
  kPopulateWrite = 23,
  kDontNeedLocked = 24,
  kCollapse = 25,
  kHwPoison = 100,
  kSoftOffline = 101,
  kGuardInstall = 102,
  kGuardRemove = 103,
  kNoAdvice = 99,  ///< None that there is.
};

/// What Call::Knob writes where. The first value is written, then the one that was there again.
struct Knob {
  const char* path;
  const char* value;
};
inline constexpr auto kKnobs = std::to_array<Knob>({
    {"/proc/sys/vm/overcommit_memory", "2"},
    {"/proc/sys/vm/legacy_va_layout", "1"},
    {"/proc/sys/kernel/randomize_va_space", "2"},
    {"/proc/sys/vm/drop_caches", "3"},
});

/// MREMAP_MAYMOVE.
inline constexpr std::uint32_t kMayMove = 1;
/// SHM_REMAP.
inline constexpr std::uint32_t kShmRemap = 040000;
/// MS_INVALIDATE, MS_SYNC.
inline constexpr std::uint32_t kInvalidate = 2, kSync = 4;
/// UFFDIO_REGISTER_MODE_*.
inline constexpr std::uint32_t kMissing = 1, kWriteProtect = 2, kMinor = 4;
/// personality(2).
inline constexpr std::uint32_t kNoRandomize = 0x0040000, kCompatLayout = 0x0200000,
                               kReadImpliesExec = 0x0400000;

}  // namespace sealvisor::scenario
