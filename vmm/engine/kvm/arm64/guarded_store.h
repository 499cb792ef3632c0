// The store that a guarded frame stopped, done in the guest's stead.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arch/any_format.h"
#include "vmm/base/result.h"
#include "vmm/engine/kvm/api.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"

namespace sealvisor::engine::kvm {

struct GuardedStore {
  enum class How : std::uint8_t {
    Done,        ///< Memory and registers are as after the instruction.
    Step,        ///< Not done: the CPU has to do it.
    Unfollowed,  ///< Not done, and stepping would never end: a store exclusive.
  };
  How how = How::Step;
  std::uint64_t pc = 0;
  std::vector<Stored> stores{};  ///< Done: what was written; none by a compare that failed.
  arch::Frame frame{};           ///< Unfollowed: the guarded frame.
};

/// Does what arch/arm64/stores.h knows if it stores to a frame that `guard` holds.
/// Preconditions: KVM_RUN failed with EFAULT; `format` is the guest's.
[[nodiscard]] Result<GuardedStore> do_guarded_store(const Vcpu& vcpu, const GuestRam& ram,
                                                    const Guard& guard,
                                                    const arch::TableReader& memory,
                                                    const arch::AnyFormat& format);

}  // namespace sealvisor::engine::kvm
