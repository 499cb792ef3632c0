// Addresses of the guest, as types that do not mix.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace sealvisor::arch {

/// Bytes in a base page and in a table. Both formats that sealvisor reads use 4 KiB
/// (x86-64 always; arm64 with TG0/TG1 = 4 KiB, anything else is refused by name).
inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr unsigned kPageShift = 12;
/// Entries in one table: 4096 bytes of 8-byte entries.
inline constexpr std::size_t kTableEntries = 512;

// The check takes the zero that the compiler compares with for a null pointer.
// NOLINTBEGIN(modernize-use-nullptr)

/// A guest-physical address in bytes.
struct Gpa {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Gpa&, const Gpa&) = default;
};

/// A guest-virtual address in bytes.
struct Gva {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Gva&, const Gva&) = default;
};

/// A 4 KiB frame of guest-physical memory: its gpa divided by 4096.
struct Frame {
  std::uint64_t number = 0;
  friend constexpr auto operator<=>(const Frame&, const Frame&) = default;

  [[nodiscard]] constexpr Gpa gpa() const { return Gpa{number << kPageShift}; }
  /// The gpa of entry `index` (0..511) of the table in this frame.
  [[nodiscard]] constexpr Gpa slot(std::size_t index) const {
    return Gpa{(number << kPageShift) + index * 8};
  }
};

// NOLINTEND(modernize-use-nullptr)

[[nodiscard]] constexpr Frame frame_of(Gpa gpa) { return Frame{gpa.value >> kPageShift}; }
/// The index (0..511) of the 8-byte slot that holds `gpa`.
[[nodiscard]] constexpr std::size_t slot_index(Gpa gpa) {
  return static_cast<std::size_t>((gpa.value & (kPageSize - 1)) >> 3);
}

}  // namespace sealvisor::arch

template <>
struct std::hash<sealvisor::arch::Frame> {
  std::size_t operator()(const sealvisor::arch::Frame& frame) const noexcept {
    // Frame numbers are dense and small; a multiplicative mix spreads them over buckets.
    return static_cast<std::size_t>(frame.number * 0x9E3779B97F4A7C15ULL >> 16);
  }
};
