// The kvm engine in a host that QEMU emulates: what such a host needs, and `verify --engine
// kvm-nested`. `bench` has its own in bench_nested.h.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "vmm/app/options.h"
#include "vmm/app/places.h"
#include "vmm/app/verify.h"
#include "vmm/engine/nested/nested_host.h"

namespace sealvisor::app {

/// Folder of a finished kernel, as VerifyTools has it.
using KernelDir =
    std::function<Result<std::filesystem::path>(const std::string& recipe, arch::Arch)>;

/// What emulated hosts need besides QEMU and the guests. Errors (HostLacks) say what to do, in a
/// build directory or in an installed tree.
struct NestedParts {
  Status kernel;   ///< Of the recipe `host`.
  Status init;     ///< First process of the host.
  Status program;  ///< Our own, static.
};
[[nodiscard]] NestedParts nested_parts(const Places& places, arch::Arch arch,
                                       const KernelDir& kernel_dir);

/// A folder that goes with the object.
class TemporaryFolder {
 public:
  [[nodiscard]] static Result<TemporaryFolder> make();
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  /// It stays, for somebody to look into.
  [[nodiscard]] std::filesystem::path keep() { return std::exchange(path_, {}); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// Tells the program in an emulated host which command it works for: its bundle says so, and not
/// how the host called it.
inline constexpr const char* kCommandVariable = "SEALVISOR_COMMAND";

/// Memory of a host beside that of a guest: program, kernels, what runs.
inline constexpr std::uint64_t kHostMemory = 512ULL << 20;

/// What a host has for a guest beside the guest's own deadline: to read its kernel's symbols, start
/// and end it, and report.
inline constexpr std::chrono::seconds kAroundAGuest{30};

/// A host of `arch` that runs our own program, static, with what each command of it needs there.
/// Arguments, kernels, guest programs, memory and deadline are the caller's to add. What the
/// program leaves in /out comes to `out`. Errors (HostLacks) name what is not built.
[[nodiscard]] Result<engine::nested::HostPlan> host_plan(arch::Arch arch, const Places& places,
                                                         const KernelDir& kernel_dir,
                                                         const std::filesystem::path& out);

/// Runs it to its end and prints what it prints; then a line on standard error. The program's exit
/// code, or why there is none.
[[nodiscard]] Result<ExitCode> run_in_host(engine::nested::HostPlan plan);

/// Where a file of the user's goes that the program left as `name` in `out`; nothing if `to` is
/// empty. Error (HostLacks) names `option`.
[[nodiscard]] Status hand_over(const std::filesystem::path& out, const char* name,
                               const char* option, const std::filesystem::path& to);

/// The emulated host for the guests of `options` of one architecture, those of recipes or the one
/// of an image of the user's: its program is our own, static, called with the same options and
/// --engine kvm. The reports that it writes come back in `out`: report.json, and report.xml and
/// report.html if they are wanted; the evidence, if it is asked for, as the folder bundle. Errors
/// (HostLacks) name what is not built, or (Usage) what is wrong with that image.
[[nodiscard]] Result<engine::nested::HostPlan> nested_plan(const VerifyOptions& options,
                                                           arch::Arch arch, const Places& places,
                                                           const VerifyTools& tools,
                                                           const std::filesystem::path& out);

/// The whole command: one host for each architecture, one after the other; prints what they print.
/// Without an architecture: that of the user's image.
/// Returns the worst exit code.
[[nodiscard]] int verify_nested(const VerifyOptions& options);

}  // namespace sealvisor::app
