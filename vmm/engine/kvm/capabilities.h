// The capabilities of a KVM that the engine rests on, and those that it likes to have.
#pragma once

#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/engine/kvm/api.h"

namespace sealvisor::engine::kvm {

/// One capability (KVM_CHECK_EXTENSION of the system).
struct Capability {
  const char* name = "";
  bool needed = false;
  const char* what_for = "";
  int value = 0;  ///< What the host answered; 0: it lacks it.
};

/// Name of the one that the exact mechanism of x86-64 needs.
inline constexpr const char* kSetGuestDebug = "SET_GUEST_DEBUG";

/// All that matter on this architecture, as if the host had none.
[[nodiscard]] std::vector<Capability> known_capabilities();

/// Asks once for each of them.
[[nodiscard]] std::vector<Capability> probe(const System& system);

/// Fails, HostLacks, naming each needed one that is missing and what it is for.
[[nodiscard]] Status check_needed(const std::vector<Capability>& capabilities);

/// "API 12; has A, B; lacks C (what for)" for people.
[[nodiscard]] std::string describe(const std::vector<Capability>& capabilities);

}  // namespace sealvisor::engine::kvm
