#include "vmm/app/bench_nested.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "bench/boot.h"
#include "vmm/app/bench.h"
#include "vmm/app/fail.h"
#include "vmm/app/kernels.h"
#include "vmm/app/write_file.h"
#include "vmm/report/conclude.h"

namespace sealvisor::app {

namespace fs = std::filesystem;
using bench::Side;
using engine::nested::HostPlan;

namespace {

constexpr const char* kJson = "report.json";
constexpr const char* kCsv = "report.csv";
constexpr const char* kBaseline = "baseline.json";
/// For one guest, far more than any takes.
constexpr std::chrono::seconds kForAGuest{60};

std::vector<Side> sides_of(const BenchOptions& options) {
  std::vector<Side> sides = {Side::A, Side::B, Side::Control};
  if (is_sensitive(options)) sides.push_back(Side::Slowed);
  return sides;
}

bool wants_json(const BenchOptions& options) {
  return !options.json.empty() || !options.save.empty();
}

/// Puts a file of this machine into the host, and makes room for it.
Status add_file(HostPlan& plan, std::string path, const fs::path& source, ExitCode code) {
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(source, error);
  if (error) return Error{code, fmt::format("{}: {}", source.string(), error.message())};
  plan.files.push_back({std::move(path), source, false});
  engine::nested::make_room(plan, bytes);
  return {};
}

Status add_kernels(const BenchOptions& options, arch::Arch arch, const KernelDir& kernel_dir,
                   HostPlan& plan) {
  for (const Side side : sides_of(options)) {
    const std::string recipe = recipe_of(options, side);
    const auto folder = kernel_dir(recipe, arch);
    if (!folder) return folder.error();
    for (const char* name :
         {arch == arch::Arch::Arm64 ? "Image" : "image", "vmlinux", "build.json"}) {
      auto added =
          add_file(plan, fmt::format("kernels/{}/{}/{}", recipe, arch::name_of(arch), name),
                   folder.value() / name, ExitCode::HostLacks);
      if (!added) return added;
    }
  }
  plan.environment = {"SEALVISOR_KERNELS=/kernels"};
  return {};
}

Result<ExitCode> run_host(const BenchOptions& options, arch::Arch arch, const Places& places) {
  auto out = TemporaryFolder::make();
  if (!out) return out.error();
  const fs::path& folder = out.value().path();
  const auto find = [&](const std::string& recipe, arch::Arch one) {
    return kernel_dir(places, recipe, one);
  };
  auto plan = nested_plan(options, arch, places, find, folder);
  if (!plan) return plan.error();
  if (::isatty(STDOUT_FILENO) == 0) plan.value().environment.emplace_back("NO_COLOR=1");
  auto code = run_in_host(std::move(plan).value());
  fmt::print(stderr,
             "sealvisor: that host's clock counts a nanosecond for each of its instructions: these "
             "times are of no hardware\n");
  // A run that ended before it measured left no report.
  if (!code || (code.value() != ExitCode::AsExpected && code.value() != ExitCode::Failed &&
                code.value() != ExitCode::GuestFailed)) {
    return code;
  }
  for (const auto& [option, name, to] :
       {std::tuple("--json", kJson, &options.json), std::tuple("--save", kJson, &options.save),
        std::tuple("--csv", kCsv, &options.csv)}) {
    // One that failed before it could judge has said why, and has no report.
    if (code.value() != ExitCode::AsExpected && !fs::exists(folder / name)) continue;
    if (auto handed = hand_over(folder, name, option, *to); !handed) return handed.error();
  }
  return code;
}

}  // namespace

std::vector<std::string> nested_words(const BenchOptions& options, arch::Arch arch) {
  std::vector<std::string> words = {"bench",
                                    "--engine",
                                    "kvm",
                                    "--arch",
                                    arch::name_of(arch),
                                    "--a",
                                    options.a,
                                    "--b",
                                    options.b,
                                    "--seed",
                                    std::to_string(options.seed),
                                    "--layouts",
                                    std::to_string(layouts_of(options)),
                                    options.mode == bench::Mode::Full ? "--full" : "--quick"};
  const auto add = [&](const char* option, const std::string& value) {
    words.insert(words.end(), {option, value});
  };
  for (const std::string& filter : options.filters) add("--filter", filter);
  if (options.fail_on != bench::FailOn::Nothing) add("--fail-on", name_of(options.fail_on));
  if (!options.baseline.empty()) add("--baseline", std::string("/") + kBaseline);
  for (const bench::Same what : options.may_differ) add("--baseline-anyway", name_of(what));
  if (wants_json(options)) add("--json", std::string("/out/") + kJson);
  if (!options.csv.empty()) add("--csv", std::string("/out/") + kCsv);
  return words;
}

Result<HostPlan> nested_plan(const BenchOptions& options, arch::Arch arch, const Places& places,
                             const KernelDir& kernel_dir, const fs::path& out) {
  auto made = host_plan(arch, places, kernel_dir, out);
  if (!made) return made;
  HostPlan& plan = made.value();
  plan.memory_bytes = kHostMemory + bench::BootRequest{}.memory_bytes;
  for (const char* name : bench::kGuestPrograms) {
    plan.files.push_back({fmt::format("bin/guest/{}/{}", arch::name_of(arch), name),
                          places.agent_dir(arch) / name, true});
  }
  if (auto added = add_kernels(options, arch, kernel_dir, plan); !added) return added.error();
  if (!options.baseline.empty()) {
    auto added = add_file(plan, kBaseline, options.baseline, ExitCode::Usage);
    if (!added) return added.error();
  }
  // And one of a and one of b with interception.
  const auto guests = static_cast<int>(layouts_of(options) * sides_of(options).size() + 2);
  plan.deadline =
      std::min<std::chrono::milliseconds>(engine::nested::kLongestDeadline, kForAGuest * guests);
  plan.arguments = nested_words(options, arch);
  // The host's clock counts its instructions, a nanosecond each, and nothing else: its figures are
  // the same on a busy machine. By the real clock they would be no more of hardware, and noise.
  plan.emulator_arguments = {"-icount", "shift=0,sleep=off", "-rtc", "clock=vm", "-seed", "1"};
  if (arch == arch::Arch::X86_64) plan.kernel_arguments = "tsc_early_khz=1000000";
  return made;
}

int bench_nested(const BenchOptions& options) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  for (const auto& [option, path] :
       {std::pair("--save", options.save), std::pair("--json", options.json),
        std::pair("--csv", options.csv)}) {
    if (auto there = check_writable(option, path); !there) return fail(there.error());
  }
  // Before a host boots for them.
  for (const arch::Arch arch : options.archs) {
    if (const auto chosen = choose_experiments(options, arch); !chosen) return fail(chosen.error());
  }
  ExitCode worst = ExitCode::AsExpected;
  for (const arch::Arch arch : options.archs) {
    const auto code = run_host(options, arch, places.value());
    worst = report::worse(worst, code ? code.value() : code.error().code);
    if (!code) static_cast<void>(fail(code.error()));
  }
  return static_cast<int>(worst);
}

}  // namespace sealvisor::app
