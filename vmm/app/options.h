// The command line.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "arch/arch.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"

namespace sealvisor::app {

/// What guest machine to use; shared by `verify` and `boot`.
struct MachineOptions {
  std::filesystem::path kernel;        ///< A user's own image; empty: recipes.
  std::filesystem::path symbols;       ///< Its vmlinux; empty: none.
  std::vector<std::string> scenarios;  ///< Patterns; empty: the default ones.
  std::uint64_t memory_mib = 256;
  std::string cpu_model;  ///< Empty: the default of the architecture.
  engine::Kind engine = engine::Kind::Tcg;
  engine::Mechanism mechanism = engine::Mechanism::Best;  ///< Kvm.
  bool nested = false;                                    ///< Kvm: in a host that QEMU emulates.
};

struct VerifyOptions {
  MachineOptions machine;
  std::vector<arch::Arch> archs;  ///< Empty: with an image of the user's, its own; else both.
  std::vector<std::string> recipes;
  std::filesystem::path json;   ///< Empty: none is written.
  std::filesystem::path trace;  ///< Empty: none is kept.
  std::chrono::seconds deadline{120};
  bool witness = false;
  bool step_check = false;
  std::uint32_t leave_return = 0;  ///< 0: none.
};

struct BootOptions {
  MachineOptions machine;
  std::vector<arch::Arch> archs;  ///< One, or empty as above (x86_64 for a recipe).
  std::string recipe = "lts-sealed";
  std::filesystem::path initramfs;  ///< Empty: the agent.
  std::string arguments;            ///< For the kernel's command line.
};

struct ScenariosOptions {
  bool json = false;
};

struct DoctorOptions {};

/// Arguments for guest/kernel/build.
struct KernelOptions {
  std::vector<std::string> arguments;
};

/// --help and --version.
struct PrintOptions {
  std::string text;
};

using Command = std::variant<VerifyOptions, BootOptions, ScenariosOptions, DoctorOptions,
                             KernelOptions, PrintOptions>;

/// Recipes that `verify` runs if none is named.
inline constexpr const char* kDefaultRecipes[] = {"lts-sealed", "lts-unsealed", "lying"};

/// Reads the arguments behind the program's name. Errors (Usage): one sentence, and where to find
/// help.
[[nodiscard]] Result<Command> parse_options(const std::vector<std::string>& arguments);

}  // namespace sealvisor::app
