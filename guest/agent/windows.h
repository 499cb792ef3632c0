// The frames of page tables as this process can see and store to them: each mapped once, through
// /dev/mem, at low addresses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/agent/entry_bits.h"
#include "guest/agent/physical.h"

namespace sealvisor::agent {

/// The entry of one level on the way to an address.
struct Step {
  std::uint64_t gpa = 0;    ///< Of the entry; 0: the way ended above.
  std::uint64_t value = 0;  ///< Accessed and dirty bits as they were then.
};

/// The way to an address, by level; index 0 is not used.
using Path = std::array<Step, entry::kRootLevel + 1>;

class Windows {
 public:
  /// `memory`: /dev/mem. x86-64 guests need nopat: see stores.h.
  explicit Windows(const File& memory) : memory_(memory) {}
  Windows(const Windows&) = delete;
  Windows& operator=(const Windows&) = delete;

  /// Where this process sees the byte at `gpa`; nullptr: said on the console.
  [[nodiscard]] std::uint8_t* at(std::uint64_t gpa);
  /// The word at `gpa`, a multiple of 8; 0 if it can't be seen.
  [[nodiscard]] std::uint64_t word(std::uint64_t gpa);
  /// The way to `gva` under the root table at `root`.
  [[nodiscard]] Path path(std::uint64_t root, std::uint64_t gva);

 private:
  /// More tables than a campaign comes across.
  static constexpr std::size_t kMost = 128;
  static constexpr std::uintptr_t kFirst = 0x8'0000'0000;

  const File& memory_;
  std::array<std::uint64_t, kMost> frames_{};
  std::size_t count_ = 0;
};

}  // namespace sealvisor::agent
