// What watching costs: the same guest with and without the monitor, interleaved, as ratios.
//
//   build/bench/figures [ROUNDS]     rounds of each kind, 3 unless given
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "bench/judge.h"
#include "vmm/app/capture.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/app/scenarios.h"
#include "vmm/run/run.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): a program of its own

enum class Mode { Bare, Watched, Witness };

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Other work on the machine only ever adds: the least of several runs is nearest to the cost.
double least(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

double spread(const std::vector<double>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return *most - *least;
}

Result<run::RunRequest> request_for(const app::Places& places, arch::Arch arch) {
  auto folder = app::kernel_dir(places, "lts-sealed", arch);
  if (!folder) return folder.error();
  auto files = app::kernel_files(folder.value(), arch);
  if (!files) return files.error();
  auto chosen = app::choose_scenarios({"bench/fork-exec"});
  if (!chosen) return chosen.error();
  run::RunRequest request;
  request.arch = arch;
  request.recipe = "lts-sealed";
  request.sealed = true;
  request.kernel_image = files.value().image;
  request.symbols = files.value().symbols;
  request.agent_dir = places.agent_dir(arch);
  request.plugin = places.plugin;
  request.plan = app::plan_of(chosen.value(), arch);
  return request;
}

Status measure(const app::Places& places, arch::Arch arch, int rounds) {
  auto prepared = request_for(places, arch);
  if (!prepared) return prepared.error();
  std::map<Mode, std::vector<double>> seconds;
  std::vector<double> starts;
  report::Counts counts;
  std::uint64_t witness_stores = 0;
  std::uint64_t witness_differences = 0;
  const auto once = [&](Mode mode) -> Status {
    run::RunRequest request = prepared.value();
    request.plugin_loaded = mode != Mode::Bare;
    request.witness = mode == Mode::Witness;
    auto result = run::run_one(request);
    if (!result) return result.error();
    const report::Run& run = result.value();
    if (mode != Mode::Bare && (!run.ending.good || !run.findings.empty())) {
      return Error{ExitCode::GuestFailed, "a measured guest failed: " + run.ending.text};
    }
    seconds[mode].push_back(run.cpu_seconds);
    if (mode == Mode::Watched) {
      starts.push_back(run.start_to_init);
      counts = run.counts;
    }
    if (mode == Mode::Witness) {
      witness_stores = run.counts.witness_stores.value_or(0);
      witness_differences = run.counts.witness_differences.value_or(0);
    }
    return {};
  };
  for (int round = 0; round < rounds; ++round) {
    // Turned around each time, so that a drift of the machine cancels out.
    std::vector<Mode> order = {Mode::Bare, Mode::Watched};
    if (round % 2 == 1) std::reverse(order.begin(), order.end());
    for (const Mode mode : order) {
      if (auto done = once(mode); !done) return done;
    }
  }
  if (auto done = once(Mode::Witness); !done) return done;

  // Two runs next to each other found the machine in the same state; the luckiest of each kind need
  // not have.
  std::vector<double> ratios(seconds[Mode::Bare].size());
  std::transform(seconds[Mode::Watched].begin(), seconds[Mode::Watched].end(),
                 seconds[Mode::Bare].begin(), ratios.begin(), std::divides<>());
  const double bare = least(seconds[Mode::Bare]);
  const double watched = least(seconds[Mode::Watched]);
  const double bare_median = median(seconds[Mode::Bare]);
  const double watched_median = median(seconds[Mode::Watched]);
  fmt::print("{}: boot + 200 fork+exec, CPU seconds of QEMU and VMM, {} rounds\n",
             arch::name_of(arch), rounds);
  fmt::print("  without plugin      least {:.2f} s, median {:.2f} s, spread {:.2f} s\n", bare,
             bare_median, spread(seconds[Mode::Bare]));
  fmt::print("  watched             least {:.2f} s, median {:.2f} s, spread {:.2f} s\n", watched,
             watched_median, spread(seconds[Mode::Watched]));
  fmt::print(
      "  ratio               {:.2f} of two runs next to each other, median; {:.2f} of the "
      "least, {:.2f} of the medians\n",
      median(ratios), watched / bare, watched_median / bare_median);
  fmt::print("  with second witness {:.2f} s, ratio {:.2f}: {} stores caught, {} differences\n",
             seconds[Mode::Witness][0], seconds[Mode::Witness][0] / bare, witness_stores,
             witness_differences);
  fmt::print("  watched start to init {:.2f} s; {} table writes, {} re-walks, {} mismatches\n",
             median(starts), counts.table_writes, counts.rewalks, counts.mismatches);
  return {};
}

/// What a person waits for, and what its process holds.
Status time_verify(const std::filesystem::path& program, const std::filesystem::path& json) {
  const auto start = std::chrono::steady_clock::now();
  const auto answer =
      app::capture(program, {"verify", "--json", json.string()}, std::chrono::minutes(10));
  if (!answer) return answer.error();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("default verify: {:.1f} s, exit code {}\n", took.count(), answer.value().status);
  const auto report = bench::read_report(json.string());
  if (!report) return report.error();
  const auto most = bench::most_resident(report.value());
  if (!most) return Error{ExitCode::GuestFailed, "the report does not say what the VMM held"};
  fmt::print("VMM process beside guest memory, most of its guests' ends: {:.1f} MiB\n",
             *most / (1 << 20));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = 3;
  if (argc > 1) {
    const std::string_view text = argv[1];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
    if (error != std::errc{} || end != text.data() + text.size() || rounds < 1 || rounds > 100) {
      fmt::print(stderr, "figures: rounds '{}': expected 1 to 100\n", text);
      return static_cast<int>(ExitCode::Usage);
    }
  }
  // This program lies in a folder of its own below the build folder.
  const auto build = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  const auto places = app::find_places({.executable = build / "sealvisor",
                                        .share_override = std::nullopt,
                                        .source_dir = build.parent_path()});
  if (!places) {
    fmt::print(stderr, "figures: {}\n", places.error().message);
    return static_cast<int>(places.error().code);
  }
  for (const arch::Arch arch : arch::kAllArchs) {
    if (auto done = measure(places.value(), arch, rounds); !done) {
      fmt::print(stderr, "figures: {}\n", done.error().message);
      return static_cast<int>(done.error().code);
    }
  }
  const auto json = build / "bench" / fmt::format("figures.{}.json", ::getpid());
  const auto timed = time_verify(build / "sealvisor", json);
  std::error_code ignored;
  std::filesystem::remove(json, ignored);
  if (timed) return 0;
  fmt::print(stderr, "figures: {}\n", timed.error().message);
  return static_cast<int>(timed.error().code);
}
