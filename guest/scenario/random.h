// Numbers that a seed stands for: the same in the guest and in the VMM.
#pragma once

#include <cstdint>

namespace sealvisor::scenario {

/// Numbers from a seed (SplitMix64; Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] constexpr std::uint64_t next() {
    state_ += 0x9E37'79B9'7F4A'7C15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58'476D'1CE4'E5B9;
    z = (z ^ (z >> 27)) * 0x94D0'49BB'1331'11EB;
    return z ^ (z >> 31);
  }
  /// 0 to `end` - 1. Precondition: end > 0. A little uneven, which is no matter here.
  [[nodiscard]] constexpr std::uint32_t below(std::uint32_t end) {
    return static_cast<std::uint32_t>((next() >> 32) * end >> 32);
  }
  [[nodiscard]] constexpr bool chance(std::uint32_t of_hundred) { return below(100) < of_hundred; }

 private:
  std::uint64_t state_;
};

}  // namespace sealvisor::scenario
