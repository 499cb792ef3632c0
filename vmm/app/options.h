// The command line.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "arch/arch.h"
#include "bench/baseline.h"
#include "bench/result.h"
#include "bench/samples.h"
#include "vmm/app/trace_filter.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"

namespace sealvisor::app {

/// Most time for one guest of `verify` or `observe`, if nothing else is asked for: with the default
/// scenarios, in full. In an emulated host the longest scenarios of one kernel (a thousand
/// processes) alone take minutes.
inline constexpr std::chrono::seconds kGuestDeadline{120};
inline constexpr std::chrono::seconds kFullDeadline{900};
inline constexpr std::chrono::seconds kNestedGuestDeadline{600};

/// What is expected of an image of the user's.
enum class Expect : std::uint8_t { Nothing, Sealed, Unsealed };

/// What guest machine to use; shared by `verify`, `observe` and `boot`.
struct MachineOptions {
  std::filesystem::path kernel;        ///< A user's own image; empty: recipes.
  std::filesystem::path symbols;       ///< Its vmlinux; empty: none.
  std::vector<std::string> scenarios;  ///< Patterns; empty: the default ones.
  bool full = false;                   ///< All scenarios, and cells for all mappings.
  std::uint64_t memory_mib = 256;
  std::string cpu_model;  ///< Empty: the default of the architecture.
  engine::Kind engine = engine::Kind::Tcg;
  engine::Mechanism mechanism = engine::Mechanism::Best;  ///< Kvm.
  bool nested = false;                                    ///< Kvm: in a host that QEMU emulates.
  Expect expect = Expect::Nothing;                        ///< Of `kernel`.
};

struct VerifyOptions {
  MachineOptions machine;
  std::vector<arch::Arch> archs;  ///< Empty: with an image of the user's, its own; else both.
  std::vector<std::string> recipes;
  std::vector<std::string> variants;  ///< Empty: the usual guest; else these instead, or "all".
  std::filesystem::path json;         ///< Empty: none is written, for this and the two below.
  std::filesystem::path junit;
  std::filesystem::path html;
  std::filesystem::path bundle;  ///< Empty: no evidence is kept.
  std::string command;           ///< What a bundle of an emulated host's is said to be of.
  std::chrono::seconds deadline = kGuestDeadline;  ///< For one guest.
  bool witness = false;
  bool step_check = false;
  std::uint32_t leave_return = 0;  ///< 0: none.
  std::uint64_t seed = 1;          ///< Of scenarios that take one.
  std::uint32_t count = 0;         ///< Of these; 0: the usual one.
};

struct ObserveOptions {
  MachineOptions machine;         ///< No scenarios.
  std::vector<arch::Arch> archs;  ///< Empty: those that the payload has programs for.
  std::vector<std::string> recipes;
  std::filesystem::path payload;  ///< A program, or a folder; empty: scenarios.
  std::string run;                ///< Which program of the folder; empty: the only one.
  std::vector<std::string> arguments;
  std::filesystem::path scenarios;  ///< A folder with its list (program_file.h).
  std::filesystem::path json;       ///< Empty: none is written, as in the two below.
  std::filesystem::path junit;
  std::filesystem::path html;
  std::filesystem::path bundle;                    ///< Empty: no evidence is kept.
  std::chrono::seconds deadline = kGuestDeadline;  ///< For one guest.
  std::uint32_t limit_seconds = 60;  ///< Of the guest's clock, for the program of the payload.
  std::uint32_t output_bytes = 65'536;
  bool witness = false;
  bool untraced = false;
};

struct BootOptions {
  MachineOptions machine;
  std::vector<arch::Arch> archs;  ///< One, or empty as above (x86_64 for a recipe).
  std::string recipe = "lts-sealed";
  std::filesystem::path initramfs;  ///< Empty: the agent.
  std::string arguments;            ///< For the kernel's command line.
};

struct BenchOptions {
  std::vector<arch::Arch> archs;  ///< At least one.
  engine::Kind engine = engine::Kind::Tcg;
  bool nested = false;          ///< Kvm: in a host that QEMU emulates.
  std::optional<unsigned> pin;  ///< Kvm: the CPU that runs the guests; nullopt: one is chosen.
  std::string a = "lts-unsealed";
  std::string b = "lts-sealed";      ///< "slower" means that it costs more than a.
  std::vector<std::string> filters;  ///< Patterns for experiments; empty: those of the mode.
  bench::Mode mode = bench::Mode::Quick;
  std::uint32_t layouts = 0;   ///< Of each kernel; 0: as many as the mode has.
  std::uint64_t seed = 1;      ///< The layouts' seeds are made from it.
  std::filesystem::path save;  ///< Empty: none is written, for this and those below.
  std::filesystem::path json;
  std::filesystem::path csv;
  std::filesystem::path html;
  std::filesystem::path baseline;       ///< Empty: there is none.
  std::vector<bench::Same> may_differ;  ///< From the baseline.
  bench::FailOn fail_on = bench::FailOn::Nothing;
  bool explain = false;
  bool cross_check = false;  ///< Tools of others are run too, and the slowed kernel.
};

/// What `compat` and `lifetime` have in common: with the machine's kernel, symbols, scenarios,
/// memory, cpu.
struct WatchedOptions {
  MachineOptions machine;
  std::vector<arch::Arch> archs;  ///< As in VerifyOptions.
  std::vector<std::string> recipes;
  std::filesystem::path json;  ///< Empty: none is written.
  std::chrono::seconds deadline{120};
};

/// `sealvisor compat`: scenarios of kind Sequence.
struct CompatOptions : WatchedOptions {
  bool real = false;  ///< The real programs too.
};

/// `sealvisor lifetime`.
struct LifetimeOptions : WatchedOptions {
  LifetimeOptions() { deadline = std::chrono::seconds(900); }
};

/// `audit`.
struct AuditOptions {
  std::filesystem::path folder;
  std::string seal;  ///< The one that it must have; empty: any.
};

/// `trace query` and `trace export`.
struct TraceOptions {
  enum class Format : std::uint8_t { Text, JsonLines, Csv };
  std::filesystem::path folder;
  Format format = Format::Text;
  std::filesystem::path out;  ///< Empty: standard output.
  TraceFilter filter;
};

struct ScenariosOptions {
  bool json = false;
  bool variants = false;  ///< List variants instead.
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

using Command = std::variant<VerifyOptions, ObserveOptions, BootOptions, BenchOptions,
                             CompatOptions, LifetimeOptions, AuditOptions, TraceOptions,
                             ScenariosOptions, DoctorOptions, KernelOptions, PrintOptions>;

/// Recipes that `verify` runs if none is named.
inline constexpr const char* kDefaultRecipes[] = {"lts-sealed", "lts-unsealed", "lying"};

/// Recipes that `compat` and `lifetime` run if none is named: one is the control of the other.
inline constexpr const char* kTwinRecipes[] = {"lts-sealed", "lts-unsealed"};

/// The one that `observe` runs if none is named.
inline constexpr const char* kObservedRecipe = "lts-sealed";

/// Most layouts of a kernel that `bench --layouts` takes. Fewer than bench::kLeastPairs decide
/// nothing.
inline constexpr std::uint32_t kMostLayouts = 256;

/// Reads the arguments behind the program's name. Errors (Usage): one sentence, and where to find
/// help.
[[nodiscard]] Result<Command> parse_options(const std::vector<std::string>& arguments);

}  // namespace sealvisor::app
