// The tcg engine: QEMU with our plugin inside.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "vmm/engine/engine.h"
#include "vmm/engine/tcg/qemu/program.h"

namespace sealvisor::engine::tcg {

class Loop;

class TcgEngine final : public Engine {
 public:
  /// See make_tcg_engine().
  [[nodiscard]] static Result<std::unique_ptr<TcgEngine>> create(const EngineConfig& config,
                                                                 std::uint64_t memory_bytes);
  ~TcgEngine() override;

  [[nodiscard]] const memory::GuestMemory& memory() const override { return memory_; }
  [[nodiscard]] Result<Outcome> run(Observer& observer) override;

  /// What QEMU's monitor answers to `command` ("info tlb", "gva2gpa 0x1000"): a view of the guest
  /// that is not ours. For use from Observer::on_stopped(), while the vCPU stands still. Errors
  /// (exit code GuestFailed): no guest runs, no answer within `limit`.
  [[nodiscard]] Result<std::string> monitor(
      const std::string& command, std::chrono::milliseconds limit = std::chrono::seconds(10));

 private:
  /// Only create() can make one.
  struct Key {};

 public:
  TcgEngine(Key, EngineConfig config, QemuProgram qemu, memory::GuestMemory memory, Fd ring_fd,
            Mapping ring_memory)
      : config_(std::move(config)),
        qemu_(std::move(qemu)),
        memory_(std::move(memory)),
        ring_fd_(std::move(ring_fd)),
        ring_memory_(std::move(ring_memory)) {}

 private:
  EngineConfig config_;
  QemuProgram qemu_;
  memory::GuestMemory memory_;
  Fd ring_fd_;
  Mapping ring_memory_;
  Loop* loop_ = nullptr;  ///< While run() runs.
  bool used_ = false;
};

}  // namespace sealvisor::engine::tcg
