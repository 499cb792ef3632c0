#include "vmm/app/kernels.h"

#include <unistd.h>

#include <system_error>

#include <fmt/format.h>

#include "vmm/app/capture.h"
#include "vmm/image/kernel_image.h"
#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// The script hashes a few small files; this is for a machine that is very busy.
constexpr std::chrono::seconds kScriptLimit{60};

/// Last line that is not empty, without the script's name in front.
std::string last_line(const std::string& text) {
  std::size_t end = text.find_last_not_of("\r\n ");
  if (end == std::string::npos) return "";
  const std::size_t start = text.rfind('\n', end);
  std::string line = text.substr(start == std::string::npos ? 0 : start + 1);
  line.erase(line.find_last_not_of("\r\n ") + 1);
  constexpr std::string_view kName = "guest/kernel/build: ";
  if (line.starts_with(kName)) line.erase(0, kName.size());
  return report::printable(line);
}

}  // namespace

RecipeTraits traits_of(const std::string& recipe) {
  if (recipe == "lying" || recipe == "restless") return {true, true, true};
  if (recipe.ends_with("-unsealed")) return {true, false, false};
  if (recipe.ends_with("-sealed")) return {true, true, false};
  return {};
}

Result<fs::path> kernel_dir(const Places& places, const std::string& recipe, arch::Arch arch) {
  if (!places.kernels.empty()) {
    fs::path ready = places.kernels / recipe / arch::name_of(arch);
    std::error_code unreadable;
    if (fs::is_directory(ready, unreadable)) return ready;
    return Error{ExitCode::HostLacks,
                 fmt::format("SEALVISOR_KERNELS names {}, which has no folder {}/{}",
                             places.kernels.string(), recipe, arch::name_of(arch))};
  }
  const auto answer =
      capture(places.kernel_script(), {"path", recipe, arch::name_of(arch)}, kScriptLimit);
  if (!answer) return answer.error();
  const std::string line = last_line(answer.value().output);
  switch (answer.value().status) {
    case 0:
      break;
    case 2:
      return Error{ExitCode::Usage, line};
    case 3:
      return Error{ExitCode::HostLacks, line};
    default:
      return Error{ExitCode::HostLacks,
                   fmt::format("{} path {} {} ended with status {}: {}",
                               places.kernel_script().string(), recipe, arch::name_of(arch),
                               answer.value().status, line.empty() ? "it printed nothing" : line)};
  }
  fs::path folder = line;
  std::error_code error;
  if (!folder.is_absolute() || !fs::is_directory(folder, error)) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{} path {} {} printed '{}', expected a folder",
                             places.kernel_script().string(), recipe, arch::name_of(arch), line)};
  }
  return folder;
}

Result<KernelFiles> kernel_files(const fs::path& folder, arch::Arch arch) {
  KernelFiles files;
  files.symbols = folder / "vmlinux";
  files.image = folder / (arch == arch::Arch::Arm64 ? "Image" : "image");
  if (arch == arch::Arch::X86_64 && image::probe_kernel(files.symbols, arch).ok()) {
    files.image = files.symbols;
  }
  for (const fs::path& path : {files.image, files.symbols}) {
    if (::access(path.c_str(), R_OK) != 0) return errno_error(ExitCode::HostLacks, path.string());
  }
  return files;
}

Error become_kernel_script(const Places& places, const std::vector<std::string>& arguments) {
  const std::string program = places.kernel_script().string();
  std::vector<char*> words = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    words.push_back(const_cast<char*>(argument.c_str()));
  }
  words.push_back(nullptr);
  ::execv(program.c_str(), words.data());
  return errno_error(ExitCode::HostLacks, "running " + program);
}

}  // namespace sealvisor::app
