#include "vmm/engine/tcg/tcg_engine.h"

#include <unistd.h>

#include <fmt/format.h>

#include "vmm/engine/tcg/loop.h"

namespace sealvisor::engine {

Result<std::unique_ptr<Engine>> make_tcg_engine(const EngineConfig& config,
                                                std::uint64_t memory_bytes) {
  auto engine = tcg::TcgEngine::create(config, memory_bytes);
  if (!engine) return engine.error();
  return std::unique_ptr<Engine>(std::move(engine).value());
}

namespace tcg {

Result<std::unique_ptr<TcgEngine>> TcgEngine::create(const EngineConfig& config,
                                                     std::uint64_t memory_bytes) {
  auto qemu = find_qemu(config.arch);
  if (!qemu) return qemu.error();
  if (config.plugin_loaded && ::access(config.plugin.c_str(), R_OK) != 0) {
    return errno_error(ExitCode::HostLacks,
                       fmt::format("the monitor plugin '{}'", config.plugin.string()));
  }
  auto memory = memory::GuestMemory::create(config.arch, memory_bytes);
  if (!memory) return memory.error();
  auto ring_fd = memory_file("sealvisor-ring", event::kRingBytes, false);
  if (!ring_fd) return ring_fd.error();
  auto ring_memory =
      Mapping::map(ring_fd.value(), event::kRingBytes, PROT_READ | PROT_WRITE, "the event ring");
  if (!ring_memory) return ring_memory.error();
  event::Ring(ring_memory.value().bytes()).initialise();
  return std::make_unique<TcgEngine>(Key{}, config, std::move(qemu).value(),
                                     std::move(memory).value(), std::move(ring_fd).value(),
                                     std::move(ring_memory).value());
}

TcgEngine::~TcgEngine() = default;

Result<Outcome> TcgEngine::run(Observer& observer) {
  if (used_) return Error{ExitCode::Usage, "an engine runs one guest only"};
  used_ = true;
  Loop loop(config_, qemu_, memory_, ring_fd_, ring_memory_, observer);
  loop_ = &loop;
  auto outcome = loop.run();
  loop_ = nullptr;
  return outcome;
}

Result<std::string> TcgEngine::monitor(const std::string& command,
                                       std::chrono::milliseconds limit) {
  QmpClient* qmp = loop_ == nullptr ? nullptr : loop_->qmp();
  if (qmp == nullptr) return Error{ExitCode::GuestFailed, "monitor command without a guest"};
  return qmp->human(command, limit);
}

}  // namespace tcg

}  // namespace sealvisor::engine
