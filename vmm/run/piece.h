// Reading what the guest points at, when it is longer than a message.
#pragma once

#include <cstdint>
#include <string>

#include "arch/any_format.h"
#include "guest/protocol/doorbell.h"
#include "vmm/base/result.h"
#include "vmm/memory/memory.h"

namespace sealvisor::run {

/// The bytes of `piece` (checked) in the address space of `root`, whose vCPU stands still. Error
/// (GuestFailed): they are not all there for user mode to read.
[[nodiscard]] Result<std::string> read_piece(const arch::AnyFormat& format,
                                             const memory::Memory& memory, arch::Frame root,
                                             const protocol::Piece& piece);

}  // namespace sealvisor::run
