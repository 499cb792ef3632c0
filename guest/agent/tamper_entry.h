// The control of completeness that needs page tables alone: in processes of either word size.
#pragma once

#include <cstdint>

#include "guest/agent/doorbell.h"
#include "guest/agent/physical.h"
#include "guest/agent/smaps.h"

namespace sealvisor::agent {

/// The process's [vdso], 64-bit or 32-bit; nullptr: said on the console.
[[nodiscard]] const SystemMapping* vdso_of(const MappingTable& table);

/// 0 if `memory` (/dev/mem) holds what it held before `message`, else EIO, said on the console.
[[nodiscard]] int check_tampered(const File& memory, const protocol::Tamper& message);

/// Has the kernel make the first page of [vdso] writable and read-only again, `pairs` times, in its
/// page table. `table`: the announced mappings of this process, which is thrown away afterwards. 0,
/// or an errno; said on the console.
[[nodiscard]] int tamper_with_entry(Doorbell& doorbell, const MappingTable& table,
                                    std::uint32_t pairs);

}  // namespace sealvisor::agent
