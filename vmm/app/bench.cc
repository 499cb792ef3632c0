#include "vmm/app/bench.h"

#include <fnmatch.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/boot.h"
#include "bench/conclude.h"
#include "bench/foreign.h"
#include "bench/gnuplot.h"
#include "bench/html.h"
#include "bench/json.h"
#include "bench/known_costs.h"
#include "bench/paired.h"
#include "bench/plots.h"
#include "bench/text.h"
#include "vmm/app/bench_host.h"
#include "vmm/app/capture.h"
#include "vmm/app/fail.h"
#include "vmm/app/interrupts.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/app/progress.h"
#include "vmm/app/terminal_text.h"
#include "vmm/app/tools.h"
#include "vmm/app/write_file.h"
#include "vmm/engine/kvm/host.h"
#include "vmm/report/conclude.h"

namespace sealvisor::app {

namespace fs = std::filesystem;
using bench::Side;

namespace {

constexpr std::uint32_t kFullLayouts = 16;

bool matches(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), std::string(name).c_str(), 0) == 0;
  });
}

bool exists_on(const bench::Experiment& experiment, arch::Arch arch) {
  return experiment.on == bench::On::Both ||
         (experiment.on == bench::On::X86_64) == (arch == arch::Arch::X86_64);
}

Result<std::string> read_file(const fs::path& path, ExitCode code) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_error(code, "reading " + path.string());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// A kernel of the comparison: what boots, and what it is.
struct KernelOfSide {
  fs::path image;
  fs::path symbols;
  bench::Kernel description;
};

Result<KernelOfSide> find_kernel(const Places& places, const std::string& recipe, arch::Arch arch,
                                 Side side) {
  const auto folder = kernel_dir(places, recipe, arch);
  if (!folder) {
    Error error = folder.error();
    if (side == Side::Control) {
      error.message += "; the A/A control of each run needs it: a's kernel in another layout";
    }
    return error;
  }
  KernelOfSide kernel;
  // On x86-64 it is the decompressor that places the kernel at random.
  kernel.image = folder.value() / (arch == arch::Arch::Arm64 ? "Image" : "image");
  kernel.symbols = folder.value() / "vmlinux";
  const fs::path about = folder.value() / "build.json";
  const auto text = read_file(about, ExitCode::HostLacks);
  if (!text) return text.error();
  const auto build = nlohmann::json::parse(text.value(), nullptr, false);
  const auto file = kernel.image.filename().string();
  if (!build.is_object() || !build.contains("files") || !build["files"].contains(file)) {
    return Error{ExitCode::HostLacks,
                 fmt::format("{}: expected what `sealvisor kernel build` writes", about.string())};
  }
  kernel.description = {arch,
                        side,
                        recipe,
                        build.value("release", ""),
                        build["files"][file].get<std::string>(),
                        build.value("config_sha256", "")};
  return kernel;
}

using KernelKey = std::pair<arch::Arch, Side>;

/// Everything that is decided before a guest runs.
struct PreparedBench {
  std::map<KernelKey, KernelOfSide> kernels;
  std::map<arch::Arch, std::vector<const bench::Experiment*>> experiments;
  std::map<arch::Arch, fs::path> tools;  ///< Roots of their file systems; none without them.
  std::vector<Side> sides;
  std::vector<bench::Turn> turns;
  std::vector<bench::Turn> repeats;  ///< tcg: what must come out the same.
  std::vector<bench::Turn> watched;  ///< kvm: with interception.
  bench::Collected collected;
  bench::Rules rules;
};

/// One number for all programs of the guests.
Result<std::string> hash_of_programs(const Places& places, const std::vector<arch::Arch>& archs) {
  uLong sum = ::crc32(0, nullptr, 0);
  for (const arch::Arch arch : archs) {
    for (const char* name : bench::kGuestPrograms) {
      const auto bytes = read_file(places.agent_dir(arch) / name, ExitCode::HostLacks);
      if (!bytes) return bytes.error();
      sum = ::crc32(sum, reinterpret_cast<const Bytef*>(bytes.value().data()),
                    static_cast<uInt>(bytes.value().size()));
    }
  }
  return fmt::format("crc32:{:08x}", sum);
}

