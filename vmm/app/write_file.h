// Writing a result where others may be reading it.
#pragma once

#include <filesystem>
#include <string_view>

#include "vmm/base/result.h"

namespace sealvisor::app {

/// Replaces the contents of `path`: a reader sees the old file or the whole new one. A path that
/// names something else than a plain file (a pipe, a terminal) is written to as it is. Errors
/// (HostLacks) name the file and the reason: no such folder, no permission, disk full.
[[nodiscard]] Status write_file(const std::filesystem::path& path, std::string_view contents);

/// Whether write_file() can put something there later: asked before hours are spent on what nothing
/// could hold. An empty path is never written. Errors (Usage) name `option` and the path.
[[nodiscard]] Status check_writable(const char* option, const std::filesystem::path& path);

/// Whether `path`, however it is put and wherever its links lead, is not in `bundle`: a file that
/// is written there is a change of the evidence, or the end of it. An empty path is nowhere. Errors
/// (Usage) name `option` and both.
[[nodiscard]] Status check_outside(const char* option, const std::filesystem::path& path,
                                   const std::filesystem::path& bundle);

}  // namespace sealvisor::app
