// One class of store instruction, as the exact-count control uses it.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {

/// What is in the memory before the block, and what a store leaves there.
enum class Setup : std::uint8_t {
  Plain,   ///< Starts as zeros; each store leaves the counting pattern.
  Same,    ///< Starts as zeros; every store leaves what store 0 would (rep stos).
  Filled,  ///< Starts as the counting pattern (by a block of its own); stores leave zeros.
  Kept,    ///< Starts as the counting pattern; a failed compare leaves it as it is.
};

/// Where the stores of a block go.
enum class Reach : std::uint8_t {
  Spread,      ///< One behind the other where they fit into the area, else all to one place.
  Run,         ///< One behind the other; fewer of them where they would not fit.
  Down,        ///< One in front of the other; fewer of them where they would not fit.
  Straddling,  ///< All to one place at the end of a frame, running into the next.
};

struct StoreRun {
  std::uintptr_t at = 0;    ///< Where store 0 goes.
  std::int32_t step = 0;    ///< From one store to the next, bytes.
  std::uint32_t count = 0;  ///< How many.

  [[nodiscard]] void* place(std::uint32_t i) const {
    const auto distance = static_cast<std::intptr_t>(i) * step;
    return reinterpret_cast<void*>(at + static_cast<std::uintptr_t>(distance));  // NOLINT
  }
};

struct StoreClass {
  const char* name;
  std::uint32_t width;           ///< Bytes of one store; 0: the block size of `dc zva`.
  void (*run)(const StoreRun&);  ///< Exactly run.count stores and no other to that memory.
  Reach reach = Reach::Spread;
  /// Added to the aligned place; Straddling: bytes before the frame's end.
  std::uint32_t offset = 0;
  Setup setup = Setup::Plain;
  bool (*available)() = nullptr;  ///< nullptr: on every CPU.
  /// Whether the kvm lanes can do such a store to a read-only frame, and tell it slot by slot.
  bool to_code = true;
};

/// Bytes of store `i`, enough for the widest class.
struct alignas(64) PatternBytes {
  std::uint8_t bytes[64];

  explicit PatternBytes(std::uint32_t i) {
    for (std::uint32_t k = 0; k < sizeof bytes; ++k) bytes[k] = protocol::store_pattern_byte(i, k);
  }
};

/// Store `i`'s bytes as a number of type T.
template <typename T>
[[nodiscard]] T pattern(std::uint32_t i) {
  std::uint64_t value = 0;
  for (std::uint32_t k = 0; k < sizeof(T); ++k) {
    value |= std::uint64_t{protocol::store_pattern_byte(i, k)} << 8 * k;
  }
  return static_cast<T>(value);
}

/// What is at `place` now, read by an ordinary load.
template <typename T>
[[nodiscard]] T now_at(void* place) {
  T value;
  std::memcpy(&value, place, sizeof value);
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

/// Calls `store(place, i)` for each store of `run`.
template <typename Store>
void each(const StoreRun& run, Store store) {
  for (std::uint32_t i = 0; i < run.count; ++i) store(run.place(i), i);
}

/// The classes of this architecture.
[[nodiscard]] std::span<const StoreClass> store_classes();
/// Bytes that `dc zva` zeroes; 0 if there is none.
[[nodiscard]] std::uint32_t zero_block_size();

}  // namespace sealvisor::agent
