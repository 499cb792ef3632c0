// Mappings that experiments work on. All at fixed places, far from one another and from what the
// kernel chooses, so that none of them merges with a neighbour.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#include "bench/guest/shared.h"

namespace sealvisor::bench {

#if UINTPTR_MAX > 0xFFFF'FFFF
/// Places of at least 4 GiB each, in the lower part of what both architectures give to a process.
enum class Spot : std::uintptr_t {
  Shared = 0x1F'0000'0000,
  Extra = 0x20'0000'0000,   ///< Mappings that a call is not about.
  Target = 0x21'0000'0000,  ///< What a call is about.
  Other = 0x22'0000'0000,   ///< Where it is moved to.
};
#else
/// The same in a 32-bit process, of 256 MiB each: above the program, and below what is laid out
/// downwards for the greatest stack (bench/layout.h). Shared memory has no fixed place there.
enum class Spot : std::uintptr_t {
  Extra = 0x3000'0000,
  Target = 0x4000'0000,
  Other = 0x5000'0000,
};
#endif

/// Pages of private memory at a spot, as long as this object lives.
class Pages {
 public:
  Pages() = default;
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages();

  /// Maps `count` pages, readable and writable; what was mapped by this object is gone first. 0 or
  /// an errno.
  [[nodiscard]] int map(Spot spot, std::uint32_t count);
  /// Makes a mapping of its own of each page, by a flag that changes from page to page and nothing
  /// else (MADV_DONTDUMP). 0 or an errno.
  [[nodiscard]] int split();
  /// Stores number `i` + 1 to each page `i`.
  void touch();
  /// True if each page has what touch() stored.
  [[nodiscard]] bool touched() const;
  /// True if each page is zero.
  [[nodiscard]] bool zero() const;
  /// True if none of the pages is mapped.
  [[nodiscard]] bool gone() const;
  /// Seals them all, by mseal(2): they stay until the process ends. 0 or an errno; ENOTSUP: the
  /// kernel has no mseal.
  [[nodiscard]] int seal();

  [[nodiscard]] std::byte* start() const { return start_; }
  [[nodiscard]] std::byte* page(std::uint32_t i) const { return start_ + std::size_t{i} * kPage; }
  [[nodiscard]] std::size_t bytes() const { return std::size_t{count_} * kPage; }

 private:
  void unmap();

  std::byte* start_ = nullptr;
  std::uint32_t count_ = 0;
};

/// mseal(2); headers of Debian 12 do not know it. The same number on all architectures.
inline constexpr long kMseal = 462;

/// True if nothing is mapped at `start`.
[[nodiscard]] bool is_unmapped(const void* start);

/// `count` mappings of one page each, at Spot::Extra. 0 or an errno.
[[nodiscard]] int add_mappings(Pages& pages, std::uint32_t count, bool touched);

}  // namespace sealvisor::bench
