// What both machines make alike of a stop of the vCPU.
#pragma once

#include <optional>
#include <string>

#include "vmm/engine/kvm/counters.h"
#include "vmm/engine/kvm/guest_ram.h"
#include "vmm/engine/kvm/kick.h"
#include "vmm/engine/kvm/machine.h"

namespace sealvisor::engine::kvm {

/// The guest can't go on, for this.
[[nodiscard]] MachineExit broken(std::string text);
/// The guest reset, by this.
[[nodiscard]] MachineExit reset(std::string text);

/// `error` is what Vcpu::enter() returned. nullopt: the exit is the machine's own to decode.
/// Handles kicks, failures of KVM_RUN, and the exits that mean the same everywhere (KVM_EXIT_INTR,
/// KVM_EXIT_FAIL_ENTRY).
[[nodiscard]] std::optional<Result<MachineExit>> common_exit(int error, const kvm_run& run,
                                                             const Kick& kick, Counters& counters);

/// An exit that no machine expects.
[[nodiscard]] MachineExit unknown_exit(const kvm_run& run);

/// A store that is no device's: to the doorbell page, to a read-only slot of RAM, or to nothing.
[[nodiscard]] MachineExit on_store(const kvm_run& run, arch::Gpa doorbell, const GuestRam& ram,
                                   Counters& counters);

}  // namespace sealvisor::engine::kvm
