// One microVM: memory, one vCPU, interrupt controller, timer, serial line, doorbell. What differs
// between architectures is behind this; each host builds the one that it can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/address.h"
#include "vmm/base/result.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/api.h"
#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/model/paging.h"

namespace sealvisor::engine::kvm {

/// Why the vCPU stopped, as far as the engine cares.
enum class ExitKind : std::uint8_t {
  Kicked,      ///< Someone asked for it, or a signal came.
  Handled,     ///< A device took care of it.
  Doorbell,    ///< The guest stored to the doorbell page. gpa = offset there, value, size.
  UserReturn,  ///< A planted trap: user mode is about to run.
  ReadOnly,    ///< The guest stored to a read-only frame; not done yet. gpa, value, size.
  Stored,      ///< The guest stored to guarded frames, and it is done. pc, stores.
  Unfollowed,  ///< A store to the guarded frame gpa can't be followed; it is no longer guarded.
  Stepped,     ///< After one instruction, between begin_steps() and end_steps().
  Reset,       ///< The guest reset or powered off. text says how.
  Broken,      ///< The guest can't go on. text says why.
};

struct MachineExit {
  ExitKind kind = ExitKind::Handled;
  arch::Gpa gpa{};
  std::uint64_t value = 0;
  std::uint8_t size = 0;
  bool goes_on = false;  ///< ReadOnly: of the same store as the exit before.
  std::string text{};
  std::uint64_t pc = 0;  ///< Of the instruction that stored.
  std::vector<Stored> stores{};
  bool stepped = false;  ///< `stores` are what differs, what the CPU wrote by itself with it.
};

/// Registers of the stopped vCPU.
struct VcpuState {
  std::uint64_t root = 0;        ///< CR3, TTBR0_EL1.
  std::uint64_t upper_root = 0;  ///< TTBR1_EL1 (arm64).
  std::uint64_t pc = 0;
  bool user_mode = false;
  model::PagingRegisters paging{};
};

/// What was planted.
struct Planted {
  std::size_t sites = 0;
  std::size_t text_bytes = 0;            ///< Kernel text that was searched.
  std::vector<std::string> unplanted{};  ///< Returns that have no trap, for people.
};

/// All calls but kick() come from the vCPU's thread.
class Machine {
 public:
  virtual ~Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Runs the guest to the next exit. An Error means that the host failed.
  [[nodiscard]] virtual Result<MachineExit> run() = 0;
  /// Reads the registers. Precondition: run() returned and was not called again.
  [[nodiscard]] virtual Result<VcpuState> state() = 0;
  /// What matters at a return to user mode: root and paging; upper_root is as state() saw it last.
  /// Precondition: run() returned UserReturn.
  [[nodiscard]] virtual Result<VcpuState> user_state() = 0;
  /// Looks for the return-to-user sites of the running kernel and plants traps there.
  /// Error, exit code GuestFailed: the guest's tables or code are not to be searched; it says why.
  [[nodiscard]] virtual Result<Planted> plant(const VcpuState& state) = 0;
  /// Stores to `frames` end run() with ExitKind::ReadOnly from now on; to all others they don't.
  [[nodiscard]] virtual Status protect(const std::vector<arch::Frame>& frames) = 0;
  /// Whether guard() works here with the guest as it is. Error, exit code HostLacks: why not.
  /// Precondition: plant() was called with the same `state`.
  [[nodiscard]] virtual Status can_guard(const VcpuState& state) const = 0;
  /// Stores to frames in `on` end run() with ExitKind::Stored or Unfollowed from now on; to those
  /// in `off` no longer.
  [[nodiscard]] virtual Status guard(std::span<const arch::Frame> on,
                                     std::span<const arch::Frame> off) = 0;
  /// How a store to a guarded frame comes to be done, for people: "each done ...".
  [[nodiscard]] virtual const char* guarded_stores() const = 0;
  /// Whether begin_steps() works here. Error, exit code HostLacks: why not.
  [[nodiscard]] virtual Status can_step() const = 0;
  /// From now on run() ends after each instruction, with ExitKind::Stepped if with no other. False,
  /// and nothing changed: a bad moment, to be tried again at a later stop. Preconditions:
  /// can_step(), plant() was called.
  [[nodiscard]] virtual Result<bool> begin_steps() = 0;
  [[nodiscard]] virtual Status end_steps() = 0;
  /// Less than state(). Precondition: as there.
  [[nodiscard]] virtual Result<bool> in_user_mode() = 0;
  /// How many bytes type() takes now. It grows while the guest reads its serial line.
  [[nodiscard]] virtual std::size_t input_room() const = 0;
  /// Bytes for the guest's serial line. Precondition: at most input_room().
  [[nodiscard]] virtual Status type(std::string_view bytes) = 0;
  /// What the guest wrote to its serial line since the last call.
  [[nodiscard]] virtual std::string take_console() = 0;
  [[nodiscard]] virtual std::vector<ExitCount> exits() const = 0;
  /// What this host's KVM leaves open to the guest, for people.
  [[nodiscard]] virtual std::vector<std::string> limits() const = 0;

  /// Makes run() return soon: now if it waits in the kernel, at once when it is called next. From
  /// any thread, as long as the machine lives.
  virtual void kick() = 0;

 protected:
  Machine() = default;
};

/// Builds the machine of the host's architecture and loads the guest. Errors: exit code HostLacks
/// names the missing capability; Usage the bad image.
[[nodiscard]] Result<std::unique_ptr<Machine>> make_machine(const EngineConfig& config,
                                                            const System& system, GuestRam& ram,
                                                            const arch::TableReader& memory);

}  // namespace sealvisor::engine::kvm
