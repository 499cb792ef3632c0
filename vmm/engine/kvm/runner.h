// One guest in its machine: runs the vCPU, hands what it stops for to the watch, says how it ended.
// Knows the machine by its interface only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/exact.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/instruction_counter.h"
#include "vmm/engine/kvm/io_thread.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/kvm/step_check.h"
#include "vmm/engine/kvm/watch.h"
#include "vmm/engine/terminal.h"

namespace sealvisor::engine::kvm {

/// One guest, from its first instruction to its end. One use: begin, run, destroy, all in one
/// thread; only what io_ does is in another.
class Runner {
 public:
  /// All must outlive this. `terminal`: where the console is; nullptr: with the observer.
  Runner(const EngineConfig& config, Machine& machine, GuestRam& ram,
         const memory::GuestMemory& memory, Observer& observer, const Terminal* terminal)
      : config_(config),
        machine_(machine),
        ram_(ram),
        memory_(memory),
        observer_(observer),
        terminal_(terminal),
        io_(config.deadline, terminal, [&machine] { machine.kick(); }) {}

  /// Starts what goes on beside the vCPU: the last that needs more than the sandbox leaves.
  [[nodiscard]] Status begin();
  /// Runs to the end and says how it was. An Error: the host failed before anything was watched.
  /// From then on a host that fails is an Outcome too, EngineDied, for what was gathered counts.
  [[nodiscard]] Result<Outcome> run();

 private:
  [[nodiscard]] Status run_once();
  [[nodiscard]] Status handle(const MachineExit& exit);
  [[nodiscard]] Status check_by_step(ExitKind kind);
  [[nodiscard]] Status on_doorbell(const MachineExit& exit);
  /// The same where nothing is watched.
  [[nodiscard]] Status on_message(const MachineExit& exit);
  [[nodiscard]] Status on_read_only(const MachineExit& exit);
  [[nodiscard]] Status on_stored(const MachineExit& exit);
  [[nodiscard]] Status begin_watch(const VcpuState& state);
  [[nodiscard]] Status update_guards();
  void show_console();
  /// Gives the guest what was typed, as much as it has room for.
  [[nodiscard]] Status pass_input();
  void finish(End end, std::string text);
  void describe(Outcome& outcome) const;
  /// Exits so far by kind, `prefix` before each name.
  [[nodiscard]] std::vector<Cost> exit_costs(const char* prefix) const;
  /// All time of exits of one kind, but for the last exit.
  [[nodiscard]] double microseconds_of(Counted which) const;
  /// The guest rang for the first time.
  void note_init();

  const EngineConfig& config_;
  Machine& machine_;
  GuestRam& ram_;
  const memory::GuestMemory& memory_;
  Observer& observer_;
  const Terminal* terminal_;
  IoThread io_;
  std::optional<End> end_;
  std::string text_;
  std::optional<ReadyWatch> ready_;  ///< Input begins when the console has shown it.
  bool input_waits_ = false;         ///< Something was typed that the guest may not have.
  std::uint64_t console_bytes_ = 0;
  std::uint64_t stores_ = 0;
  StartCost start_;
  std::optional<InstructionCounter> counter_;  ///< Up to the first doorbell message.
  std::optional<Planted> planted_;
  std::unique_ptr<Watch> watch_;  ///< From the first doorbell on that is told.
  Exact* exact_ = nullptr;        ///< watch_, if it is one.
  std::string not_exact_;         ///< Why not.
  StepCheck step_check_;          ///< Asked for by the configuration.
};

}  // namespace sealvisor::engine::kvm
