// Entries and permissions as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "arch/any_format.h"

namespace sealvisor::arch {

/// Bit by bit: "P R US A NX key 0 gpa 0x1c3a000" for a leaf, "table 0x.." for a table, "absent",
/// "non-present (PROT_NONE) 0x..", "malformed 0x..".
[[nodiscard]] std::string describe_entry(const AnyFormat& format, std::uint64_t entry,
                                         unsigned level);

/// "r-x", with " key 3" behind it for a protection key other than 0.
[[nodiscard]] std::string describe_permissions(const Permissions& permissions);

}  // namespace sealvisor::arch
