// `sealvisor observe`: the user's own programs in a guest, under full observation.
#pragma once

#include <string>
#include <vector>

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/program_file.h"
#include "vmm/app/verify.h"

namespace sealvisor::app {

/// Runs to do, and the scenarios that their programs are (empty: one program without a file).
struct PreparedPrograms {
  Prepared prepared;
  std::vector<UserScenario> scenarios;
  std::string file;  ///< Where they are from, for messages.
  std::string text;  ///< What is in it.
};

/// Reads the scenarios, gathers the payload for each guest, finds kernels. Errors (Usage) as of
/// prepare(), gather_payload() and parse_scenarios().
[[nodiscard]] Result<PreparedPrograms> prepare_programs(const ObserveOptions& options,
                                                        const Places& places,
                                                        const VerifyTools& tools);

/// The whole command, as it was typed for the bundle. Returns the exit code.
[[nodiscard]] int observe(const ObserveOptions& options, const std::string& command);

}  // namespace sealvisor::app
