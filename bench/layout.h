// Where a benchmark's processes lie, by a seed: the same for two kernels, and another for each
// seed.
//
// Left to itself a kernel draws the places of stack, mappings and vdso from what its boot brought
// together, so that two kernels, which boot in different numbers of instructions, have different
// ones; and with them another number of page tables (bench/paired.h). So the guest's init gives up
// that randomness (personality(2), ADDR_NO_RANDOMIZE) and takes this: the limit of the stack's size
// moves the place from which mappings are laid out downwards (arch/x86/mm/mmap.c and mm/util.c,
// mmap_base), and words in the environment move the stack's contents. Where the kernel itself lies
// (KASLR) is still drawn at boot.
#pragma once

#include <cstdint>

#include "vmm/base/mixed.h"

namespace sealvisor::bench {

struct Layout {
  std::uint64_t stack_limit = 0;  ///< Bytes, whole pages.
  std::uint32_t padding = 0;      ///< Bytes of environment.
};

/// What mmap_base leaves for the stack at least (MIN_GAP of both architectures, less its
/// randomness): a lower limit would move nothing.
inline constexpr std::uint64_t kLeastStackLimit = std::uint64_t{256} << 20;

/// Most of Layout::padding: less than what execve(2) allows one string (MAX_ARG_STRLEN).
inline constexpr std::uint32_t kMostPadding = 32'768;

[[nodiscard]] constexpr Layout layout_of(std::uint64_t seed) {
  const std::uint64_t bits = mixed(seed);
  // Up to 1 GiB of places, and up to kMostPadding by the alignment that the ABIs give a stack.
  return {kLeastStackLimit + (bits % 262'144) * 4096,
          static_cast<std::uint32_t>(bits >> 32) % (kMostPadding / 16) * 16};
}

}  // namespace sealvisor::bench
