#include "vmm/app/verify.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "vmm/app/bundle.h"
#include "vmm/app/fail.h"
#include "vmm/app/interrupts.h"
#include "vmm/app/kernels.h"
#include "vmm/app/lies.h"
#include "vmm/app/nested.h"
#include "vmm/app/report_files.h"
#include "vmm/app/run_progress.h"
#include "vmm/app/scenarios.h"
#include "vmm/app/terminal_text.h"
#include "vmm/app/variants.h"
#include "vmm/app/write_file.h"
#include "vmm/base/cpu_time.h"
#include "vmm/image/kernel_image.h"
#include "vmm/image/symbols.h"
#include "vmm/report/conclude.h"
#include "vmm/report/layout.h"
#include "vmm/report/text.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

std::string label(arch::Arch arch, const std::string& recipe) {
  return fmt::format("{} {}", arch::name_of(arch), recipe);
}

ReportFiles files_of(const VerifyOptions& options) {
  return {options.json, options.junit, options.html};
}

/// What all runs of this command have in common.
run::RunRequest request_for(const VerifyOptions& options, const Places& places, arch::Arch arch) {
  run::RunRequest request;
  request.arch = arch;
  request.agent_dir = places.agent_dir(arch);
  request.plugin = places.plugin;
  request.deadline = options.deadline;
  request.memory_bytes = options.machine.memory_mib << 20;
  request.cpu_model = options.machine.cpu_model;
  request.witness = options.witness;
  request.timelines = files_of(options).with_timelines();
  request.step_check = options.step_check;
  request.leave_return = options.leave_return;
  request.engine = options.machine.engine;
  request.mechanism = options.machine.mechanism;
  return request;
}

Result<Prepared> prepare_image(const VerifyOptions& options, const Places& places) {
  const MachineOptions& machine = options.machine;
  auto opened = open_image(machine, options.archs);
  if (!opened) return opened.error();
  const auto kernel = std::make_shared<const image::KernelFile>(std::move(opened).value());
  run::RunRequest request = request_for(options, places, kernel->image().arch);
  request.recipe = machine.kernel.filename().string();
  request.expectations = machine.expect != Expect::Nothing;
  request.sealed = machine.expect == Expect::Sealed;
  request.ours = false;
  request.kernel_image = machine.kernel;
  request.kernel_file = kernel;
  request.symbols = machine.symbols;
  if (!request.symbols.empty()) {
    if (auto loaded = image::SymbolTable::load(request.symbols); !loaded) return loaded.error();
  } else if (image::SymbolTable::load(kernel->path())) {
    // A vmlinux that was not stripped brings its own.
    request.symbols = kernel->path();
  }
  Prepared prepared;
  prepared.requests.push_back(std::move(request));
  return prepared;
}

Result<Prepared> prepare_recipes(const VerifyOptions& options, const Places& places,
                                 const VerifyTools& tools) {
  Prepared prepared;
  for (const arch::Arch arch : options.archs) {
    std::vector<std::string> seen;
    for (const std::string& recipe : options.recipes) {
      if (std::find(seen.begin(), seen.end(), recipe) != seen.end()) continue;
      seen.push_back(recipe);
      const auto folder = tools.kernel_dir(recipe, arch);
      const auto files =
          folder ? kernel_files(folder.value(), arch) : Result<KernelFiles>(folder.error());
      if (!files) {
        if (files.error().code == ExitCode::Usage) return files.error();
        prepared.not_run.push_back({arch, recipe, files.error()});
        continue;
      }
      const RecipeTraits traits = traits_of(recipe);
      run::RunRequest request = request_for(options, places, arch);
      request.recipe = recipe;
      request.expectations = traits.expectations;
      request.sealed = traits.sealed;
      request.control = traits.control;
      request.kernel_image = files.value().image;
      request.symbols = files.value().symbols;
      prepared.requests.push_back(std::move(request));
    }
  }
  return prepared;
}

