// Exits by kind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sealvisor::engine::kvm {

enum class Counted : std::uint8_t {
  UserReturn,
  KernelReturn,  ///< A planted return that stayed in the kernel.
  Doorbell,
  Serial,
  OtherDevice,
  ReadOnly,
  GuardedStore,  ///< To a guarded frame.
  Step,          ///< A single step over a store that is not done otherwise.
  GuestDebug,    ///< A debug exception of the guest's own, handed back.
  Kick,
  Other,
};
inline constexpr std::array<const char*, 11> kCountedNames = {"returns to user mode",
                                                              "returns to the kernel",
                                                              "doorbells",
                                                              "serial line",
                                                              "other devices",
                                                              "read-only stores",
                                                              "stores to guarded frames",
                                                              "single steps",
                                                              "debug exceptions handed back",
                                                              "kicks",
                                                              "other exits"};

using Counters = std::array<std::uint64_t, kCountedNames.size()>;

struct ExitCount {
  const char* name = "";
  std::uint64_t count = 0;
};

/// Those that are not 0.
[[nodiscard]] inline std::vector<ExitCount> list(const Counters& counters) {
  std::vector<ExitCount> exits;
  for (std::size_t i = 0; i < counters.size(); ++i) {
    if (counters[i] != 0) exits.push_back({kCountedNames[i], counters[i]});
  }
  return exits;
}

inline std::uint64_t& counter(Counters& counters, Counted which) {
  return counters[static_cast<std::size_t>(which)];
}

}  // namespace sealvisor::engine::kvm
