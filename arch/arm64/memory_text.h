// Loads, stores and atomics that Capstone 4 does not decode (Capstone 5 does).
#pragma once

#include <cstdint>
#include <string>

namespace sealvisor::arch::arm64 {

/// Assembly of one instruction in the manual's spelling, "casal x0, x1, [x2]"; empty if `word` is
/// none of these. Encodings: Arm ARM, "A64 instruction set encoding", group "Loads and stores":
/// "Compare and swap", "Compare and swap pair", "Atomic memory operations" (with LDAPR) and
/// "Load/store register (unprivileged)".
[[nodiscard]] std::string describe_memory_access(std::uint32_t word);

}  // namespace sealvisor::arch::arm64
