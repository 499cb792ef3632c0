// What a `dc zva` zeroed, found in memory after the fact.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "arch/walk.h"

namespace sealvisor::engine::tcg {

struct ZeroBlock {
  std::size_t offset = 0;  ///< Of its first byte in the frame.
  std::size_t bytes = 0;

  friend bool operator==(const ZeroBlock&, const ZeroBlock&) = default;
};

/// `dc zva` zeroes an aligned block whose size is the CPU's: 4 bytes to 2 KiB (Arm ARM,
/// DCZID_EL0.BS). QEMU does not show that register to plugins, so the size is taken from memory;
/// the models that QEMU offers have 64 bytes or more.
inline constexpr std::size_t kLeastZeroBlock = 64;
inline constexpr std::size_t kMostZeroBlock = 2048;

/// The block that a `dc zva` of byte `offset` zeroed in a frame that held `before` and holds `now`;
/// nothing if it faulted. It is the largest aligned block that is zero and whose size shows: what
/// it adds to the next smaller one was not zero before. So neighbours that were zero anyway are
/// left out. A block that was zero itself tells nothing of a fault, and counts as zeroed again.
/// Precondition: `offset` lies in the frame; nothing else stored to it since `before`.
[[nodiscard]] inline std::optional<ZeroBlock> find_zero_block(const arch::Table& before,
                                                              const arch::Table& now,
                                                              std::size_t offset) {
  constexpr std::size_t kSlot = sizeof(std::uint64_t);
  std::optional<ZeroBlock> found;
  for (std::size_t bytes = kLeastZeroBlock; bytes <= kMostZeroBlock; bytes *= 2) {
    const std::size_t first = offset & ~(bytes - 1);
    const auto* start = now.begin() + first / kSlot;
    const auto* end = start + bytes / kSlot;
    if (!std::all_of(start, end, [](std::uint64_t slot) { return slot == 0; })) break;
    // The half of this block in which the smaller one does not lie.
    const std::size_t added = (offset & ~(bytes / 2 - 1)) ^ (bytes / 2);
    const auto* old_start = before.begin() + added / kSlot;
    const auto* old_end = old_start + bytes / 2 / kSlot;
    const bool shows =
        std::any_of(old_start, old_end, [](std::uint64_t slot) { return slot != 0; });
    if (bytes == kLeastZeroBlock || shows) found = ZeroBlock{first, bytes};
  }
  return found;
}

}  // namespace sealvisor::engine::tcg
