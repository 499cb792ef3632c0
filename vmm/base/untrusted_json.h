// JSON that somebody else may have written.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <nlohmann/json.hpp>

namespace sealvisor {

/// Deepest nesting that is read: nothing of ours goes beyond ten, and copying or printing a value
/// takes stack for each level.
inline constexpr std::size_t kMostJsonDepth = 64;

/// Most members of one object, which is searched from its start for each that is added. Names of
/// code are at most 65,536.
inline constexpr std::size_t kMostJsonMembers = 70'000;

/// `text` as JSON. nullopt: it is none, is nested deeper than kMostJsonDepth, or has an object of
/// more members than kMostJsonMembers or with two of one name, of which readers may take either.
template <typename Json = nlohmann::ordered_json>
[[nodiscard]] std::optional<Json> parse_untrusted_json(std::string_view text) {
  using Event = typename Json::parse_event_t;
  bool good = true;
  // Of the object that is open at each depth.
  std::vector<std::unordered_set<std::string>> names(kMostJsonDepth + 1);
  // A value that is refused is not kept, nor is what is in it: the parser itself does not recurse.
  const auto look = [&](int depth, Event event, Json& parsed) {
    if (!good) return false;
    const auto level = static_cast<std::size_t>(depth);
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        good = level < kMostJsonDepth;
        // The members of what begins here are one level below it.
        // A new set: clear() takes as long as the largest that was there.
        if (good) names[level + 1] = std::unordered_set<std::string>();
        break;
      case Event::key:
        good = names[level].size() < kMostJsonMembers &&
               names[level].insert(parsed.template get_ref<const std::string&>()).second;
        break;
      default:
        break;
    }
    return good;
  };
  Json json = Json::parse(text, look, /*allow_exceptions=*/false);
  if (!good || json.is_discarded()) return std::nullopt;
  return json;
}

}  // namespace sealvisor
