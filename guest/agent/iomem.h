// Reading /proc/iomem for RAM. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

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

namespace detail {

/// Cuts a lower-case hexadecimal number off `text`; false if there is none.
[[nodiscard]] constexpr bool cut_number(std::string_view& text, std::uint64_t& value) {
  value = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && digits < 16; ++digits) {
    const char c = text[digits];
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
    } else {
      break;
    }
  }
  text.remove_prefix(digits);
  return digits > 0;
}

}  // namespace detail

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
    if (!detail::cut_number(line, first) || !line.starts_with('-')) continue;
    line.remove_prefix(1);
    if (!detail::cut_number(line, last) || line != " : System RAM") continue;
    if (last < first || last == UINT64_MAX || result.count == result.ranges.size()) continue;
    result.ranges[result.count++] = {first, last + 1};
  }
  return result;
}

}  // namespace sealvisor::agent
