// What a tool's output says of how much it did. Pure; for guest and tests.
#pragma once

#include <cstdint>
#include <string_view>

namespace sealvisor::bench {

/// The decimal number that stands first behind `before` in `text`, with blanks between them and
/// none of the number's digits left out: what follows is no digit and no separator of thousands. 0:
/// there is no such number, or it has more than 9 digits.
[[nodiscard]] constexpr std::uint32_t number_behind(std::string_view text,
                                                    std::string_view before) {
  const std::size_t at = text.find(before);
  if (at == std::string_view::npos) return 0;
  text.remove_prefix(at + before.size());
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::uint32_t number = 0;
  int digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1)) {
    if (++digits > 9) return 0;
    number = number * 10 + static_cast<std::uint32_t>(text.front() - '0');
  }
  const bool ends = text.empty() || text.front() == ' ' || text.front() == '\n';
  return ends ? number : 0;
}

}  // namespace sealvisor::bench
