// A report that was kept, beside the same one computed again.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "vmm/base/result.h"
#include "vmm/report/report.h"

namespace sealvisor::report {

/// One thing that is not the same.
struct Difference {
  std::string what;      ///< "x86_64 lts-sealed: [vdso] munmap/whole: verdict".
  std::string recorded;  ///< As JSON, cut to a line; "nothing" if it is not there.
  std::string computed;
};

struct Comparison {
  std::vector<Difference> differences;
  std::size_t cells = 0;  ///< That were compared.
  std::size_t lives = 0;
};

/// A report that was kept, read: one of the full matrix has some 100 MB.
class Recorded {
 public:
  using Json = nlohmann::ordered_json;

  /// Errors (Failed): `text` is no report of this version.
  [[nodiscard]] static Result<Recorded> parse(std::string_view text);
  [[nodiscard]] Json& json() { return *json_; }
  [[nodiscard]] const Json& json() const { return *json_; }

 private:
  explicit Recorded(std::shared_ptr<Json> json) : json_(std::move(json)) {}
  std::shared_ptr<Json> json_;
};

/// Compares all that was judged, and under tcg the instructions up to the guest's first message.
/// What the host measured (times, memory, exits) or had (paths, code of the file of the symbols
/// where the guest's was not to be had) is left out, and with `told` false the text of
/// instructions, which another disassembler may put otherwise. `which`: which runs of `recorded`
/// the computed ones are, and only those are compared; nullptr: all, and what the report concludes
/// from them. `recorded` is of no use behind it.
[[nodiscard]] Result<Comparison> compare(Recorded recorded, const Report& computed, bool told,
                                         const std::vector<bool>* which = nullptr);
/// The same of a text. Errors as Recorded::parse().
[[nodiscard]] Result<Comparison> compare(std::string_view recorded, const Report& computed,
                                         bool told, const std::vector<bool>* which = nullptr);

/// Runs of a report that could not start: nothing is known of them but what it says. Errors
/// (Failed): what it says is not that.
[[nodiscard]] Result<std::vector<NotRun>> not_run_of(const Recorded& recorded);
[[nodiscard]] Result<std::vector<NotRun>> not_run_of(std::string_view recorded);

}  // namespace sealvisor::report
