#include "vmm/engine/kvm/exits.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace sealvisor::engine::kvm {

namespace {

std::string internal_error(const kvm_run& run) {
  const auto& internal = run.internal;
  const auto named = [&](const char* name) {
    return fmt::format("KVM internal error {} ({})", std::uint32_t{internal.suberror}, name);
  };
  switch (internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      break;
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return named("two exceptions at once");
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return named("a stop while an event was delivered");
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return named("a stop that KVM does not expect");
    default:
      return named("no kind that is known here");
  }
  // What it could not emulate, where KVM tells (api.rst, KVM_EXIT_INTERNAL_ERROR).
  const auto& failure = run.emulation_failure;
  if (failure.ndata < 3 ||
      (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) == 0) {
    return named("an instruction that it can't emulate");
  }
  const std::size_t bytes = std::min<std::size_t>(failure.insn_size, sizeof failure.insn_bytes);
  return named(fmt::format("an instruction that it can't emulate: {:02x}",
                           fmt::join(failure.insn_bytes, failure.insn_bytes + bytes, " "))
                   .c_str());
}

MachineExit system_event(const kvm_run& run) {
  switch (run.system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      return reset("PSCI power off");
    case KVM_SYSTEM_EVENT_RESET:
      return reset("PSCI reset");
    case KVM_SYSTEM_EVENT_CRASH:
      return broken("the guest reported a crash");
    default:
      return broken(fmt::format("KVM system event {}, which this machine does not know",
                                std::uint32_t{run.system_event.type}));
  }
}

}  // namespace

MachineExit broken(std::string text) {
  MachineExit exit;
  exit.kind = ExitKind::Broken;
  exit.text = std::move(text);
  return exit;
}

MachineExit reset(std::string text) {
  MachineExit exit;
  exit.kind = ExitKind::Reset;
  exit.text = std::move(text);
  return exit;
}

Error too_early(const Error& why) {
  return {why.code, "the first message came too early: " + why.message};
}

Error no_such_return(std::uint32_t number, std::size_t sites) {
  return {ExitCode::Usage, fmt::format("--leave-return {}: the kernel has {} returns to user mode "
                                       "that get a trap",
                                       number, sites)};
}

int next_exit(const Vcpu& vcpu, std::optional<int>& pending, Counters& counters) {
  counters.entering(Counters::Clock::now());
  const auto taken = std::exchange(pending, std::nullopt);
  const int error = taken ? *taken : vcpu.enter();
  counters.left(Counters::Clock::now());
  return error;
}

std::optional<Result<MachineExit>> common_exit(int error, const kvm_run& run, const Kick& kick,
                                               Counters& counters) {
  if (error == EINTR || error == EAGAIN) {
    kick.taken();
    counters.count(Counted::Kick);
    MachineExit exit;
    exit.kind = ExitKind::Kicked;
    return exit;
  }
  if (error != 0) {
    errno = error;
    return errno_error(ExitCode::HostLacks, "KVM_RUN");
  }
  switch (run.exit_reason) {
    case KVM_EXIT_INTR:
      counters.count(Counted::Other);
      return MachineExit{};
    case KVM_EXIT_FAIL_ENTRY:
      return broken(fmt::format("the CPU refused to run the guest: hardware reason {:#x}",
                                std::uint64_t{run.fail_entry.hardware_entry_failure_reason}));
    default:
      return std::nullopt;
  }
}

MachineExit final_exit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return broken("triple fault");
    case KVM_EXIT_INTERNAL_ERROR:
      return broken(internal_error(run));
    case KVM_EXIT_SYSTEM_EVENT:
      return system_event(run);
    case KVM_EXIT_ARM_NISV:
      return broken(fmt::format("an access to {:#x} that the hardware does not decode (ESR {:#x})",
                                std::uint64_t{run.arm_nisv.fault_ipa},
                                std::uint64_t{run.arm_nisv.esr_iss}));
    case KVM_EXIT_EXCEPTION:
      return broken(fmt::format("KVM exit by exception {} (error code {:#x})",
                                std::uint32_t{run.ex.exception}, std::uint32_t{run.ex.error_code}));
    default:
      return broken(fmt::format("KVM exit reason {}, which this machine does not know",
                                std::uint32_t{run.exit_reason}));
  }
}

MachineExit on_store(const kvm_run& run, arch::Gpa doorbell, const GuestRam& ram,
                     Counters& counters) {
  const auto& mmio = run.mmio;
  const arch::Gpa gpa{mmio.phys_addr};
  MachineExit exit;
  exit.size = static_cast<std::uint8_t>(std::min<std::uint32_t>(mmio.len, sizeof mmio.data));
  std::memcpy(&exit.value, mmio.data, exit.size);
  if (gpa.value - doorbell.value < arch::kPageSize) {
    counters.count(Counted::Doorbell);
    exit.kind = ExitKind::Doorbell;
    exit.gpa = arch::Gpa{gpa.value - doorbell.value};
  } else if (!ram.at(gpa, 1).empty()) {
    counters.count(Counted::ReadOnly);
    exit.kind = ExitKind::ReadOnly;
    exit.gpa = gpa;
  } else {
    counters.count(Counted::OtherDevice);
  }
  return exit;
}

Result<Stepped> step_with_open(const Vcpu& vcpu, Guard& guard, kvm_guest_debug debug) {
  const auto set = [&](std::uint32_t control) {
    debug.control = control;
    return vcpu.operate(KVM_SET_GUEST_DEBUG, &debug, "KVM_SET_GUEST_DEBUG");
  };
  const std::uint32_t usual = debug.control;
  if (auto on = set(usual | KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP); !on) return on.error();
  Stepped stepped;
  const int error = vcpu.enter();
  if (error != 0 || vcpu.run().exit_reason != KVM_EXIT_DEBUG) stepped.other = error;
  // An interrupt that waits is taken before the instruction, and the step then ends on its vector,
  // with nothing stored: no difference is found, and the frames are closed. The step is not made
  // again at once, for the handler runs first and its own stores to guarded frames are to be told
  // too. When it returns, the instruction faults on its frame anew, and the step is tried again.
  auto stores = guard.close();
  if (!stores) return stores.error();
  stepped.stores = std::move(stores).value();
  if (auto off = set(usual); !off) return off.error();
  return stepped;
}

}  // namespace sealvisor::engine::kvm
