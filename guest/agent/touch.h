// Touching a page from user mode and living through what may happen.
#pragma once

#include <cstdint>
#include <span>

#include "guest/protocol/doorbell.h"

namespace sealvisor::agent {

/// Takes over SIGSEGV and SIGBUS of this process. Call once in a program image, before touch_page.
/// False: the reason is on the console.
[[nodiscard]] bool install_guard();

/// Loads one byte at `address`; the outcome is Read, Segv or Bus. Works with no vdso: the handler
/// never returns (on arm64 the way back lies in the vdso) but jumps. Any thread may call it.
[[nodiscard]] protocol::Touch touch_page(std::uintptr_t address);

/// Touches pages of 4096 bytes from `start` on, one for each place in `outcomes`.
void touch_pages(std::uintptr_t start, std::span<protocol::Touch> outcomes);

/// Loads the first byte of each page and stores it again; the outcomes are Written, Segv or Bus.
void store_pages(std::uintptr_t start, std::span<protocol::Touch> outcomes);

/// Calls `function(argument)`; 0, or the signal (SIGSEGV, SIGBUS) that stopped it.
[[nodiscard]] int call_guarded(void (*function)(void*), void* argument);

}  // namespace sealvisor::agent
