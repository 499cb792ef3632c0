// Reading /proc/iomem for RAM. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "guest/agent/hex.h"

namespace sealvisor::agent {

/// Guest-physical addresses [start, end).
struct RamRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};

struct RamRanges {
  std::array<RamRange, 32> ranges{};
  std::size_t count = 0;

  [[nodiscard]] constexpr const RamRange* begin() const { return ranges.data(); }
  [[nodiscard]] constexpr const RamRange* end() const { return ranges.data() + count; }
};

/// The ranges of `text` called "System RAM": "<first>-<last> : System RAM". Indented lines are
/// parts of the range above them and are left out, and so is what does not fit into the result.
/// Format: kernel/resource.c, r_show.
[[nodiscard]] constexpr RamRanges ram_ranges(std::string_view text) {
  RamRanges result;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    if (!cut_hex(line, '-', first) || !cut_hex(line, ' ', last) || line != ": System RAM") continue;
    if (last < first || last == UINT64_MAX || result.count == result.ranges.size()) continue;
    result.ranges[result.count++] = {first, last + 1};
  }
  return result;
}

}  // namespace sealvisor::agent
