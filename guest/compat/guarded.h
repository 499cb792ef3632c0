// Loads and stores that may fault, without a C library, a vdso or a stack but our own.
#pragma once

#include <cstdint>

namespace sealvisor::compat {

/// Takes SIGSEGV and SIGBUS over. Call once. The way back from the handler is our own, so that it
/// works without a vdso (arm64: arch/arm64/kernel/signal.c, setup_return, SA_RESTORER).
[[nodiscard]] bool install_guard();

/// Loads the byte at `address`; -1 if that faults.
[[nodiscard]] int guarded_load(std::uintptr_t address);

/// Stores `value` there. False if that faults.
[[nodiscard]] bool guarded_store(std::uintptr_t address, std::uint8_t value);

}  // namespace sealvisor::compat
