// What the VMM does before a guest's first instruction, without KVM: CPU milliseconds of this
// machine for each step, each round in a process of its own.
//
//   build/bench/start_cost [ROUNDS]     20 unless given
//
// It takes the same steps with the same code as `verify --engine kvm`, for either architecture. Not
// in it: KVM's own system calls (a few dozen), and the command line.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "arch/arm64/boot.h"
#include "arch/x86_64/boot.h"
#include "bench/budgets.h"
#include "vmm/app/capture.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/app/scenarios.h"
#include "vmm/base/cpu_time.h"
#include "vmm/base/fd.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/sandbox.h"
#include "vmm/image/kernel_image.h"
#include "vmm/image/symbols.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/run/run.h"

namespace {

using namespace sealvisor;  // NOLINT(google-build-using-namespace): a program of its own
namespace fs = std::filesystem;
using engine::kvm::GuestRam;

constexpr std::uint64_t kRamBytes = 256ULL << 20;
constexpr std::string_view kWords = "console=ttyS0 nokaslr norandmaps panic=-1 quiet";

fs::path build_folder() {
  // This program lies in a folder of its own below the build folder.
  return fs::read_symlink("/proc/self/exe").parent_path().parent_path();
}

Result<app::Places> places() {
  const fs::path build = build_folder();
  return app::find_places({.executable = build / "sealvisor",
                           .share_override = std::nullopt,
                           .source_dir = build.parent_path()});
}

/// The boot plan for the image, as the machine of its architecture makes it.
Result<arch::BootPlan> plan_for(arch::Arch arch, const fs::path& image, const fs::path& initramfs,
                                arch::RamLayout ram) {
  const Fd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return errno_error(ExitCode::Usage, image.string());
  const auto read = [&](std::uint64_t offset, std::span<std::byte> into) -> Status {
    const ssize_t got = ::pread(file.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got == static_cast<ssize_t>(into.size())) return {};
    return Error{ExitCode::Usage, "reading " + image.string()};
  };
  if (arch == arch::Arch::X86_64) {
    arch::x86_64::BootInput input;
    input.read = read;
    input.kernel_bytes = fs::file_size(image);
    input.initramfs_bytes = fs::file_size(initramfs);
    input.command_line = kWords;
    input.ram = ram;
    auto boot = arch::x86_64::plan_boot(input);
    if (!boot) return boot.error();
    return std::move(boot.value().plan);
  }
  std::array<std::byte, arch::arm64::kImageHeaderBytes> header{};
  if (auto got = read(0, header); !got) return got.error();
  arch::arm64::BootInput input;
  input.header = header;
  input.kernel_bytes = fs::file_size(image);
  input.initramfs_bytes = fs::file_size(initramfs);
  input.command_line = kWords;
  input.ram = ram;
  input.machine = {arch::arm64::GicVersion::V3,      {arch::Gpa{0x08000000}, 0x10000},
                   {arch::Gpa{0x080a0000}, 0x20000}, {arch::Gpa{0x08010000}, 0x10000},
                   {arch::Gpa{0x09000000}, 0x1000},  1};
  auto boot = arch::arm64::plan_boot(input);
  if (!boot) return boot.error();
  return std::move(boot.value().plan);
}

/// Takes the steps, and prints the CPU time at the end of each.
Status once(arch::Arch arch, const fs::path& kernel) {
  const auto step = [](const char* name) {
    fmt::print("{}\t{:.6f}\n", name, process_cpu_seconds());
  };
  step("1 program loaded");
  const auto where = places();
  if (!where) return where.error();
  std::ifstream known(where.value().known_findings());
  std::stringstream text;
  text << known.rdbuf();
  const auto chosen = app::choose_scenarios({});
  if (!chosen) return chosen.error();
  run::RunRequest request;
  request.arch = arch;
  request.agent_dir = where.value().agent_dir(arch);
  request.plan = app::plan_of(chosen.value(), arch);
  step("2 scenarios, known findings");
  const auto files = app::kernel_files(kernel, arch);
  if (!files) return files.error();
  const auto probed = image::probe_kernel(files.value().image, arch);
  if (!probed) return probed.error();
  const auto symbols = image::SymbolTable::load(files.value().symbols);
  if (!symbols) return symbols.error();
  step("3 kernel and symbols looked at");
  const auto initramfs = run::initramfs_for(request);
  if (!initramfs) return initramfs.error();
  step("4 initramfs made");
  const auto memory = memory::GuestMemory::create(arch, kRamBytes);
  if (!memory) return memory.error();
  const auto ram = GuestRam::map(memory.value());
  if (!ram) return ram.error();
  const auto plan =
      plan_for(arch, files.value().image, initramfs.value().path(), ram.value().layout());
  if (!plan) return plan.error();
  step("5 memory and boot plan");
  auto loaded = ram.value().load(plan.value(), files.value().image, initramfs.value().path());
  if (!loaded) return loaded;
  step("6 kernel and initramfs loaded");
  for (const auto which : {engine::kvm::Confined::Io, engine::kvm::Confined::Vcpu}) {
    Status confined;
    std::thread([&] { confined = engine::kvm::confine(which); }).join();
    if (!confined) return confined;
  }
  step("7 threads confined");
  return {};
}

Result<std::map<std::string, double>> one_round(arch::Arch arch, const fs::path& kernel) {
  const auto answer =
      app::capture(fs::read_symlink("/proc/self/exe"),
                   {"--once", arch::name_of(arch), kernel.string()}, std::chrono::seconds(60));
  if (!answer) return answer.error();
  if (answer.value().status != 0) return Error{ExitCode::HostLacks, answer.value().output};
  std::map<std::string, double> steps;
  std::istringstream lines(answer.value().output);
  double before = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    const double at = std::stod(line.substr(tab + 1));
    steps[line.substr(0, tab)] = at - before;
    before = at;
  }
  steps["all"] = before;
  return steps;
}

