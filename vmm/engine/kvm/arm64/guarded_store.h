// The store that a frame stopped, done in the guest's stead. Needs no vCPU, so it builds and is
// tested on every host.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "arch/any_format.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/machine.h"
#include "vmm/engine/kvm/register_file.h"

namespace sealvisor::engine::kvm::arm64 {

/// The guest whose vCPU stopped at a store.
struct StoppedGuest {
  Registers& registers;
  const GuestRam& ram;
  const arch::TableReader& memory;
  const arch::AnyFormat& format;  ///< The guest's.
  std::uint64_t dczid_el0 = 0;    ///< As StoreEnvironment has it.
};

/// What stops stores.
struct StoppingFrames {
  const Guard& guard;
  std::span<const arch::Frame> read_only{};  ///< In read-only slots, in order.

  [[nodiscard]] bool is_read_only(arch::Frame frame) const;
};

struct GuardedStore {
  enum class How : std::uint8_t {
    Done,        ///< Memory and registers are as after the instruction, but for `content`.
    Step,        ///< Not done: the CPU has to do it.
    Unfollowed,  ///< Not done, and stepping would never end: a store exclusive.
  };
  How how = How::Step;
  std::uint64_t pc = 0;
  std::uint64_t next_pc = 0;  ///< Done: where the guest goes on.
  /// Done: what was written if part of it is guarded; nothing by a compare that failed.
  std::vector<Stored> stores{};
  /// Done: what goes to read-only frames, in address order, each in one slot of 8 bytes. It is left
  /// to the caller, and so is the program counter if there is any: both change together.
  std::vector<MachineExit> content{};
  arch::Frame frame{};  ///< Unfollowed: the guarded frame.
};

/// Does what arch/arm64/stores.h knows if it stores to a frame that stops stores.
/// Precondition: such a store stopped the vCPU (KVM_RUN failed with EFAULT, or
/// is_undecoded_store()).
[[nodiscard]] Result<GuardedStore> do_guarded_store(const StoppedGuest& guest,
                                                    const StoppingFrames& frames);

/// Whether an exit with KVM_EXIT_ARM_NISV is of a store to a read-only frame: the hardware does not
/// say what is stored, and KVM has not stepped over the instruction (api.rst, KVM_EXIT_ARM_NISV).
[[nodiscard]] bool is_undecoded_store(const kvm_run& run, const StoppingFrames& frames);

/// The parts of one store to read-only frames, told one by one while the vCPU stands still.
class ContentQueue {
 public:
  /// Precondition: the last one is told to its end. What has no content is told already.
  void begin(const GuardedStore& store);
  /// The next part, of kind ReadOnly. nullopt: there is none, and the guest may go on; the program
  /// counter moves once the last part was told.
  [[nodiscard]] Result<std::optional<MachineExit>> next(Registers& registers);

 private:
  std::vector<MachineExit> left_;  // the last one first
  std::optional<std::uint64_t> next_pc_;
};

}  // namespace sealvisor::engine::kvm::arm64
