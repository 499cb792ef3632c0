#include "vmm/engine/kvm/arm64/debug_exit.h"

#include <algorithm>

#include "arch/arm64/exception.h"
#include "arch/arm64/user_returns.h"
#include "vmm/engine/kvm/arm64/registers.h"
#include "vmm/engine/kvm/exits.h"

namespace sealvisor::engine::kvm::arm64 {

// Decoding and register names: both are of this architecture, and no name is in both.
namespace decode = arch::arm64;

Result<MachineExit> on_debug(const DebugStop& stop, const DebugContext& context,
                             Registers& registers, Counters& counters) {
  if (decode::is_trap(stop.esr)) {
    auto pc = registers.get(kPc);
    if (!pc) return pc.error();
    if (std::binary_search(context.sites.begin(), context.sites.end(), arch::Gva{pc.value()})) {
      return on_trap(context.has_user32, registers, counters);
    }
  }
  if (context.stepping && decode::class_of(stop.esr) == decode::ExceptionClass::StepLower) {
    counters.count(Counted::Step);
    MachineExit exit;
    exit.kind = ExitKind::Stepped;
    return exit;
  }
  counters.count(Counted::GuestDebug);
  return hand_back(stop, context, registers);
}

Result<MachineExit> on_trap(bool has_user32, Registers& registers, Counters& counters) {
  decode::EretState before;
  before.has_user32 = has_user32;
  if (auto got = get_all(
          registers,
          {{kPstate, &before.pstate}, {kElrEl1, &before.elr_el1}, {kSpsrEl1, &before.spsr_el1}});
      !got) {
    return got.error();
  }
  using Target = decode::EretResult::Target;
  const decode::EretResult after = decode::emulate_eret(before);
  if (after.target == Target::Undefined) return broken("an eret outside EL1");
  const RegisterValue values[] = {{kPstate, after.pstate}, {kPc, after.pc}};
  if (auto set = set_all(registers, values); !set) return set.error();
  if (after.target == Target::User) {
    counters.count(Counted::UserReturn);
    return MachineExit{ExitKind::UserReturn};
  }
  counters.count(Counted::KernelReturn);
  return MachineExit{};
}

Result<MachineExit> hand_back(const DebugStop& stop, const DebugContext& context,
                              Registers& registers) {
  decode::ExceptionState state;
  state.esr = stop.esr;
  state.has_mte = context.has_mte;
  state.has_nmi = context.has_nmi;
  if (auto got = get_all(registers, {{kPc, &state.pc},
                                     {kPstate, &state.pstate},
                                     {kVbarEl1, &state.vbar_el1},
                                     {kSctlrEl1, &state.sctlr_el1}});
      !got) {
    return got.error();
  }
  const auto entry = decode::enter_exception(state);
  if (!entry) return broken(entry.error().message);
  const decode::ExceptionEntry& to = entry.value();
  const RegisterValue values[] = {{kElrEl1, to.elr_el1}, {kSpsrEl1, to.spsr_el1},
                                  {kEsrEl1, to.esr_el1}, {kFarEl1, stop.far},
                                  {kPstate, to.pstate},  {kPc, to.pc}};
  if (auto set = set_all(registers, values); !set) return set.error();
  return MachineExit{};
}

}  // namespace sealvisor::engine::kvm::arm64
