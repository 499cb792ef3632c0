#include "vmm/engine/kvm/kvm_engine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vmm/base/cpus.h"
#include "vmm/engine/kvm/capabilities.h"
#include "vmm/engine/kvm/host.h"
#include "vmm/engine/kvm/kick.h"
#include "vmm/engine/kvm/runner.h"
#include "vmm/engine/kvm/sandbox.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine {

Result<std::unique_ptr<Engine>> make_kvm_engine(const EngineConfig& config,
                                                std::uint64_t memory_bytes) {
  if (config.vcpus != 1) {
    return Error{ExitCode::Usage,
                 fmt::format("kvm: the machine has one vCPU, and {} were asked for", config.vcpus)};
  }
  auto engine = kvm::KvmEngine::create(config, memory_bytes);
  if (!engine) return engine.error();
  return std::unique_ptr<Engine>(std::move(engine).value());
}

namespace kvm {

namespace {

/// Leaves `cpu` to the vCPU: the calling thread, and what it starts, keeps to all others that it
/// has.
Status make_way(unsigned cpu) {
  auto cpus = allowed_cpus();
  if (!cpus) return cpus.error();
  std::vector<unsigned>& others = cpus.value();
  others.erase(std::remove(others.begin(), others.end(), cpu), others.end());
  return others.empty() ? Status() : bind_to(others);
}

}  // namespace

Result<std::unique_ptr<KvmEngine>> KvmEngine::create(const EngineConfig& config,
                                                     std::uint64_t memory_bytes) {
  if (auto fit = check_host(config.arch); !fit) return fit.error();
  auto system = System::open(kDevice);
  if (!system) return system.error();
  if (auto all = check_needed(probe(system.value())); !all) return all.error();
  auto memory = memory::GuestMemory::create(config.arch, memory_bytes);
  if (!memory) return memory.error();
  auto ram = GuestRam::map(memory.value());
  if (!ram) return ram.error();
  return std::make_unique<KvmEngine>(Key{}, config, std::move(system).value(),
                                     std::move(memory).value(), std::move(ram).value());
}

Result<Outcome> KvmEngine::run(Observer& observer) {
  if (used_) return Error{ExitCode::Usage, "an engine runs one guest only"};
  used_ = true;
  std::optional<Terminal> terminal;
  if (config_.interactive) {
    auto opened = Terminal::open(STDIN_FILENO, STDOUT_FILENO);
    if (!opened) return opened.error();
    terminal.emplace(std::move(opened).value());
  }
  // A thread of its own, for what it gives up it never gets back.
  std::optional<Result<Outcome>> outcome;
  std::thread([&] {
    try {
      outcome = run_confined(observer, terminal ? &*terminal : nullptr);
    } catch (const std::exception& problem) {  // It must not leave its thread.
      outcome = Error{ExitCode::HostLacks, fmt::format("serving the guest: {}", problem.what())};
    }
  }).join();
  if (!*outcome) return outcome->error();
  utsname names{};
  static_cast<void>(::uname(&names));
  outcome->value().version = fmt::format("KVM of Linux {}", names.release);
  outcome->value().cpu_model = "host";
  return std::move(*outcome);
}

Result<Outcome> KvmEngine::run_confined(Observer& observer, const Terminal* terminal) {
  if (auto handled = Kick::install_handler(); !handled) return handled.error();
  const std::optional<unsigned> cpu = config_.pin_cpu;
  if (cpu) {
    if (auto made = make_way(*cpu); !made) return made.error();
  }
  auto machine = make_machine(config_, system_, ram_, memory_);
  if (!machine) return machine.error();
  if (config_.loaded) config_.loaded();
  Runner runner(config_, *machine.value(), ram_, memory_, observer, terminal);
  if (auto begun = runner.begin(); !begun) return begun.error();
  if (cpu) {
    if (auto bound = bind_to({&*cpu, 1}); !bound) return bound.error();
  }
  if (auto confined = confine(Confined::Vcpu); !confined) return confined.error();
  const std::uint64_t before = thread_preemptions();
  auto outcome = runner.run();
  if (outcome && cpu) outcome.value().pinned = Pinned{*cpu, thread_preemptions() - before};
  return outcome;
}

}  // namespace kvm

}  // namespace sealvisor::engine
