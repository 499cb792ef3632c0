// What both machines make alike of a stop of the vCPU.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/guard.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/kick.h"
#include "vmm/engine/kvm/machine.h"

namespace sealvisor::engine::kvm {

/// The guest can't go on, for this.
[[nodiscard]] MachineExit broken(std::string text);
/// The guest reset, by this.
[[nodiscard]] MachineExit reset(std::string text);

/// The guest rang before it had tables that can be followed, for this.
[[nodiscard]] Error too_early(const Error& why);
/// EngineConfig::leave_return is of more returns than the kernel has.
[[nodiscard]] Error no_such_return(std::uint32_t number, std::size_t sites);

/// Enters the vCPU and returns what Vcpu::enter() does; not if there is an exit that is `pending`,
/// which is taken. Tells `counters` both moments.
[[nodiscard]] int next_exit(const Vcpu& vcpu, std::optional<int>& pending, Counters& counters);

/// `error` is what Vcpu::enter() returned. nullopt: the exit is the machine's own to decode.
/// Handles kicks, failures of KVM_RUN, and the exits that mean the same everywhere (KVM_EXIT_INTR,
/// KVM_EXIT_FAIL_ENTRY).
[[nodiscard]] std::optional<Result<MachineExit>> common_exit(int error, const kvm_run& run,
                                                             const Kick& kick, Counters& counters);

/// An exit that ends the guest: KVM gave up, the guest shut itself down, or a reason that no
/// machine expects. Same numbers and structures on all architectures: api.rst, "The kvm_run
/// structure".
[[nodiscard]] MachineExit final_exit(const kvm_run& run);

/// A store that is no device's: to the doorbell page, to a read-only slot of RAM, or to nothing.
[[nodiscard]] MachineExit on_store(const kvm_run& run, arch::Gpa doorbell, const GuestRam& ram,
                                   Counters& counters);

/// What a single step with guarded frames open did.
struct Stepped {
  std::vector<Stored> stores;
  /// What Vcpu::enter() returned if the vCPU stopped for something else than the step: to be
  /// decoded as usual before it is entered again.
  std::optional<int> other;
};

/// Lets the guest do one instruction with the open frames of `guard` writable, then closes them.
/// `debug` is what guest debug is set to otherwise. A step that lands on an interrupt's vector with
/// the instruction not done tells no store, and the guest will come back to it.
[[nodiscard]] Result<Stepped> step_with_open(const Vcpu& vcpu, Guard& guard, kvm_guest_debug debug);

}  // namespace sealvisor::engine::kvm