Status measure(arch::Arch arch, int rounds) {
  const auto where = places();
  if (!where) return where.error();
  const auto kernel = app::kernel_dir(where.value(), "lts-sealed", arch);
  if (!kernel) return kernel.error();
  std::map<std::string, std::vector<double>> steps;
  for (int round = 0; round < rounds; ++round) {
    const auto one = one_round(arch, kernel.value());
    if (!one) return one.error();
    for (const auto& [name, seconds] : one.value()) steps[name].push_back(seconds);
  }
  fmt::print("{}: CPU to the first guest instruction without KVM's calls, ms, {} rounds\n",
             arch::name_of(arch), rounds);
  for (auto& [name, seconds] : steps) {
    std::sort(seconds.begin(), seconds.end());
    fmt::print("  {:<34} least {:6.2f}  median {:6.2f}{}\n", name, 1e3 * seconds.front(),
               1e3 * seconds[seconds.size() / 2],
               name == "all" ? fmt::format("  (goal {})", bench::kMostStartCpuMs) : "");
  }
  return {};
}

int fail(const Error& error) {
  fmt::print(stderr, "start_cost: {}\n", error.message);
  return static_cast<int>(error.code);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 3 && words[0] == "--once") {
    const auto arch = words[1] == "arm64" ? arch::Arch::Arm64 : arch::Arch::X86_64;
    const Status done = once(arch, words[2]);
    return done ? 0 : fail(done.error());
  }
  int rounds = 20;
  if (!words.empty()) {
    const std::string& text = words[0];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
    if (error != std::errc{} || end != text.data() + text.size() || rounds < 1 || rounds > 1000 ||
        words.size() > 1) {
      fmt::print(stderr, "usage: start_cost [ROUNDS, 1 to 1000]\n");
      return static_cast<int>(ExitCode::Usage);
    }
  }
  for (const arch::Arch arch : arch::kAllArchs) {
    if (const Status done = measure(arch, rounds); !done) return fail(done.error());
  }
  return 0;
}