Result<bench::Context> context_of(const BenchOptions& options, const Places& places) {
  bench::Context context;
  context.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  context.version = SEALVISOR_VERSION;
  const bool kvm = options.engine == engine::Kind::Kvm;
  if (kvm) {
    auto pinned = pin_on_this_host(options.pin);
    if (!pinned) return pinned.error();
    context.pinned = std::move(pinned).value();
  }
  describe_host(context);
  context.engine = engine::name_of(options.engine);
  context.lane = kvm ? bench::Lane::Time : bench::Lane::Instructions;
  context.mode = options.mode;
  context.a = options.a;
  context.b = options.b;
  for (std::uint32_t i = 0; i < layouts_of(options); ++i) {
    context.seeds.push_back(options.seed + i);
  }
  auto programs = hash_of_programs(places, options.archs);
  if (!programs) return programs.error();
  context.programs_hash = std::move(programs).value();
  return context;
}

/// Whether this host can run what --engine kvm asks for, found out without running anything on it.
Status check_kvm(const std::vector<arch::Arch>& archs) {
  for (const arch::Arch arch : archs) {
    if (auto fit = engine::kvm::check_host(arch); !fit) return fit;
  }
  auto can = engine::kvm::capabilities_text();
  if (can) return {};
  Error error = can.error();
  error.message +=
      "; --engine tcg, the default, counts instructions on any host, and --engine kvm-nested "
      "tries the lane in an emulated one";
  return error;
}

Status prepare_kernels(const BenchOptions& options, const Places& places, PreparedBench& prepared) {
  for (const arch::Arch arch : options.archs) {
    for (const Side side : prepared.sides) {
      auto kernel = find_kernel(places, recipe_of(options, side), arch, side);
      if (!kernel) return kernel.error();
      prepared.collected.context.kernels.push_back(kernel.value().description);
      prepared.kernels.emplace(KernelKey(arch, side), std::move(kernel).value());
    }
  }
  return {};
}

Status prepare_baseline(const BenchOptions& options, PreparedBench& prepared) {
  prepared.rules.fail_on = options.fail_on;
  prepared.rules.may_differ = options.may_differ;
  if (options.baseline.empty()) return {};
  const auto text = read_file(options.baseline, ExitCode::Usage);
  if (!text) return text.error();
  auto baseline = bench::parse_baseline(text.value(), options.baseline.string());
  if (!baseline) return baseline.error();
  // Before any guest runs. The engine says what it is when one has: conclude() asks again.
  std::vector<bench::Same> known_later = options.may_differ;
  known_later.push_back(bench::Same::Engine);
  const auto comparable =
      bench::check_baseline(prepared.collected.context, baseline.value(), known_later);
  if (!comparable) return comparable.error();
  prepared.rules.baseline = std::move(baseline).value();
  return {};
}

void prepare_known_costs(const BenchOptions& options, PreparedBench& prepared) {
  for (const arch::Arch arch : options.archs) {
    std::vector<std::string_view> names;
    for (const bench::Experiment* one : prepared.experiments[arch]) names.push_back(one->name);
    for (bench::KnownCost& cost : bench::known_costs(arch, names)) {
      prepared.collected.known_costs.push_back(std::move(cost));
    }
  }
}

/// What the tools of others are to measure beside ours.
Status prepare_cross_checks(const BenchOptions& options, const Places& places,
                            PreparedBench& prepared) {
  if (!options.cross_check) return {};
  for (const arch::Arch arch : options.archs) {
    auto tools = find_tools(places, arch);
    if (!tools) return tools.error();
    prepared.tools[arch] = std::move(tools.value().root);
    for (bench::Tool& tool : tools.value().versions) {
      prepared.collected.context.tools.push_back(std::move(tool));
    }
    auto& experiments = prepared.experiments[arch];
    std::vector<std::string_view> ours;
    for (const bench::Experiment* one : experiments) ours.push_back(one->name);
    // The same for each architecture, as no experiment that is compared is of one only.
    prepared.collected.cross_checks = bench::cross_check_plans(ours);
    const auto foreign = bench::foreign_experiments(prepared.collected.cross_checks);
    experiments.insert(experiments.end(), foreign.begin(), foreign.end());
  }
  if (!prepared.collected.cross_checks.empty()) return {};
  return Error{
      ExitCode::Usage,
      "--cross-check: no experiment that --filter names has a tool of others that it could "
      "be compared with (docs/bench.md lists them)"};
}

