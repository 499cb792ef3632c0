// The KVM engine: our own microVM, watched at each return to user mode.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/api.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine::kvm {

class KvmEngine final : public Engine {
 public:
  /// See make_kvm_engine().
  [[nodiscard]] static Result<std::unique_ptr<KvmEngine>> create(const EngineConfig& config,
                                                                 std::uint64_t memory_bytes);

  [[nodiscard]] const memory::GuestMemory& memory() const override { return memory_; }
  [[nodiscard]] Result<Outcome> run(Observer& observer) override;

 private:
  struct Key {};

 public:
  KvmEngine(Key key, EngineConfig config, System system, memory::GuestMemory memory, GuestRam ram)
      : config_(std::move(config)),
        system_(std::move(system)),
        memory_(std::move(memory)),
        ram_(std::move(ram)) {
    static_cast<void>(key);
  }

 private:
  /// In a thread that ends with it.
  [[nodiscard]] Result<Outcome> run_confined(Observer& observer, const Terminal* terminal);

  EngineConfig config_;
  System system_;
  memory::GuestMemory memory_;
  GuestRam ram_;
  bool used_ = false;
};

}  // namespace sealvisor::engine::kvm
