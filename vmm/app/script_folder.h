// Asking a script of guest/ for a folder that it made: kernels, tools of others.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "vmm/base/result.h"

namespace sealvisor::app {

/// The folder that `script` prints as its last line when it is called with `arguments`. Errors:
/// what it says when it ends with 2 (Usage) or 3 (HostLacks), without its name in front; any other
/// ending, or no folder (HostLacks).
[[nodiscard]] Result<std::filesystem::path> folder_from(const std::filesystem::path& script,
                                                        const std::vector<std::string>& arguments);

}  // namespace sealvisor::app