/// `request` as `variant` changes it. Errors: it needs another kernel, which is not built.
Status apply(const Variant& variant, const VerifyOptions& options, const VerifyTools& tools,
             run::RunRequest& request) {
  const std::string recipe = request.recipe;
  request.variant = variant.name;
  request.recipe += fmt::format(":{}", variant.name);
  request.kernel_arguments = variant.arguments;
  request.cpu_model = variant.cpu_model;
  request.vcpus = variant.vcpus;
  // A kernel of the user's is taken as it is.
  const bool of_recipe = options.machine.kernel.empty();
  if (of_recipe && has_own_kernel(variant, request.arch)) {
    const auto folder = tools.kernel_dir(recipe_of(variant, recipe, request.arch), request.arch);
    if (!folder) return folder.error();
    auto files = kernel_files(folder.value(), request.arch);
    if (!files) return files.error();
    request.kernel_image = std::move(files.value().image);
    request.symbols = std::move(files.value().symbols);
  }
  if (variant.compressed_image) {
    request.kernel_image = request.kernel_image.parent_path() / kCompressedImage;
  }
  return {};
}

/// The usual guest, unless variants are named one by one, and each variant that exists for it.
Result<Prepared> with_variants(const VerifyOptions& options, const VerifyTools& tools,
                               Prepared prepared) {
  if (options.variants.empty()) return prepared;
  const auto variants = choose_variants(options.variants, options.archs);
  if (!variants) return variants.error();
  const bool all =
      std::find(options.variants.begin(), options.variants.end(), "all") != options.variants.end();
  std::vector<run::RunRequest> varied;
  for (const run::RunRequest& usual : prepared.requests) {
    if (all) {
      varied.push_back(usual);
      for (const Variant& refused : all_variants()) {
        if (refused.refused.empty() || refused.only.value_or(usual.arch) != usual.arch) continue;
        varied.back().left_out.push_back(
            fmt::format("variant {}: {}", refused.name, refused.refused));
      }
    }
    for (const Variant* const variant : variants.value()) {
      if (variant->only.value_or(usual.arch) != usual.arch) continue;
      run::RunRequest request = usual;
      if (auto applied = apply(*variant, options, tools, request); applied) {
        varied.push_back(std::move(request));
      } else if (applied.error().code == ExitCode::Usage) {
        return applied.error();
      } else {
        prepared.not_run.push_back({request.arch, request.recipe, applied.error()});
      }
    }
  }
  prepared.requests = std::move(varied);
  return prepared;
}

