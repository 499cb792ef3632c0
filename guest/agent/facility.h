// The facility of the recipe `tampering` (guest/kernel/patches/tampering): the kernel stores where
// it is told to, by the instruction that it is told to use, and loads another root. Past every
// check, with nothing in between: interrupts are off while it works.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guest/agent/physical.h"
#include "guest/agent/store_way.h"

namespace sealvisor::agent {

/// What the kernel is to do: as struct tamper_step of the patch has it.
struct FacilityStep {
  static constexpr std::uint32_t kStore = 0;
  static constexpr std::uint32_t kFlush = 1;  ///< The whole TLB, global entries too.
  static constexpr std::uint32_t kRoot = 2;   ///< Of the process that asks, from now on.
  std::uint32_t what = kFlush;
  std::uint32_t way = 0;      ///< kStore: offset of the function behind store_ways_begin.
  std::uint64_t address = 0;  ///< kStore, kRoot: gpa.
  std::array<std::uint8_t, 64> bytes{};
};
static_assert(sizeof(FacilityStep) == 80);

class Facility {
 public:
  /// Most steps of one system call.
  static constexpr std::size_t kMostSteps = 16;

  /// Where the kernel has things, and this process: gpas of tables, and what is added to a gpa for
  /// the kernel's own mapping of memory.
  struct Places {
    std::uint64_t code = 0;  ///< Of the kernel's copy of the ways.
    std::uint64_t root = 0;
    std::uint64_t upper_root = 0;
    std::uint64_t linear = 0;
  };

  /// Gives the kernel the ways. Nothing: this kernel has no such facility, which is said on the
  /// console.
  [[nodiscard]] static std::optional<Places> set_up(const File& device);

  /// The steps, in one system call. False: said on the console.
  [[nodiscard]] static bool run(const File& device, std::span<const FacilityStep> steps);

  static constexpr const char* kDevice = "/dev/sealvisor-tamper";
};

/// The step that makes `way` store `bytes` (its width) at `gpa`.
[[nodiscard]] FacilityStep store_step(const StoreWay& way, std::uint64_t gpa, const void* bytes);

/// Runs `function(argument)` on the stack that ends at `top`, a multiple of 16.
extern "C" void call_on_stack(void (*function)(void*), void* argument, void* top);

}  // namespace sealvisor::agent
