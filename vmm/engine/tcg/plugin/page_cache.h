// Virtual pages that are known not to be watched, so that nearly all stores cost one compare.
#pragma once

#include <array>
#include <cstdint>

namespace sealvisor::engine::tcg {

/// A direct-mapped cache of virtual page numbers, in two generations: one for the upper half of the
/// address space, which changes seldom, one for the lower. Invalidating a generation is O(1).
///
/// Correctness rests on the caller: it must invalidate whenever a page that was recorded may reach
/// a watched frame: root loads, TLB invalidations, control-register writes, watched entries that
/// change, frames that become watched.
class PageCache {
 public:
  [[nodiscard]] bool contains(std::uint64_t vaddr) const {
    return entries_[slot(vaddr)] == tag(vaddr);
  }
  void insert(std::uint64_t vaddr) { entries_[slot(vaddr)] = tag(vaddr); }
  void invalidate_lower() { bump(lower_); }
  void invalidate_all() {
    bump(lower_);
    bump(upper_);
  }

 private:
  static constexpr std::size_t kEntries = 4096;
  // Addresses have at most 57 significant bits (LA57), so a page number has 45; bit 63 tells the
  // halves apart and makes 46. The generation fills the other 18 bits.
  static constexpr unsigned kPageBits = 46;
  static constexpr std::uint64_t kGenerations = std::uint64_t{1} << (64 - kPageBits);

  [[nodiscard]] static std::size_t slot(std::uint64_t vaddr) { return (vaddr >> 12) % kEntries; }
  [[nodiscard]] std::uint64_t tag(std::uint64_t vaddr) const {
    const bool upper = (vaddr >> 63) != 0;
    const std::uint64_t page = (vaddr >> 12) & ((std::uint64_t{1} << (kPageBits - 1)) - 1);
    return ((upper ? upper_ : lower_) << kPageBits) |
           (static_cast<std::uint64_t>(upper) << (kPageBits - 1)) | page;
  }
  void bump(std::uint64_t& generation) {
    if (++generation == kGenerations) {
      // Old tags would match again after the wrap. Generation 0 is never used: empty entries are 0.
      entries_.fill(0);
      generation = 1;
    }
  }

  std::array<std::uint64_t, kEntries> entries_{};
  std::uint64_t lower_ = 1;
  std::uint64_t upper_ = 1;
};

}  // namespace sealvisor::engine::tcg
