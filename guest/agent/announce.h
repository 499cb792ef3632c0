// Telling the VMM where this process's system mappings are.
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// Reads the system mappings of this process from /proc/self/smaps. False: the reason is on the
/// console.
[[nodiscard]] bool read_mappings(MappingTable& table);

/// Touches every page of every mapping (at most kMaxPages of each), so that it is populated.
void touch_mappings(const MappingTable& table);

/// Touches and announces what `table` says, true or not.
void announce_table(Doorbell& doorbell, std::uint64_t token, const MappingTable& table);

/// Reads, touches, then announces: when MappingsEnd rings, the tables hold what there is to see.
/// `token`: the cell or fork pair that this process belongs to, 0 for init.
[[nodiscard]] bool announce_mappings(Doorbell& doorbell, std::uint64_t token, MappingTable& table);

}  // namespace sealvisor::agent