/// Indices of the requests, architectures in turn: two runs at a time are then of both.
std::vector<std::size_t> execution_order(const std::vector<run::RunRequest>& requests) {
  std::vector<std::pair<std::size_t, std::size_t>> order;  // (rank within its arch, index)
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto rank =
        std::count_if(requests.begin(), requests.begin() + static_cast<std::ptrdiff_t>(i),
                      [&](const run::RunRequest& other) { return other.arch == requests[i].arch; });
    order.emplace_back(static_cast<std::size_t>(rank), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<std::size_t> indices;
  indices.reserve(order.size());
  for (const auto& [rank, index] : order) indices.push_back(index);
  return indices;
}

/// Memory that runs out for one must not take the evidence of the others along.
Result<report::Run> run_one(const VerifyTools& tools, const run::RunRequest& request) {
  try {
    return tools.run_one(request);
  } catch (const std::exception& problem) {
    return Error{ExitCode::HostLacks, fmt::format("running the guest: {}", problem.what())};
  }
}

Result<report::Run> run_request(run::RunRequest& request, const VerifyTools& tools,
                                Progress& progress) {
  const std::string name = label(request.arch, request.recipe);
  if (tools.interrupted && tools.interrupted()) {
    return Error{ExitCode::GuestFailed, "interrupted before it started"};
  }
  progress.note(fmt::format("{}: booting", name));
  progress.step(name, "booting");
  request.progress = [&](std::string_view text) { progress.step(name, text); };
  std::optional<RunProgress> run_progress(std::in_place, progress, request);
  request.advanced = [&](std::size_t items) { run_progress->done(items); };
  auto result = run_one(tools, request);
  run_progress.reset();
  progress.done(name);
  if (!result) {
    progress.note(fmt::format("{}: {}", name, result.error().message));
    return result;
  }
  annotate(result.value(), request);
  progress.note(fmt::format("{}: {} after {:.1f} s", name, result.value().ending.text,
                            result.value().seconds));
  return result;
}

Result<std::string> read_known_findings(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error(ExitCode::HostLacks, "reading " + path.string());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr std::string_view kCampaign = "control/campaign";

/// Whether there are guests of `options` that a campaign of tamperings can be made in.
Status check_campaign(const VerifyOptions& options) {
  // Any other kernel lacks what makes the tamperings.
  constexpr std::string_view kRecipe = "tampering";
  const auto other = std::find_if(options.recipes.begin(), options.recipes.end(),
                                  [&](const std::string& recipe) { return recipe != kRecipe; });
  if (options.machine.kernel.empty() && other != options.recipes.end()) {
    return Error{ExitCode::Usage, fmt::format("{} is for --recipe {}, not for {}", kCampaign,
                                              kRecipe, report::printable(*other))};
  }
  // The agent edits tables of four levels, and those of the kernel's half as user mode's.
  constexpr std::array<std::string_view, 4> kUnfit = {"all", "pti", "la57", "kpti"};
  const auto unfit = std::find_first_of(options.variants.begin(), options.variants.end(),
                                        kUnfit.begin(), kUnfit.end());
  if (unfit == options.variants.end()) return {};
  return Error{ExitCode::Usage, fmt::format("{} is for guests of four levels of tables that user "
                                            "mode and the kernel share, not for --variant {}",
                                            kCampaign, *unfit)};
}

}  // namespace

Result<image::KernelFile> open_image(const MachineOptions& machine,
                                     const std::vector<arch::Arch>& archs) {
  // The start-up code of a bzImage is what takes longest in the tcg lane. A CPU model of the user's
  // may have what only that code turns on.
  const bool inner = machine.engine == engine::Kind::Tcg && machine.cpu_model.empty();
  return image::open_kernel(machine.kernel,
                            archs.empty() ? std::nullopt : std::optional(archs.front()),
                            inner ? image::BzImage::Inner : image::BzImage::AsItIs);
}

VerifyOptions guests_of(const WatchedOptions& options) {
  VerifyOptions verify;
  verify.machine = options.machine;
  verify.archs = options.archs;
  verify.recipes = options.recipes;
  verify.deadline = options.deadline;
  return verify;
}

Result<Prepared> prepare(const VerifyOptions& options, const Places& places,
                         const VerifyTools& tools) {
  const auto chosen = choose_scenarios(options.machine.scenarios, options.machine.full);
  if (!chosen) return chosen.error();
  const auto chose = [&](std::string_view name) {
    return std::any_of(chosen.value().begin(), chosen.value().end(),
                       [&](const scenario::Scenario* one) { return one->name == name; });
  };
  // The tcg lane takes note of entries where there is something to judge, and counts no others.
  constexpr std::string_view kEntries = "control/entries";
  if (chose(kEntries) && options.machine.engine == engine::Kind::Tcg) {
    return Error{ExitCode::Usage, fmt::format("{} is for --engine kvm and kvm-nested", kEntries)};
  }
  // The audited lane sees what a store leaves, not the store.
  constexpr std::string_view kStores = "control/stores";
  if (chose(kStores) && options.machine.mechanism == engine::Mechanism::Audited) {
    return Error{ExitCode::Usage,
                 fmt::format("{} counts stores, and --mechanism audited sees none", kStores)};
  }
  if (chose(kCampaign)) {
    if (auto fits = check_campaign(options); !fits) return fits.error();
  }
  const bool seeded = std::any_of(chosen.value().begin(), chosen.value().end(),
                                  [](const scenario::Scenario* one) { return one->seeded; });
  if (options.count != 0 && !seeded) {
    return Error{ExitCode::Usage, "--count is for scenarios that take a seed, and none is chosen"};
  }
  auto prepared = options.machine.kernel.empty() ? prepare_recipes(options, places, tools)
                                                 : prepare_image(options, places);
  if (!prepared) return prepared;
  prepared = with_variants(options, tools, std::move(prepared).value());
  if (!prepared) return prepared;
  for (run::RunRequest& request : prepared.value().requests) {
    request.plan = plan_of(chosen.value(), request.arch, options.machine.full);
    for (scenario::PlanItem& item : request.plan) {
      if (!item.scenario->seeded) continue;
      item.seed = options.seed;
      if (options.count != 0) item.count = options.count;
      item.emulated = request.engine == engine::Kind::Kvm;
    }
    if (chose(kStores) && request.engine == engine::Kind::Kvm) {
      request.mechanism = engine::Mechanism::Exact;
    }
  }
  return prepared;
}

RunResults run_requests(Prepared prepared, const VerifyTools& tools, Progress& progress) {
  std::vector<run::RunRequest>& requests = prepared.requests;
  std::vector<std::optional<Result<report::Run>>> results(requests.size());
  const std::vector<std::size_t> order = execution_order(requests);
  Work all;
  for (const run::RunRequest& request : requests) {
    const Work work = work_of(request);
    all = {all.count + work.count, all.weight + work.weight};
  }
  progress.expect(counted_in(requests), all.count, all.weight);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < order.size(); i = next++) {
      results[order[i]] = run_request(requests[order[i]], tools, progress);
    }
  };
  {
    std::vector<std::jthread> workers;
    const std::size_t count = std::min<std::size_t>(tools.workers, order.size());
    for (std::size_t i = 1; i < count; ++i) workers.emplace_back(work);
    work();
  }
  std::vector<report::Run> runs;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Result<report::Run>& result = *results[i];
    if (result) {
      runs.push_back(std::move(result).value());
    } else {
      prepared.not_run.push_back({requests[i].arch, requests[i].recipe, result.error()});
    }
  }
  return {std::move(runs), std::move(prepared.not_run)};
}

