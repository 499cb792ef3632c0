#include "vmm/app/script_folder.h"

#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "vmm/app/capture.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// A script hashes a few small files; this is for a machine that is very busy.
constexpr std::chrono::seconds kLimit{60};

/// Last line that is not empty, without the name that scripts of guest/ put in front.
std::string last_line(const std::string& text, const fs::path& script) {
  std::size_t end = text.find_last_not_of("\r\n ");
  if (end == std::string::npos) return "";
  const std::size_t start = text.rfind('\n', end);
  std::string line = text.substr(start == std::string::npos ? 0 : start + 1);
  line.erase(line.find_last_not_of("\r\n ") + 1);
  const std::string name = fmt::format("guest/{}/{}: ", script.parent_path().filename().string(),
                                       script.filename().string());
  if (line.starts_with(name)) line.erase(0, name.size());
  return report::printable(line);
}

}  // namespace

Result<fs::path> folder_from(const fs::path& script, const std::vector<std::string>& arguments) {
  const auto answer = capture(script, arguments, kLimit);
  if (!answer) return answer.error();
  const std::string line = last_line(answer.value().output, script);
  const std::string call = fmt::format("{} {}", script.string(), fmt::join(arguments, " "));
  switch (answer.value().status) {
    case 0:
      break;
    case 2:
      return Error{ExitCode::Usage, line};
    case 3:
      return Error{ExitCode::HostLacks, line};
    default:
      return Error{ExitCode::HostLacks,
                   fmt::format("{} ended with status {}: {}", call, answer.value().status,
                               line.empty() ? "it printed nothing" : line)};
  }
  fs::path folder = line;
  std::error_code error;
  if (!folder.is_absolute() || !fs::is_directory(folder, error)) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} printed '{}', expected a folder", call, line)};
  }
  return folder;
}

}  // namespace sealvisor::app
