// Hexadecimal numbers as the kernel prints them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sealvisor::agent {

/// Cuts a lower-case hexadecimal number of at most 16 digits that is followed by `after` off
/// `text`. False: there is none; `text` is as it was.
[[nodiscard]] constexpr bool cut_hex(std::string_view& text, char after, std::uint64_t& value) {
  value = 0;
  std::size_t i = 0;
  for (; i < text.size() && i <= 16; ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
    } else {
      break;
    }
  }
  if (i == 0 || i > 16 || i >= text.size() || text[i] != after) return false;
  text = text.substr(i + 1);
  return true;
}

}  // namespace sealvisor::agent
