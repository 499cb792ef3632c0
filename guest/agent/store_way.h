// A store instruction as the campaign uses it: to make one wanted change of memory, and no other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace sealvisor::agent {

/// What an instruction needs of what is there, and of what is to be there, to make the change.
enum class Needs : std::uint8_t {
  Nothing,
  Flag,           ///< Its one byte becomes 0 or 1.
  Sets,           ///< No bit goes.
  Clears,         ///< No bit comes.
  OneBit,         ///< One bit changes.
  OneBitSet,      ///< One bit comes.
  OneBitCleared,  ///< One bit goes.
  Zeroes,         ///< Nothing but zeroes is left.
  NoChange,       ///< A compare that fails: what is there stays.
  Number,         ///< IEEE 754, 4 or 8 bytes, not all ones in the exponent: a NaN loses bits.
  Halves,         ///< The same of 2 bytes each, 8 in all.
  Greater,        ///< The number grows.
  Less,
  GreaterSigned,
  LessSigned,
};

/// Where an instruction can store, and what.
struct Shape {
  std::uint32_t width = 8;  ///< Bytes of the store.
  std::uint32_t align = 8;  ///< The place, divided by this ...
  std::uint32_t phase = 0;  ///< ... leaves this.
  /// Bytes, counted from the place, that an emulator may store as one operation of several: a
  /// change lies in one of these, or what is in between would be seen.
  std::uint32_t grain = 8;
  Needs needs = Needs::Nothing;
};

struct StoreWay {
  const char* name;
  void (*run)(void* at, const void* bytes);  ///< In store_ways_<arch>.S.
  const char* store;                         ///< The address of the instruction that stores.
  Shape shape;
  bool user_only = false;  ///< Stores by user mode's permissions: no use to the kernel.
  bool straddles = false;  ///< Runs over the end of a page of memory. Its phase is of the page.
  /// Whether the kvm lanes can do it to a read-only frame.
  bool to_code = true;
  bool (*available)() = nullptr;  ///< nullptr: on every CPU.

  [[nodiscard]] bool there() const { return available == nullptr || available(); }
};

/// The store instructions of this architecture.
[[nodiscard]] std::span<const StoreWay> store_ways();

using Bytes = std::span<const std::uint8_t>;

/// The first `width` bytes, at most 8, as a number.
[[nodiscard]] inline std::uint64_t number_of(Bytes bytes, std::uint32_t width) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), width < sizeof value ? width : sizeof value);
  return value;
}

[[nodiscard]] inline bool all_zero(Bytes bytes) {
  for (const std::uint8_t byte : bytes) {
    if (byte != 0) return false;
  }
  return true;
}

/// Whether the instruction turns `before` into `after`, each of shape.width bytes.
[[nodiscard]] inline bool can_make(const Shape& shape, Bytes before, Bytes after) {
  std::size_t first = shape.width;
  std::size_t last = 0;
  std::uint32_t bits = 0;
  bool sets = false;
  bool clears = false;
  for (std::size_t i = 0; i < shape.width; ++i) {
    const auto differs = static_cast<std::uint8_t>(before[i] ^ after[i]);
    if (differs == 0) continue;
    if (first == shape.width) first = i;
    last = i;
    bits += static_cast<std::uint32_t>(__builtin_popcount(differs));
    sets = sets || (after[i] & differs) != 0;
    clears = clears || (before[i] & differs) != 0;
  }
  if (bits != 0 && first / shape.grain != last / shape.grain) return false;
  const std::uint64_t was = number_of(before, shape.width);
  const std::uint64_t is = number_of(after, shape.width);
  switch (shape.needs) {
    case Needs::Nothing:
      return true;
    case Needs::Flag:
      return after[0] <= 1;
    case Needs::Sets:
      return !clears;
    case Needs::Clears:
      return !sets;
    case Needs::OneBit:
      return bits == 1;
    case Needs::OneBitSet:
      return bits == 1 && sets;
    case Needs::OneBitCleared:
      return bits == 1 && clears;
    case Needs::Zeroes:
      return all_zero(after.first(shape.width));
    case Needs::NoChange:
      return bits == 0;
    case Needs::Number: {
      const std::uint64_t exponent =
          shape.width == 4 ? std::uint64_t{0xff} << 23 : std::uint64_t{0x7ff} << 52;
      return (is & exponent) != exponent;
    }
    case Needs::Halves:
      for (unsigned shift = 0; shift < 64; shift += 16) {
        if ((is >> shift & 0x7c00) == 0x7c00) return false;
      }
      return true;
    case Needs::Greater:
      return is >= was;
    case Needs::Less:
      return is <= was;
    case Needs::GreaterSigned:
      return static_cast<std::int64_t>(is) >= static_cast<std::int64_t>(was);
    case Needs::LessSigned:
      return static_cast<std::int64_t>(is) <= static_cast<std::int64_t>(was);
  }
  return false;
}

/// Where in a page of `room` bytes the instruction stores, so that it covers [first, last). The
/// lowest of such places; nothing: there is none.
[[nodiscard]] inline std::optional<std::uint32_t> place_of(const Shape& shape, std::uint32_t first,
                                                           std::uint32_t last, std::uint32_t room) {
  const std::uint32_t lowest = last > shape.width ? last - shape.width : 0;
  for (std::uint32_t at = lowest; at <= first && at + shape.width <= room; ++at) {
    if (at % shape.align == shape.phase) return at;
  }
  return std::nullopt;
}

}  // namespace sealvisor::agent
