// Reading the members of a JSON object that somebody else may have written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "vmm/base/result.h"
#include "vmm/evidence/digest.h"

namespace sealvisor::evidence {

/// Takes members out by name and type. The first that is missing or of another type is remembered,
/// and from then on everything is empty: look at status() before anything is used.
class Members {
 public:
  using Json = nlohmann::ordered_json;

  /// `json` must outlive it. `what` names the object in errors.
  Members(const Json& json, std::string what);

  [[nodiscard]] std::string text(const char* name);
  [[nodiscard]] std::uint64_t number(const char* name, std::uint64_t most = UINT64_MAX);
  [[nodiscard]] bool flag(const char* name);
  [[nodiscard]] Digest digest(const char* name);
  /// Whatever it is; nullptr if there is none.
  [[nodiscard]] const Json* member(const char* name);
  /// An array; nullptr if there is none.
  [[nodiscard]] const Json* array(const char* name, std::size_t most);
  /// A number, or null.
  [[nodiscard]] std::optional<std::uint64_t> number_or_null(const char* name);
  [[nodiscard]] std::vector<std::string> texts(const char* name, std::size_t most);

  /// Says that `name` is not as it must be: expected `expected`.
  void refuse(const std::string& name, const std::string& expected);
  [[nodiscard]] Status status() const;

 private:
  [[nodiscard]] const Json* find(const char* name, const char* expected);

  const Json& json_;
  std::string what_;
  std::optional<Error> problem_;
};

/// Text that is JSON, else an error (Failed) that names `what`. Nothing of it is trusted yet.
[[nodiscard]] Result<Members::Json> parse_json(std::string_view text, std::string_view what);

}  // namespace sealvisor::evidence
