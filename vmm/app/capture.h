// Running a helper program to its end and keeping what it prints.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "vmm/base/result.h"

namespace sealvisor::app {

struct Captured {
  int status = 0;      ///< Exit status; 128 + the signal's number if one killed it.
  std::string output;  ///< Standard output and error, cut to 64 KiB.
};

/// Runs `program` and waits for its end, at most `limit`. Errors (HostLacks): it can't be started,
/// or it has not ended in time (it is killed then).
[[nodiscard]] Result<Captured> capture(const std::filesystem::path& program,
                                       const std::vector<std::string>& arguments,
                                       std::chrono::milliseconds limit);

}  // namespace sealvisor::app
