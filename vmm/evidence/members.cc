#include "vmm/evidence/members.h"

#include <utility>

#include <fmt/format.h>

#include "vmm/base/untrusted_json.h"

namespace sealvisor::evidence {

Members::Members(const Json& json, std::string what) : json_(json), what_(std::move(what)) {
  if (!json_.is_object()) {
    problem_ = Error{ExitCode::Failed, fmt::format("{}: expected an object", what_)};
  }
}

void Members::refuse(const std::string& name, const std::string& expected) {
  if (problem_) return;
  problem_ = Error{ExitCode::Failed, fmt::format("{}: \"{}\": expected {}", what_, name, expected)};
}

Status Members::status() const { return problem_ ? Status(*problem_) : Status(); }

const Members::Json* Members::find(const char* name, const char* expected) {
  if (problem_) return nullptr;
  const auto found = json_.find(name);
  if (found != json_.end()) return &*found;
  refuse(name, expected);
  return nullptr;
}

std::string Members::text(const char* name) {
  const Json* member = find(name, "a text");
  if (member == nullptr) return {};
  if (member->is_string()) return member->get<std::string>();
  refuse(name, "a text");
  return {};
}

std::uint64_t Members::number(const char* name, std::uint64_t most) {
  const Json* member = find(name, "a number");
  if (member == nullptr) return 0;
  if (member->is_number_unsigned() && member->get<std::uint64_t>() <= most) {
    return member->get<std::uint64_t>();
  }
  refuse(name, fmt::format("a whole number from 0 to {}", most));
  return 0;
}

std::optional<std::uint64_t> Members::number_or_null(const char* name) {
  const Json* member = find(name, "a number or null");
  if (member == nullptr || member->is_null()) return std::nullopt;
  return number(name);
}

bool Members::flag(const char* name) {
  const Json* member = find(name, "true or false");
  if (member == nullptr) return false;
  if (member->is_boolean()) return member->get<bool>();
  refuse(name, "true or false");
  return false;
}

Digest Members::digest(const char* name) {
  const auto digest = parse_digest(text(name));
  if (digest) return *digest;
  refuse(name, "64 hexadecimal digits");
  return {};
}

const Members::Json* Members::member(const char* name) { return find(name, "it"); }

const Members::Json* Members::array(const char* name, std::size_t most) {
  const Json* member = find(name, "an array");
  if (member == nullptr) return nullptr;
  if (member->is_array() && member->size() <= most) return member;
  refuse(name, fmt::format("an array of at most {}", most));
  return nullptr;
}

std::vector<std::string> Members::texts(const char* name, std::size_t most) {
  std::vector<std::string> texts;
  const Json* list = array(name, most);
  if (list == nullptr) return texts;
  for (const Json& one : *list) {
    if (!one.is_string()) {
      refuse(name, "an array of texts");
      return {};
    }
    texts.push_back(one.get<std::string>());
  }
  return texts;
}

Result<Members::Json> parse_json(std::string_view text, std::string_view what) {
  auto json = parse_untrusted_json(text);
  if (!json) {
    return Error{ExitCode::Failed,
                 fmt::format("{}: no JSON, or one with a member twice or too deep", what)};
  }
  return std::move(*json);
}

}  // namespace sealvisor::evidence