Result<PreparedBench> prepare(const BenchOptions& options, const Places& places) {
  if (options.engine == engine::Kind::Kvm) {
    if (auto usable = check_kvm(options.archs); !usable) return usable.error();
  }
  PreparedBench prepared;
  for (const arch::Arch arch : options.archs) {
    auto chosen = choose_experiments(options, arch);
    if (!chosen) return chosen.error();
    prepared.experiments[arch] = std::move(chosen).value();
  }
  prepared.sides = {Side::A, Side::B, Side::Control};
  if (is_sensitive(options)) {
    prepared.sides.push_back(Side::Slowed);
    prepare_known_costs(options, prepared);
  }
  auto context = context_of(options, places);
  if (!context) return context.error();
  prepared.collected.context = std::move(context).value();
  if (auto done = prepare_cross_checks(options, places, prepared); !done) return done.error();
  if (auto done = prepare_kernels(options, places, prepared); !done) return done.error();
  if (auto done = prepare_baseline(options, prepared); !done) return done.error();
  prepared.turns = bench::turns(options.archs, prepared.sides, layouts_of(options), options.seed);
  if (options.engine == engine::Kind::Tcg) {
    prepared.repeats = bench::turns(options.archs, {Side::A, Side::B}, 1, options.seed);
  } else {
    prepared.watched = bench::turns(options.archs, {Side::A, Side::B}, 1, options.seed);
  }
  return prepared;
}

bench::BootRequest request_for(const PreparedBench& prepared, const Places& places,
                               const bench::Turn& turn, bool watched) {
  const KernelOfSide& kernel = prepared.kernels.at({turn.arch, turn.side});
  const bench::Context& context = prepared.collected.context;
  const bool time = context.lane == bench::Lane::Time;
  bench::BootRequest request;
  request.arch = turn.arch;
  request.engine = time ? engine::Kind::Kvm : engine::Kind::Tcg;
  request.kernel_image = kernel.image;
  request.symbols = kernel.symbols;
  request.guest_dir = places.agent_dir(turn.arch);
  request.plugin = places.counter;
  request.seed = turn.seed;
  if (const auto tools = prepared.tools.find(turn.arch); tools != prepared.tools.end()) {
    request.tools = tools->second;
  }
  request.profiling = !time;
  request.watched = watched;
  if (context.pinned) request.pin_cpu = context.pinned->cpu;
  for (const bench::Experiment* one : prepared.experiments.at(turn.arch)) {
    request.plan.push_back(time ? bench::timed_item(*one, watched) : bench::counted_item(*one));
  }
  return request;
}

/// "max, cortex-a72": what the guests of either architecture had.
void add_once(std::string& list, const std::string& item) {
  if (list.find(item) != std::string::npos) return;
  list += (list.empty() ? "" : "; ") + item;
}

/// Takes what guests measured over into what is judged: each of them goes to `keep`.
void take(bench::Campaign campaign, bench::Collected& collected,
          const std::function<void(bench::BootResult)>& keep) {
  collected.interrupted = collected.interrupted || campaign.interrupted;
  for (const Error& error : campaign.errors) collected.failures.push_back(error.message);
  for (bench::Played& played : campaign.played) {
    bench::BootResult& result = played.result;
    collected.context.engine_version = result.engine_version;
    add_once(collected.context.cpu_model, result.cpu_model);
    if (!result.good && !result.interrupted) {
      collected.failures.push_back(
          fmt::format("{} {}, layout {}: {}", arch::name_of(played.turn.arch),
                      bench::name_of(played.turn.side), played.turn.seed, result.ending));
    }
    result.boot.side = played.turn.side;
    keep(std::move(result));
  }
}

void measure(PreparedBench& prepared, const Places& places) {
  Interrupts interrupts;
  Progress progress(stderr, takes_escapes(STDERR_FILENO));
  const std::size_t guests =
      prepared.turns.size() + prepared.repeats.size() + prepared.watched.size();
  progress.expect("guests", guests, static_cast<double>(guests));
  bench::Collected& collected = prepared.collected;
  // Guests that are timed run alone.
  const bool alone = collected.context.lane == bench::Lane::Time;
  const unsigned workers = !alone && std::thread::hardware_concurrency() >= 2 ? 2 : 1;
  const auto play = [&](const std::vector<bench::Turn>& turns, bool watched) {
    return bench::play(
        turns, workers,
        [&](const bench::Turn& turn) {
          return bench::run_boot(request_for(prepared, places, turn, watched));
        },
        [&] { return interrupts.seen(); },
        [&](const bench::Turn& turn, const bench::BootResult& result) {
          progress.advance(
              1, 1,
              fmt::format("{} {}, layout {}: {} in {:.1f} s", arch::name_of(turn.arch),
                          bench::name_of(turn.side), turn.seed, result.ending, result.seconds));
          for (const std::string& line : result.said) progress.note("it says: " + line);
        });
  };
  take(play(prepared.turns, false), collected,
       [&](bench::BootResult result) { collected.boots.push_back(std::move(result.boot)); });
  if (collected.interrupted || !collected.failures.empty()) return;
  take(play(prepared.repeats, false), collected,
       [&](bench::BootResult result) { collected.repeats.push_back(std::move(result.boot)); });
  take(play(prepared.watched, true), collected, [&](bench::BootResult result) {
    collected.watched.push_back({std::move(result.boot), std::move(result.how)});
  });
}

