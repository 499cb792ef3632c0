// Memory that this process holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sealvisor {

/// Sum of the `Rss` lines of `smaps` (proc_pid_smaps(5)), in bytes, over all mappings but those
/// whose path contains `without`. nullopt: there is no such line, or one that is no number of kB.
[[nodiscard]] std::optional<std::uint64_t> resident_in(std::string_view smaps,
                                                       std::string_view without);

/// The same for this process as it is now. What the kernel holds for it (page tables, KVM's own
/// structures) and memory files that are not mapped are not in it. nullopt: can't be read.
[[nodiscard]] std::optional<std::uint64_t> resident_bytes(std::string_view without);

}  // namespace sealvisor
