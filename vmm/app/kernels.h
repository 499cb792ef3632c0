// Guest kernels by recipe. Recipes and their builds are the business of the script
// guest/kernel/build; this only asks it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "vmm/app/places.h"
#include "vmm/base/result.h"

namespace sealvisor::app {

/// What a recipe promises, by its name.
struct RecipeTraits {
  bool expectations = false;  ///< False: nothing is known of it beforehand.
  bool sealed = false;
  bool control = false;
};

/// The control of `sealvisor lifetime`: a kernel that by itself changes [vdso].
inline constexpr const char* kRestless = "restless";

/// "<source>-sealed", "<source>-unsealed", "lying", "tampering" and "restless" are known, and each
/// with the name of a variant behind it ("-smp").
[[nodiscard]] RecipeTraits traits_of(const std::string& recipe);

/// Folder of the finished build of `recipe`. Errors: no such recipe (Usage), not built (HostLacks);
/// the message says what to do.
[[nodiscard]] Result<std::filesystem::path> kernel_dir(const Places& places,
                                                       const std::string& recipe, arch::Arch arch);

/// Beside them: the kernel's configuration, and what it was made of.
inline constexpr const char* kKernelConfig = "config";
inline constexpr const char* kKernelBuild = "build.json";

struct KernelFiles {
  std::filesystem::path image;    ///< The one that boots fastest.
  std::filesystem::path symbols;  ///< vmlinux.
};

/// In a build's folder: the image that start-up code comes with (x86-64: bzImage).
inline constexpr const char* kCompressedImage = "image";

/// The files to boot in a build's folder: on x86-64 the vmlinux if it can be booted as it is (PVH),
/// else the bzImage. Errors (HostLacks): the folder lacks one.
[[nodiscard]] Result<KernelFiles> kernel_files(const std::filesystem::path& folder,
                                               arch::Arch arch);

/// Becomes the script, with these arguments: its output, progress, signals and exit code are ours
/// from then on. Returns only if that fails.
[[nodiscard]] Error become_kernel_script(const Places& places,
                                         const std::vector<std::string>& arguments);

}  // namespace sealvisor::app