Result<bench::ProgramEnd> run_program(const fs::path& program,
                                      const std::vector<std::string>& arguments,
                                      std::chrono::milliseconds limit) {
  auto captured = capture(program, arguments, limit);
  if (!captured) return captured.error();
  return bench::ProgramEnd{captured.value().status, std::move(captured.value().output)};
}

/// Writes what was asked for. The worse of `code` and what went wrong.
ExitCode write_all(const BenchOptions& options, const bench::Report& report, ExitCode code) {
  const auto write = [&](const fs::path& path, const auto& render) {
    if (path.empty()) return;
    const Result<std::string> text = render();
    const Status written = text ? write_file(path, text.value()) : Status(text.error());
    if (written) return;
    fmt::print(stderr, "sealvisor: {}\n", written.error().message);
    code = report::worse(code, written.error().code);
  };
  const auto json = [&]() -> Result<std::string> { return bench::render_json(report); };
  write(options.save, json);
  write(options.json, json);
  write(options.csv, [&]() -> Result<std::string> { return bench::render_csv(report); });
  write(options.html, [&]() -> Result<std::string> {
    const auto drawings = bench::draw(bench::plots_of(report), run_program);
    if (!drawings) return drawings.error();
    return bench::render_html(report, drawings.value());
  });
  return code;
}

}  // namespace

Result<std::vector<const bench::Experiment*>> choose_experiments(const BenchOptions& options,
                                                                 arch::Arch arch) {
  std::vector<const bench::Experiment*> chosen;
  for (const bench::Experiment& one : bench::experiments()) {
    if (one.group == bench::Group::Foreign) continue;  // --cross-check adds them
    const bool wanted = options.filters.empty() ? options.mode == bench::Mode::Full || one.quick
                                                : matches(options.filters, one.name);
    if (wanted && exists_on(one, arch)) chosen.push_back(&one);
  }
  for (const std::string& filter : options.filters) {
    const auto all = bench::experiments();
    if (std::any_of(all.begin(), all.end(), [&](const bench::Experiment& one) {
          return one.group != bench::Group::Foreign && matches({filter}, one.name);
        })) {
      continue;
    }
    return Error{ExitCode::Usage, fmt::format("--filter {}: no experiment is called so", filter)};
  }
  return chosen;
}

std::uint32_t layouts_of(const BenchOptions& options) {
  if (options.layouts != 0) return options.layouts;
  return options.mode == bench::Mode::Full ? kFullLayouts
                                           : static_cast<std::uint32_t>(bench::kLeastPairs);
}

std::string recipe_of(const BenchOptions& options, Side side) {
  switch (side) {
    case Side::A:
      break;
    case Side::B:
      return options.b;
    case Side::Control:
      return options.a + "-padded";
    case Side::Slowed:
      return "slowed";
  }
  return options.a;
}

bool is_sensitive(const BenchOptions& options) {
  return (options.mode == bench::Mode::Full || options.cross_check) &&
         options.a == bench::kSlowedOf;
}

int bench(const BenchOptions& options, const std::string& command) {
  const auto places = find_places();
  if (!places) return fail(places.error());
  for (const auto& [option, path] :
       {std::pair("--save", options.save), std::pair("--json", options.json),
        std::pair("--csv", options.csv), std::pair("--html", options.html)}) {
    if (auto there = check_writable(option, path); !there) return fail(there.error());
  }
  auto prepared = prepare(options, places.value());
  if (!prepared) return fail(prepared.error());
  prepared.value().collected.context.command = command;
  measure(prepared.value(), places.value());
  const auto report =
      bench::conclude(std::move(prepared.value().collected), prepared.value().rules);
  if (!report) return fail(report.error());
  const ExitCode code = write_all(options, report.value(), report.value().exit_code);
  const report::TextOptions terminal = text_options_for(STDOUT_FILENO);
  bench::TextOptions style;
  style.colours = terminal.colours;
  style.width = terminal.width;
  std::string text;
  if (options.explain) text += bench::explain_text(report.value(), style) + "\n";
  text += bench::render_text(report.value(), style);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return fail(errno_error(ExitCode::HostLacks, "writing the report to standard output"));
  }
  return static_cast<int>(code);
}

}  // namespace sealvisor::app
