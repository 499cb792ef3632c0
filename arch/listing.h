// The code around an instruction.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.h"

namespace sealvisor::arch {

struct ListedInstruction {
  std::uint64_t address = 0;
  std::vector<std::uint8_t> bytes;
  std::string text;
};

/// What to show of it.
struct ListingExtent {
  std::size_t before = 8;  ///< Instructions.
  std::size_t after = 6;
};

/// The instruction at `pc` with those around it. `bytes` are code from `address` on, which is where
/// an instruction begins, as the start of a function is: on x86-64 nothing else tells where the
/// ones before `pc` begin. If reading on from there does not come by `pc`, nothing is shown before
/// it. Empty if `pc` is not in `bytes`.
[[nodiscard]] std::vector<ListedInstruction> list_around(Arch arch,
                                                         std::span<const std::uint8_t> bytes,
                                                         std::uint64_t address, std::uint64_t pc,
                                                         ListingExtent extent = {});

}  // namespace sealvisor::arch
