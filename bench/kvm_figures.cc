// The figures of the KVM engine, taken in emulated hosts, beside their budgets (bench/budgets.h).
//
//   build/bench/kvm_figures [arm64|x86_64|all]     arm64 unless given
//
// Each host runs the default `verify`. Exit code 1: a figure is over its budget, or a run did not
// come out as expected.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "bench/budgets.h"
#include "bench/judge.h"
#include "vmm/app/capture.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): a program of its own
namespace fs = std::filesystem;

struct Host {
  const char* name;
  arch::Arch arch;
  const char* cpu;
};
constexpr Host kHosts[] = {{"arm64 with VHE", arch::Arch::Arm64, "cortex-a76"},
                           {"arm64 without VHE", arch::Arch::Arm64, "cortex-a57"},
                           {"x86-64, AMD SVM", arch::Arch::X86_64, "EPYC-v4,+svm"}};

constexpr std::chrono::minutes kLimit{10};

/// Prints the figures of one host; false: one is over, or the host's runs failed.
Result<bool> measure(const fs::path& program, const fs::path& json, const Host& host) {
  std::error_code ignored;
  fs::remove(json, ignored);
  const auto start = std::chrono::steady_clock::now();
  const auto answer =
      app::capture(program,
                   {"verify", "--engine", "kvm-nested", "--arch", arch::name_of(host.arch), "--cpu",
                    host.cpu, "--json", json.string()},
                   kLimit);
  if (!answer) return answer.error();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto report = bench::read_report(json.string());
  if (!report) return Error{ExitCode::GuestFailed, answer.value().output};
  bool good = answer.value().status == 0;
  fmt::print("{} ({}), default verify: exit code {}\n", host.name, host.cpu, answer.value().status);
  double guests = 0;
  for (const nlohmann::json& run : report.value()["runs"]) {
    fmt::print("  {}, {} lane\n", run.value("recipe", "?"), run.value("lane", "?"));
    for (const bench::Figure& figure : bench::figures_of(run)) {
      fmt::print("    {}\n", bench::text_of(figure));
      good = good && !bench::is_over(figure);
    }
    for (const nlohmann::json& exit : run["start"]["exits"]) {
      fmt::print("      to init: {} {}\n", exit.value("count", 0), exit.value("name", "?"));
    }
    guests += run.value("seconds", 0.0);
  }
  const bench::Figure whole{"seconds for all, the host's boot with them", took.count(),
                            static_cast<double>(bench::kMostVerifySeconds)};
  fmt::print("  {}\n  {}\n\n",
             bench::text_of({"seconds of the guests alone", guests, std::nullopt}),
             bench::text_of(whole));
  std::fflush(stdout);
  return good && !bench::is_over(whole);
}

int run(int argc, char** argv) {
  const std::string_view which = argc > 1 ? argv[1] : "arm64";
  if (argc > 2 || (which != "arm64" && which != "x86_64" && which != "all")) {
    fmt::print(stderr, "usage: kvm_figures [arm64|x86_64|all]\n");
    return static_cast<int>(ExitCode::Usage);
  }
  // This program lies in a folder of its own below the build folder.
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path json = here / fmt::format("kvm_figures.{}.json", ::getpid());
  bool good = true;
  for (const Host& host : kHosts) {
    if (which != "all" && which != arch::name_of(host.arch)) continue;
    const auto measured = measure(here.parent_path() / "sealvisor", json, host);
    std::error_code ignored;
    fs::remove(json, ignored);
    if (!measured) {
      fmt::print(stderr, "kvm_figures: {}: {}\n", host.name, measured.error().message);
      return static_cast<int>(measured.error().code);
    }
    good = good && measured.value();
  }
  return good ? 0 : static_cast<int>(ExitCode::Failed);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvm_figures: %s\n", error.what());
    return static_cast<int>(ExitCode::HostLacks);
  }
}
