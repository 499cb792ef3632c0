// What this program has instead of a C library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealvisor::compat {

void move_bytes(void* to, const void* from, std::size_t size);
void fill_bytes(void* to, int value, std::size_t size);

/// AT_SYSINFO_EHDR of this process, 0 if there is none.
[[nodiscard]] std::uint64_t auxiliary_vdso();

}  // namespace sealvisor::compat
