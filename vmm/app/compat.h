// `sealvisor compat`: what a seal breaks of known software.
#pragma once

#include <string>
#include <vector>

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"
#include "vmm/report/report.h"

namespace sealvisor::app {

/// Which sequences a guest of `arch` and `recipe` is asked for, of those that `patterns` name
/// (none: all). `not_tried` gets the others, with the reason.
struct ChosenSequences {
  std::vector<scenario::PlanItem> plan;
  std::vector<report::NotTried> not_tried;
};
/// Errors (Usage): a pattern that names none, or a scenario that is no sequence.
[[nodiscard]] Result<ChosenSequences> choose_sequences(const std::vector<std::string>& patterns,
                                                       arch::Arch arch, const std::string& recipe);

/// Requests for all guests, as verify's prepare() makes them, each with its sequences as plan.
/// `not_tried`: of each request.
struct PreparedCompat {
  Prepared guests;
  std::vector<std::vector<report::NotTried>> not_tried;
};
/// With options.real also a guest for each real program and each kernel that it is for. Errors: a
/// program that was not fetched (HostLacks).
[[nodiscard]] Result<PreparedCompat> prepare_compat(const CompatOptions& options,
                                                    const Places& places, const VerifyTools& tools);

/// The whole command, as verify().
[[nodiscard]] int compat(const CompatOptions& options);

}  // namespace sealvisor::app
