// Numbers as bytes: what the records of a trace are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace sealvisor::evidence {

/// 32 bits as 4 bytes, lowest first.
inline void put32(std::byte* to, std::uint64_t value) {
  for (unsigned i = 0; i < 4; ++i) to[i] = static_cast<std::byte>(value >> 8 * i);
}
[[nodiscard]] inline std::uint32_t get32(const std::byte* from) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(from[i]) << 8 * i;
  return value;
}

/// The number that a difference is written as: small if it is near zero, of either sign.
/// Differences are taken modulo 2^64.
[[nodiscard]] constexpr std::uint64_t folded(std::uint64_t difference) {
  return difference << 1 ^ (0 - (difference >> 63));
}
[[nodiscard]] constexpr std::uint64_t unfolded(std::uint64_t number) {
  return number >> 1 ^ (0 - (number & 1));
}

/// Appends to a vector of bytes.
class WireWriter {
 public:
  explicit WireWriter(std::vector<std::byte>& to) : to_(to) {}

  void byte(std::uint8_t value) { to_.push_back(std::byte{value}); }
  /// 7 bits a byte, lowest first; the top bit says that more follow.
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(static_cast<std::uint8_t>(value | 0x80));
    byte(static_cast<std::uint8_t>(value));
  }
  /// 8 bytes, lowest first.
  void word(std::uint64_t value) {
    for (unsigned shift = 0; shift < 64; shift += 8)
      byte(static_cast<std::uint8_t>(value >> shift));
  }
  void text(std::string_view value) {
    number(value.size());
    const auto bytes = std::as_bytes(std::span(value));
    to_.insert(to_.end(), bytes.begin(), bytes.end());
  }

 private:
  std::vector<std::byte>& to_;
};

/// Reads it back, never past the end. What is not there reads as 0 and makes good() false for ever.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> from) : from_(from) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool empty() const { return at_ == from_.size(); }
  /// The byte that is read next, which stays. Precondition: !empty().
  [[nodiscard]] std::uint8_t peek() const { return std::to_integer<std::uint8_t>(from_[at_]); }
  /// Bytes read so far.
  [[nodiscard]] std::size_t at() const { return at_; }

  std::uint8_t byte() {
    if (at_ == from_.size()) {
      good_ = false;
      return 0;
    }
    return std::to_integer<std::uint8_t>(from_[at_++]);
  }
  /// Each number has one way to be written: the shortest.
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t next = byte();
      value |= static_cast<std::uint64_t>(next & 0x7F) << shift;
      if ((next & 0x80) != 0) continue;
      if ((next == 0 && shift != 0) || (shift == 63 && next > 1)) break;
      return good_ ? value : 0;
    }
    good_ = false;
    return 0;
  }
  std::uint64_t word() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 8) {
      value |= static_cast<std::uint64_t>(byte()) << shift;
    }
    return good_ ? value : 0;
  }
  /// Empty, and no longer good, if it is longer than `most`. Valid as long as what is read from.
  std::string_view text(std::size_t most) {
    const std::uint64_t size = number();
    if (size > most || size > from_.size() - at_) good_ = false;
    if (!good_) return {};
    const auto* first = reinterpret_cast<const char*>(from_.data() + at_);
    at_ += static_cast<std::size_t>(size);
    return {first, static_cast<std::size_t>(size)};
  }

 private:
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
  bool good_ = true;
};

}  // namespace sealvisor::evidence
