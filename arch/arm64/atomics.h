// FEAT_LSE atomics, which Capstone 4 does not decode (version 5 does).
#pragma once

#include <cstdint>
#include <string>

namespace sealvisor::arch::arm64 {

/// "cas x0, x1, [x2]", "swpal x0, x1, [x2]", "ldadd ..."; empty if `word` is none of them.
/// Encodings: Arm ARM C4.1.94, "Atomic memory operations" and "Compare and swap".
[[nodiscard]] std::string describe_atomic(std::uint32_t word);

}  // namespace sealvisor::arch::arm64
