#include "vmm/app/kernels.h"

#include <unistd.h>

#include <system_error>

#include <fmt/format.h>

#include "vmm/app/script_folder.h"
#include "vmm/app/variants.h"
#include "vmm/image/kernel_image.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

RecipeTraits traits_of(const std::string& recipe) {
  if (recipe == "lying" || recipe == kRestless) return {true, true, true};
  if (recipe == "tampering") return {true, true, false};
  // A variant promises what its base does (kernelbuild/recipe.py).
  if (const auto base = without_variant(recipe); base != recipe)
    return traits_of(std::string(base));
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
  return folder_from(places.kernel_script(), {"path", recipe, arch::name_of(arch)});
}

Result<KernelFiles> kernel_files(const fs::path& folder, arch::Arch arch) {
  KernelFiles files;
  files.symbols = folder / "vmlinux";
  files.image = folder / (arch == arch::Arch::Arm64 ? "Image" : kCompressedImage);
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
