// What the counting plugin counts by: a table of places in the code, in memory that it shares with
// the VMM.
//
// Counter kOtherUser takes each instruction of user mode that no place of the vdso holds,
// kOtherKernel each one of the kernel's half that no place of the kernel holds; then one counter
// for each place of the kernel, then one for each of the vdso. So the counters' sum is the number
// of instructions, exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "arch/address.h"

namespace sealvisor::event {

/// Code that is counted together: a function.
struct Place {
  std::uint64_t start;  ///< Kernel: link-time address. Vdso: offset in its image.
  std::uint64_t bytes;
};

inline constexpr std::uint32_t kOtherUser = 0;
inline constexpr std::uint32_t kOtherKernel = 1;
inline constexpr std::uint32_t kFirstPlace = 2;
/// A tiny kernel has 20,000, a distribution's 100,000.
inline constexpr std::uint32_t kMostPlaces = 1U << 18;

/// Most of a vdso's pages; those of Linux have two or three.
inline constexpr std::size_t kMostVdsoPages = 16;

/// What a page of code is known again by: FNV-1a, 64 bits, by words of 8 bytes (Fowler, Noll and
/// Vo). Nobody's enemy makes pages here.
[[nodiscard]] std::uint64_t page_mark(std::span<const std::byte, arch::kPageSize> page);

/// Written by the VMM; the plugin reads it when it starts, and again behind a doorbell message
/// after which `counting` is set.
struct CountHeader {
  std::uint32_t magic;
  std::uint32_t version;  ///< kEventVersion.
  std::uint32_t kernel_places;
  std::uint32_t vdso_places;
  std::uint32_t counting;   ///< 1: count from now on, with what follows.
  std::uint32_t profiling;  ///< 1: each sample with all its counters that are not 0.
  std::uint64_t slide;      ///< Where the kernel is, less where it was linked to be.
  /// page_mark() of each page of the vdso, in order: processes have it at different addresses, and
  /// QEMU translates a page of code once for all of them.
  std::uint64_t vdso_pages[kMostVdsoPages];
  std::uint64_t vdso_page_count;
};
inline constexpr std::uint32_t kCountMagic = 0x53564354;

/// Bytes of a table with room for `places`.
[[nodiscard]] constexpr std::size_t count_table_bytes(std::size_t places) {
  return sizeof(CountHeader) + places * sizeof(Place);
}

/// A view of the shared memory; owns nothing. Both sides use it.
class CountTable {
 public:
  explicit CountTable(std::span<std::byte> memory) : memory_(memory) {}

  /// VMM: writes the header and the kernel's places. Precondition: the memory has room for them and
  /// is zero behind them.
  void initialise(std::span<const Place> kernel, bool profiling);
  /// VMM, while the vCPU waits: from now on instructions are counted. `vdso`: its image, whole
  /// pages; what is more than kMostVdsoPages is left out. Places that there is no room for are left
  /// out; what lies in them is of kOtherUser.
  void begin(std::uint64_t slide, std::span<const std::byte> vdso, std::span<const Place> places);

  /// Plugin: whether header and size are those of a table of this build.
  [[nodiscard]] bool compatible() const;
  [[nodiscard]] const CountHeader& header() const {
    return *reinterpret_cast<const CountHeader*>(memory_.data());
  }
  /// In address order.
  [[nodiscard]] std::span<const Place> kernel() const;
  [[nodiscard]] std::span<const Place> vdso() const;

 private:
  [[nodiscard]] CountHeader& head() { return *reinterpret_cast<CountHeader*>(memory_.data()); }
  [[nodiscard]] std::span<Place> places() const;

  std::span<std::byte> memory_;
};

/// Number of the place that holds `address`; nullopt: none does. Precondition: in address order,
/// none in another.
[[nodiscard]] std::optional<std::uint32_t> place_of(std::span<const Place> places,
                                                    std::uint64_t address);

}  // namespace sealvisor::event
