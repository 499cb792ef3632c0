#include "vmm/app/boot.h"

#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "guest/agent/boot_words.h"
#include "vmm/app/kernels.h"
#include "vmm/app/places.h"
#include "vmm/app/scenarios.h"
#include "vmm/app/verify.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/host.h"
#include "vmm/image/initramfs.h"
#include "vmm/image/kernel_image.h"
#include "vmm/run/run.h"

namespace sealvisor::app {

namespace fs = std::filesystem;

namespace {

/// A person sits in front of it; this only ends what was forgotten.
constexpr std::chrono::hours kDeadline{24};

/// Nothing is observed but whether the kernel panicked.
class PanicWatch final : public engine::Observer {
 public:
  void on_events(std::span<const event::Event> /*events*/) override {}
  void on_table_copy(const event::Event& /*event*/, const arch::Table& /*table*/) override {}
  engine::StopReply on_stopped(const event::Event& /*event*/) override { return {}; }
  void on_console(std::span<const char> bytes) override {
    if (panicked_) return;
    tail_.append(bytes.data(), bytes.size());
    panicked_ = tail_.find(run::kPanicText) != std::string::npos;
    constexpr std::size_t kKept = run::kPanicText.size();
    if (tail_.size() > kKept) tail_.erase(0, tail_.size() - kKept);
  }
  [[nodiscard]] bool panicked() const { return panicked_; }

 private:
  std::string tail_;
  bool panicked_ = false;
};

struct Kernel {
  arch::Arch arch{};
  fs::path image;
  std::optional<image::KernelFile> opened{};  ///< An image of the user's: keeps `image` there.
};

Result<Kernel> choose_kernel(const BootOptions& options, const Places& places) {
  if (!options.machine.kernel.empty()) {
    auto opened = open_image(options.machine, options.archs);
    if (!opened) return opened.error();
    Kernel kernel{opened.value().image().arch, opened.value().path()};
    kernel.opened = std::move(opened).value();
    return kernel;
  }
  arch::Arch arch = options.archs.empty() ? arch::Arch::X86_64 : options.archs.front();
  if (options.archs.empty() && options.machine.engine == engine::Kind::Kvm) {
    const auto native = engine::kvm::native_arch();
    if (!native) return native.error();
    arch = native.value();
  }
  const auto folder = kernel_dir(places, options.recipe, arch);
  if (!folder) return folder.error();
  const auto files = kernel_files(folder.value(), arch);
  if (!files) return files.error();
  return Kernel{arch, files.value().image};
}

/// The agent, with the plan that `verify` would give it if scenarios were asked for.
Result<image::Initramfs> agent_initramfs(const BootOptions& options, const Places& places,
                                         arch::Arch arch) {
  const auto chosen = choose_scenarios(options.machine.scenarios);
  if (!chosen) return chosen.error();
  run::RunRequest request;
  request.arch = arch;
  request.agent_dir = places.agent_dir(arch);
  request.plan = plan_of(chosen.value(), arch);
  return run::initramfs_for(request);
}

Result<engine::Outcome> boot_guest(const BootOptions& options, PanicWatch& watch) {
  const auto places = find_places();
  if (!places) return places.error();
  const auto kernel = choose_kernel(options, places.value());
  if (!kernel) return kernel.error();
  engine::EngineConfig config;
  std::optional<image::Initramfs> agent;
  if (options.initramfs.empty()) {
    auto made = agent_initramfs(options, places.value(), kernel.value().arch);
    if (!made) return made.error();
    agent.emplace(std::move(made).value());
    config.initramfs = agent->path();
  } else {
    if (::access(options.initramfs.c_str(), R_OK) != 0) {
      return errno_error(ExitCode::Usage, "--initramfs " + options.initramfs.string());
    }
    config.initramfs = options.initramfs;
  }
  config.arch = kernel.value().arch;
  config.kernel = kernel.value().image;
  config.kernel_arguments = "loglevel=6 sealvisor.verbose";
  if (options.machine.scenarios.empty()) config.kernel_arguments += " sealvisor.prompt";
  if (agent && options.machine.scenarios.empty()) config.console_ready = agent::kPrompt;
  if (!options.arguments.empty()) config.kernel_arguments += " " + options.arguments;
  config.cpu_model = options.machine.cpu_model;
  config.plugin = places.value().plugin;
  config.deadline = kDeadline;
  config.watch = false;
  config.plugin_loaded = false;
  config.interactive = true;
  const std::uint64_t bytes = options.machine.memory_mib << 20;
  auto engine = options.machine.engine == engine::Kind::Kvm
                    ? engine::make_kvm_engine(config, bytes)
                    : engine::make_tcg_engine(config, bytes);
  if (!engine) return engine.error();
  return engine.value()->run(watch);
}

}  // namespace

int boot(const BootOptions& options) {
  if (::isatty(STDIN_FILENO) != 0) fmt::print(stderr, "sealvisor: Ctrl-A x quits\n");
  PanicWatch watch;
  const auto outcome = boot_guest(options, watch);
  if (!outcome) {
    fmt::print(stderr, "sealvisor: {}\n", outcome.error().message);
    return static_cast<int>(outcome.error().code);
  }
  const engine::Outcome& how = outcome.value();
  const bool reset = how.end == engine::End::GuestReset;
  const std::string text = watch.panicked() ? "kernel panic"
                           : reset          ? "the guest reset"
                           : how.text.empty()
                               ? engine::name_of(how.end)
                               : fmt::format("{}: {}", engine::name_of(how.end), how.text);
  fmt::print(stderr, "sealvisor: {} after {:.1f} s\n", text, how.wall_seconds);
  const bool good = (reset && !watch.panicked()) || how.quit;
  return static_cast<int>(good ? ExitCode::AsExpected : ExitCode::GuestFailed);
}

}  // namespace sealvisor::app