report::Report run_all(Prepared prepared, const VerifyTools& tools,
                       std::span<const report::KnownFinding> known, Progress& progress) {
  RunResults results = run_requests(std::move(prepared), tools, progress);
  return report::conclude(std::move(results.runs), std::move(results.not_run), known);
}

VerifyTools real_tools(const Places& places, Interrupts& interrupts) {
  VerifyTools tools;
  tools.kernel_dir = [&places](const std::string& recipe, arch::Arch arch) {
    return kernel_dir(places, recipe, arch);
  };
  tools.run_one = run::run_one;
  tools.interrupted = [&interrupts] { return interrupts.seen(); };
  tools.workers = std::thread::hardware_concurrency() >= 2 ? 2 : 1;
  return tools;
}

int print_report(const std::string& text, const std::string& json,
                 const std::filesystem::path& json_path, ExitCode code) {
  if (!json_path.empty()) {
    if (auto written = write_file(json_path, json); !written) {
      fmt::print(stderr, "sealvisor: {}\n", written.error().message);
      code = report::worse(code, written.error().code);
    }
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    const Error problem = errno_error(ExitCode::HostLacks, "writing the report to standard output");
    fmt::print(stderr, "sealvisor: {}\n", problem.message);
    code = report::worse(code, problem.code);
  }
  return static_cast<int>(code);
}

int verify(const VerifyOptions& options, const std::string& command) {
  if (auto fits = check_verified(options.machine.scenarios); !fits) return fail(fits.error());
  // What is wrong with it is no lie about a call, which is what `verify` expects of a control.
  if (std::find(options.recipes.begin(), options.recipes.end(), kRestless) !=
      options.recipes.end()) {
    return fail({ExitCode::Usage, fmt::format("{} is for `sealvisor lifetime`", kRestless)});
  }
  const auto places = find_places();
  if (!places) return fail(places.error());
  const fs::path known_path = places.value().known_findings();
  const auto known_text = read_known_findings(known_path);
  if (!known_text) return fail(known_text.error());
  const auto known = report::parse_known_findings(known_text.value(), known_path.string());
  if (!known) return fail(known.error());

  Interrupts interrupts;
  const VerifyTools tools = real_tools(places.value(), interrupts);
  auto prepared = prepare(options, places.value(), tools);
  if (!prepared) return fail(prepared.error());
  const double shared_cpu = process_cpu_seconds();
  for (run::RunRequest& request : prepared.value().requests) {
    request.shared_cpu_seconds = shared_cpu;
  }
  const ReportFiles files = files_of(options);
  if (auto fit = check_places(files, options.bundle); !fit) return fail(fit.error());
  const char* const outer = std::getenv(kCommandVariable);
  auto bundle = Bundle::create(options.bundle, outer != nullptr ? outer : command);
  if (!bundle) return fail(bundle.error());
  if (auto attached = bundle.value().attach(prepared.value().requests); !attached) {
    return fail(attached.error());
  }

  std::optional<Progress> progress(std::in_place, stderr, takes_escapes(STDERR_FILENO));
  const report::Report report =
      run_all(std::move(prepared).value(), tools, known.value(), *progress);
  progress.reset();

  ExitCode code = write_files(files, report);
  if (auto sealed = bundle.value().finish(report, known_text.value()); !sealed) {
    fmt::print(stderr, "sealvisor: {}\n", sealed.error().message);
    code = report::worse(code, sealed.error().code);
  }
  std::fputs(text_of(bundle.value(), report).c_str(), stderr);
  return print_report(report::render_text(report, text_options_for(STDOUT_FILENO)), "", {}, code);
}

}  // namespace sealvisor::app
