#include "vmm/app/nested.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "vmm/app/bundle.h"
#include "vmm/app/fail.h"
#include "vmm/app/kernels.h"
#include "vmm/app/write_file.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/nested/command_line.h"
#include "vmm/image/kernel_image.h"
#include "vmm/report/conclude.h"

namespace sealvisor::app {

namespace fs = std::filesystem;
using engine::nested::HostOutcome;
using engine::nested::HostPlan;
using engine::nested::NestedHost;

namespace {

/// Recipe that emulated hosts boot.
constexpr const char* kHostRecipe = "host";
constexpr const char* kBundleName = "bundle";
/// A file that the program in the host writes, and where the user wants it.
struct ReportFile {
  const char* option;
  const char* name;
  const fs::path VerifyOptions::*path;
};
constexpr ReportFile kReportFiles[] = {{"--json", "report.json", &VerifyOptions::json},
                                       {"--junit", "report.xml", &VerifyOptions::junit},
                                       {"--html", "report.html", &VerifyOptions::html}};
/// Folders of the host for an image of the user's and its symbols, which may have the same name.
constexpr std::string_view kImageFolder = "image";
constexpr std::string_view kSymbolsFolder = "symbols";

fs::path host_init(const Places& places, arch::Arch arch) {
  return places.agent_dir(arch) / "host-init";
}

/// Where a file of the user's is in the host: under its own name, which the report shows.
std::string place_of(std::string_view folder, const fs::path& file) {
  return fmt::format("{}/{}", folder, file.filename().string());
}

/// Which kernels are to be run, as words for the program in the host.
std::vector<std::string> kernel_words(const VerifyOptions& options) {
  const MachineOptions& machine = options.machine;
  std::vector<std::string> words;
  if (machine.kernel.empty()) {
    for (const std::string& recipe : options.recipes) {
      words.insert(words.end(), {"--recipe", recipe});
    }
    return words;
  }
  words = {"--kernel", "/" + place_of(kImageFolder, machine.kernel)};
  if (machine.expect != Expect::Nothing) {
    words.insert(words.end(),
                 {"--expect", machine.expect == Expect::Sealed ? "sealed" : "unsealed"});
  }
  if (!machine.symbols.empty()) {
    words.insert(words.end(), {"--symbols", "/" + place_of(kSymbolsFolder, machine.symbols)});
  }
  return words;
}

/// The options again, as words for the program in the host.
std::vector<std::string> words_of(const VerifyOptions& options, arch::Arch arch) {
  std::vector<std::string> words = {"verify", "--engine", "kvm", "--arch", arch::name_of(arch)};
  const std::vector<std::string> kernels = kernel_words(options);
  words.insert(words.end(), kernels.begin(), kernels.end());
  words.insert(words.end(), {"--mechanism", engine::name_of(options.machine.mechanism)});
  for (const std::string& scenario : options.machine.scenarios) {
    words.insert(words.end(), {"--scenario", scenario});
  }
  if (options.machine.full) words.emplace_back("--full");
  words.insert(words.end(), {"--memory", std::to_string(options.machine.memory_mib)});
  words.insert(words.end(), {"--deadline", std::to_string(options.deadline.count())});
  words.insert(words.end(), {"--seed", std::to_string(options.seed)});
  if (options.count != 0) words.insert(words.end(), {"--count", std::to_string(options.count)});
  if (options.step_check) words.emplace_back("--step-check");
  if (options.leave_return != 0) {
    words.insert(words.end(), {"--leave-return", std::to_string(options.leave_return)});
  }
  for (const ReportFile& file : kReportFiles) {
    // The JSON report always: who looks into the folder finds all in it.
    if (file.path != &VerifyOptions::json && (options.*file.path).empty()) continue;
    words.insert(words.end(), {file.option, std::string("/out/") + file.name});
  }
  if (!options.bundle.empty()) {
    words.insert(words.end(), {"--bundle", std::string("/out/") + kBundleName});
  }
  return words;
}

/// Puts the user's image and its symbols into the host.
Status add_own(const MachineOptions& machine, arch::Arch arch, HostPlan& plan) {
  // Before a host boots for it.
  if (auto image = image::probe_kernel(machine.kernel, arch); !image) return image.error();
  const auto add = [&plan](std::string_view folder, const fs::path& file) -> Status {
    std::error_code error;
    const std::uint64_t bytes = fs::file_size(file, error);
    if (error) {
      return Error{ExitCode::Usage, fmt::format("{}: {}", file.string(), error.message()),
                   error.value()};
    }
    plan.files.push_back({place_of(folder, file), file, false});
    // Symbols may be much larger than those of the recipes.
    engine::nested::make_room(plan, bytes);
    return {};
  };
  if (auto added = add(kImageFolder, machine.kernel); !added) return added;
  return machine.symbols.empty() ? Status() : add(kSymbolsFolder, machine.symbols);
}

/// Puts the kernels of the recipes into the host.
Status add_recipes(const VerifyOptions& options, arch::Arch arch, const VerifyTools& tools,
                   HostPlan& plan) {
  for (const std::string& recipe : options.recipes) {
    const auto built = tools.kernel_dir(recipe, arch);
    if (!built) return built.error();
    const auto files = kernel_files(built.value(), arch);
    if (!files) return files.error();
    const std::string to = fmt::format("kernels/{}/{}", recipe, arch::name_of(arch));
    const KernelFiles& kernel = files.value();
    plan.files.push_back({place_of(to, kernel.symbols), kernel.symbols, false});
    if (kernel.image != kernel.symbols) {
      plan.files.push_back({place_of(to, kernel.image), kernel.image, false});
    }
    // What a bundle keeps of it.
    for (const char* name : {kKernelConfig, kKernelBuild}) {
      const fs::path fact = built.value() / name;
      std::error_code error;
      if (fs::is_regular_file(fact, error)) plan.files.push_back({place_of(to, fact), fact, false});
    }
  }
  plan.environment = {"SEALVISOR_KERNELS=/kernels"};
  return {};
}

/// The bundle that the program left in `from`; nothing if `to` is empty, or there is none.
Status hand_over_bundle(const fs::path& from, const fs::path& to) {
  std::error_code error;
  // One that failed before its guests ran made none.
  if (to.empty() || !fs::is_directory(from, error)) return {};
  fs::copy(from, to, fs::copy_options::recursive, error);
  if (!error) return {};
  return Error{ExitCode::HostLacks, fmt::format("--bundle {}: {}", to.string(), error.message())};
}

Result<ExitCode> run_host(const VerifyOptions& options, arch::Arch arch, const Places& places,
                          const VerifyTools& tools) {
  auto out = TemporaryFolder::make();
  if (!out) return out.error();
  auto plan = nested_plan(options, arch, places, tools, out.value().path());
  if (!plan) return plan.error();
  const auto code = run_in_host(std::move(plan).value());
  if (!code) return code.error();
  const fs::path& from = out.value().path();
  // One that can't be handed over keeps back none of the others, nor what the program came to.
  ExitCode worst = code.value();
  bool whole = true;
  const auto take = [&](const Status& handed) {
    if (handed) return;
    fmt::print(stderr, "sealvisor: {}\n", handed.error().message);
    worst = report::worse(worst, handed.error().code);
    whole = false;
  };
  for (const ReportFile& file : kReportFiles) {
    take(hand_over(from, file.name, file.option, options.*file.path));
  }
  take(hand_over_bundle(from / kBundleName, options.bundle));
  std::error_code error;
  // Hours may be in it.
  if (!whole && !fs::is_empty(from, error)) {
    fmt::print(stderr, "sealvisor: all that it left is in {}\n", out.value().keep().string());
  }
  return worst;
}

}  // namespace

Result<TemporaryFolder> TemporaryFolder::make() {
  std::error_code error;
  std::string name = (fs::temp_directory_path(error) / "sealvisor-XXXXXX").string();
  if (error || ::mkdtemp(name.data()) == nullptr) {
    return errno_error(ExitCode::HostLacks, "making a temporary folder");
  }
  return TemporaryFolder(name);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Result<ExitCode> run_in_host(HostPlan plan) {
  const char* arch = arch::name_of(plan.arch);
  // The host's console has the line ends of a terminal.
  plan.on_console = [](std::string_view bytes) {
    for (const char c : bytes) {
      if (c != '\r') std::fputc(c, stdout);
    }
    std::fflush(stdout);
  };
  auto host = NestedHost::create(std::move(plan));
  if (!host) return host.error();
  const auto outcome = host.value().run();
  if (!outcome) return outcome.error();
  const HostOutcome& how = outcome.value();
  const HostPlan& ran = host.value().plan();
  fmt::print(stderr, "sealvisor: emulated {} host ({}, {}): {:.1f} s, {:.1f} s of CPU\n", arch,
             how.version,
             ran.cpu_model.empty() ? engine::nested::default_cpu_model(ran.arch) : ran.cpu_model,
             how.wall_seconds, how.cpu_seconds);
  if (how.end.kind == engine::nested::FrameKind::Exited) {
    return static_cast<ExitCode>(how.end.value);
  }
  return Error{ExitCode::GuestFailed, fmt::format("the program in the emulated {} host {}", arch,
                                                  engine::nested::text_of(how.end))};
}

Status hand_over(const fs::path& out, const char* name, const char* option, const fs::path& to) {
  if (to.empty()) return {};
  std::error_code error;
  fs::copy_file(out / name, to, fs::copy_options::overwrite_existing, error);
  if (!error) return {};
  return Error{ExitCode::HostLacks, fmt::format("{} {}: {}", option, to.string(), error.message())};
}

NestedParts nested_parts(const Places& places, arch::Arch arch, const KernelDir& kernel_dir) {
  NestedParts parts;
  if (const auto folder = kernel_dir(kHostRecipe, arch); !folder) {
    parts.kernel =
        Error{folder.error().code, "the emulated host's kernel: " + folder.error().message};
  } else if (const auto kernel = engine::nested::host_kernel(folder.value(), arch); !kernel) {
    parts.kernel = kernel.error();
  }
  const auto check = [](const fs::path& path, const std::string& what, const std::string& advice) {
    if (::access(path.c_str(), R_OK | X_OK) == 0) return Status();
    Error error = errno_error(ExitCode::HostLacks, fmt::format("{} {}", what, path.string()));
    error.message += "; " + advice;
    return Status(std::move(error));
  };
  parts.init = check(host_init(places, arch), "the emulated host's init",
                     places.installed ? "install anew: `cmake --install` puts it there"
                                      : "`cmake --build` makes it");
  const std::string build = fmt::format("tests/nested/build-program {}", arch::name_of(arch));
  parts.program =
      check(places.nested_program(arch), "the static program for the emulated host",
            places.installed ? fmt::format("run {} in the source tree, then `cmake --install` "
                                           "anew, which puts it there",
                                           build)
                             : fmt::format("{} builds it", build));
  return parts;
}

Result<HostPlan> host_plan(arch::Arch arch, const Places& places, const KernelDir& kernel_dir,
                           const fs::path& out) {
  const NestedParts parts = nested_parts(places, arch, kernel_dir);
  for (const Status* part : {&parts.kernel, &parts.init, &parts.program}) {
    if (!*part) return part->error();
  }
  const auto folder = kernel_dir(kHostRecipe, arch);
  if (!folder) return folder.error();
  auto kernel = engine::nested::host_kernel(folder.value(), arch);
  if (!kernel) return kernel.error();
  HostPlan plan;
  plan.arch = arch;
  plan.out = out;
  plan.kernel = std::move(kernel).value();
  plan.init = host_init(places, arch);
  plan.program = places.nested_program(arch);
  plan.files.push_back({"share/sealvisor/guest/kernel/build", places.kernel_script(), true});
  return plan;
}

Result<HostPlan> nested_plan(const VerifyOptions& options, arch::Arch arch, const Places& places,
                             const VerifyTools& tools, const fs::path& out) {
  auto made = host_plan(arch, places, tools.kernel_dir, out);
  if (!made) return made;
  HostPlan& plan = made.value();
  plan.cpu_model = options.machine.cpu_model;
  plan.memory_bytes = kHostMemory + (options.machine.memory_mib << 20);
  // Each guest has its own deadline inside. This is for all of them, and later than theirs, so that
  // the program still writes its report of guests that passed theirs.
  const bool own = !options.machine.kernel.empty();
  const int guests = own ? 1 : static_cast<int>(options.recipes.size());
  plan.deadline = std::min<std::chrono::milliseconds>((options.deadline + kAroundAGuest) * guests,
                                                      engine::nested::kLongestDeadline);

  const auto add = [&plan](std::string path, fs::path source, bool executable) {
    plan.files.push_back({std::move(path), std::move(source), executable});
  };
  add("share/sealvisor/docs/known-findings.json", places.known_findings(), false);
  for (const char* name : {"init", "dynamic", "loader", "helper32"}) {
    add(fmt::format("bin/guest/{}/{}", arch::name_of(arch), name), places.agent_dir(arch) / name,
        true);
  }
  const Status added =
      own ? add_own(options.machine, arch, plan) : add_recipes(options, arch, tools, plan);
  if (!added) return added.error();
  plan.arguments = words_of(options, arch);
  if (!options.bundle.empty() && !options.command.empty()) {
    std::string line = options.command;
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c == '\n' || c == '\0'; }, ' ');
    plan.environment.push_back(fmt::format("{}={}", kCommandVariable, line));
  }
  return made;
}

int verify_nested(const VerifyOptions& options) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  if (auto apart = check_outside("--json", options.json, options.bundle); !apart) {
    return fail(apart.error());
  }
  // The program in the host makes it; here it is only seen to that it can be put there.
  const auto bundle = Bundle::create(options.bundle, "");
  if (!bundle) return fail(bundle.error());
  VerifyTools tools;
  tools.kernel_dir = [&](const std::string& recipe, arch::Arch arch) {
    return kernel_dir(places.value(), recipe, arch);
  };
  std::vector<arch::Arch> archs = options.archs;
  if (archs.empty()) {
    const auto image = image::probe_kernel(options.machine.kernel);
    if (!image) return fail(image.error());
    archs = {image.value().arch};
  }
  ExitCode worst = ExitCode::AsExpected;
  for (const arch::Arch arch : archs) {
    const auto code = run_host(options, arch, places.value(), tools);
    worst = report::worse(worst, code ? code.value() : code.error().code);
    if (!code) static_cast<void>(fail(code.error()));
  }
  return static_cast<int>(worst);
}

}  // namespace sealvisor::app
