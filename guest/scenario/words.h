// Words and numbers of a line of text, for the parsers of plans. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sealvisor::scenario {

/// Cuts the next word off `rest`, up to one space; an empty word means that there was none.
[[nodiscard]] constexpr std::string_view next_word(std::string_view& rest) {
  const std::size_t space = rest.find(' ');
  const std::string_view word = rest.substr(0, space);
  rest = space == std::string_view::npos ? std::string_view{} : rest.substr(space + 1);
  return word;
}

/// Reads a decimal number of 1 to `limit`; 0 if `word` is not one.
[[nodiscard]] constexpr std::uint32_t number(std::string_view word, std::uint32_t limit) {
  if (word.empty() || word.size() > 9) return 0;
  std::uint32_t value = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return value <= limit ? value : 0;
}

}  // namespace sealvisor::scenario
