#include "vmm/base/untrusted_json.h"

#include <string>

#include <gtest/gtest.h>

namespace sealvisor {
namespace {

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(UntrustedJson, IsReadAsItIs) {
  const auto json = parse_untrusted_json(R"({"b": 1, "a": [{"b": 2}, {"b": 3}], "c": {"b": 4}})");
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(json->dump(), R"({"b":1,"a":[{"b":2},{"b":3}],"c":{"b":4}})");
}

TEST(UntrustedJson, IsRefusedWhereItIsNone) {
  for (const char* text : {"", "{", "nonsense", R"({"a": 1} {})", "[1, ]"}) {
    EXPECT_FALSE(parse_untrusted_json(text).has_value()) << text;
  }
}

TEST(UntrustedJson, IsNotNestedForEver) {
  EXPECT_TRUE(parse_untrusted_json(nested(kMostJsonDepth)).has_value());
  EXPECT_FALSE(parse_untrusted_json(nested(kMostJsonDepth + 1)).has_value());
  EXPECT_FALSE(parse_untrusted_json(nested(1'000'000)).has_value());
  EXPECT_FALSE(parse_untrusted_json(std::string(1'000'000, '[')).has_value());
}

TEST(UntrustedJson, HasEachMemberOnce) {
  EXPECT_FALSE(parse_untrusted_json(R"({"a": 1, "a": 1})").has_value());
  EXPECT_FALSE(parse_untrusted_json(R"({"a": 1, "\u0061": 2})").has_value());
  EXPECT_FALSE(parse_untrusted_json(R"([{"x": {"a": 1, "b": [], "a": 2}}])").has_value());
  EXPECT_TRUE(parse_untrusted_json<nlohmann::json>(R"([{"a": 1}, {"a": 2}])").has_value());
}

}  // namespace
}  // namespace sealvisor
