// The controls of completeness: [vdso] is changed a known number of times, past every check of the
// kernel, and the monitor must see exactly these changes. Its code is as it was when a control
// ends; until then the process, which is the only one that runs, uses nothing of it.
//
// A write() to /dev/mem has the kernel store through its own mapping of memory (drivers/char/mem.c,
// write_mem). That mapping is read-only where the code of [vdso] is: code is stored to through a
// second mapping, which is a violation of its own (S4).
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// Changes the last 8 bytes of [vdso], which no function of it uses, and puts them back, `pairs`
/// times. x86-64 guests need nopat: see stores.h.
[[nodiscard]] int tamper_with_code(Doorbell& doorbell, const MappingTable& table,
                                   std::uint32_t pairs);

/// Stores to the last 512 bytes of [vdso] with each class that does not straddle and that the kvm
/// lanes can do there, `count` stores each or as many as fit, and puts them back. `stores`: how
/// many were made in all. The same holds of x86-64 guests.
[[nodiscard]] int store_to_code(Doorbell& doorbell, const MappingTable& table, std::uint32_t count,
                                std::uint32_t& stores);

}  // namespace sealvisor::agent
