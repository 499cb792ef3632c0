// The exact-count control: a known number of stores of every class that the CPU has, to page tables
// of the agent's own, through /dev/mem. The monitor must see exactly these.
//
// The tables are found by their content. A page is populated at an address whose 2 MiB neighbours
// are unmapped, so its last-level table has one entry, at an index that is known, with a frame that
// /proc/self/pagemap tells. RAM is searched for that. The other 511 slots are never translated
// through: no address of the process leads there, and no value that is stored there is valid (bit 0
// is clear in all of them: Intel SDM vol. 3A table 4-20, P; Arm ARM D8.3, descriptor bit 0).
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"

namespace sealvisor::agent {

/// Runs every class, `count` stores each (fewer where they would not fit in a table). Call in a
/// process that is thrown away. `stores`: how many were made in all. 0, or an errno; said on the
/// console.
[[nodiscard]] int store_to_tables(Doorbell& doorbell, std::uint32_t count, std::uint32_t& stores);

}  // namespace sealvisor::agent
