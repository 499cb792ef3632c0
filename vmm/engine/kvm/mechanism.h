// Which mechanism the kvm engine would use on this host, found out without running anything on it.
#pragma once

#include <string>
#include <vector>

#include "arch/arch.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/capabilities.h"
#include "vmm/engine/kvm/walker.h"

namespace sealvisor::engine::kvm {

/// What `--mechanism best` comes to.
struct Choice {
  Mechanism mechanism = Mechanism::Audited;  ///< Exact or Audited.
  std::string why;                           ///< For people, without a full stop.
};

/// For the guests of our recipes. `capabilities` are those of probe(); `walker` counts on x86-64
/// only. The machine decides anew once the guest runs (Machine::can_guard): on arm64 a guest that
/// lets the hardware set access flags is audited.
[[nodiscard]] Choice choose_mechanism(arch::Arch arch, const std::vector<Capability>& capabilities,
                                      const WalkerWrites& walker);

/// Asks the device of this host. Errors are those of capabilities_text().
[[nodiscard]] Result<Choice> host_choice(arch::Arch arch);

}  // namespace sealvisor::engine::kvm
