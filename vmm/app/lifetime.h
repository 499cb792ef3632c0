// `sealvisor lifetime`: whether the kernel itself changes system mappings while their process
// lives.
#pragma once

#include <string>
#include <vector>

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"

namespace sealvisor::app {

/// Patterns of the scenarios that run if none is named: process life, storms, and the controls that
/// the list must show.
[[nodiscard]] std::vector<std::string> lifetime_scenarios();

/// Requests for all guests, as verify's prepare() makes them, each with every change listed.
/// Errors (Usage): as there, and a scenario of another command.
[[nodiscard]] Result<Prepared> prepare_lifetime(const LifetimeOptions& options,
                                                const Places& places, const VerifyTools& tools);

/// The whole command, as verify().
[[nodiscard]] int lifetime(const LifetimeOptions& options);

}  // namespace sealvisor::app
