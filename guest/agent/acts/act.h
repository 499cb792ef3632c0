// One small function for each way in which an operation asks the kernel (scenario::Call). They run
// in a victim, of either word size, which may lose its vdso by it: what they do goes through
// raw_call alone. What needs more is done before, by a function that prepares.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>

#include "guest/protocol/doorbell.h"
#include "guest/scenario/operation.h"

namespace sealvisor::agent {

inline constexpr std::uintptr_t kPage = 4096;

/// Another process that acts on the victim once it is told to (acts/helper.h).
struct Helper {
  int go = -1;    ///< A byte written here starts it.
  int done = -1;  ///< It writes its result, a long, here.
  pid_t pid = -1;
};

/// What an operation is aimed at, and what its preparation made.
struct Target {
  std::uintptr_t start = 0;  ///< Range of the form, page-aligned.
  std::uintptr_t end = 0;
  std::uintptr_t mapping_start = 0;  ///< The whole mapping.
  std::uintptr_t mapping_end = 0;
  int protection = 0;        ///< PROT_* that the mapping has.
  std::uintptr_t place = 0;  ///< Memory, or reserved address space, as large as the range.
  int fd = -1;               ///< Whatever file, ring or segment is needed.
  int other = -1;            ///< A second one.
  Helper helper{};
  bool own_key = false;          ///< It took a protection key, the number of which is `fd`.
  std::uintptr_t bystander = 0;  ///< Pages of the victim's own that must be hit too.
  std::uint32_t bystanders = 0;
  std::uintptr_t new_start = 0;  ///< Set by mremap that succeeded: where the range is now.
  std::uintptr_t new_size = 0;

  [[nodiscard]] std::uintptr_t size() const { return end - start; }
  [[nodiscard]] std::uintptr_t pages() const { return size() / kPage; }
};

/// Makes what the act needs. Skip::No, or why there is no such thing here.
using Prepare = protocol::Skip (*)(Target&, std::uint32_t argument);
/// Asks. The result as the kernel returned it: -errno on failure.
using Act = long (*)(Target&, std::uint32_t argument);
/// Puts back what other processes would notice.
using Finish = void (*)(Target&, std::uint32_t argument);

/// One way of asking. What is not needed is nullptr.
struct Way {
  Act act = nullptr;
  Prepare prepare = nullptr;
  Finish finish = nullptr;
};

using Ways = std::array<Way, scenario::kCallCount>;

// Each of these files fills in its ways.
void add_map_ways(Ways& ways);
void add_advise_ways(Ways& ways);
void add_fault_ways(Ways& ways);
void add_force_ways(Ways& ways);
void add_process_ways(Ways& ways);
void add_pressure_ways(Ways& ways);
void add_race_ways(Ways& ways);
void add_uring_ways(Ways& ways);

[[nodiscard]] inline Way& way_of(Ways& ways, scenario::Call call) {
  return ways[static_cast<std::size_t>(call)];
}

/// Lets this thread access memory with any protection key, if `target` took one: the handler of a
/// touch that faulted ran with those that a signal gets (6.12: arch/x86/kernel/fpu/xstate.c,
/// init_pkru_value), and what follows it keeps them.
void allow_keys(const Target& target);

/// New memory of `size` bytes, zeroes, that the kernel placed; 0: none.
[[nodiscard]] std::uintptr_t new_memory(std::uintptr_t size, int protection);

}  // namespace sealvisor::agent
