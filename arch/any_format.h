// Either format as one value: dispatched once per walk or visit, not once per entry.
#pragma once

#include <variant>

#include "arch/arch.h"
#include "arch/arm64/format.h"
#include "arch/walk.h"
#include "arch/x86_64/format.h"

namespace sealvisor::arch {

using AnyFormat = std::variant<x86_64::Format, arm64::Format>;

[[nodiscard]] Arch arch_of(const AnyFormat& format);
[[nodiscard]] Walk walk(const AnyFormat& format, const TableReader& reader, Frame root, Gva gva);
VisitSummary visit(const AnyFormat& format, const TableReader& reader, Frame root, Half half,
                   Visitor& visitor, const VisitLimits& limits = {});
[[nodiscard]] Entry decode(const AnyFormat& format, std::uint64_t entry, unsigned level, Half half);
[[nodiscard]] std::uint64_t hardware_bits(const AnyFormat& format, unsigned level);
/// Whether entries of user pages hold a protection key that counts (x86-64, CR4.PKE).
[[nodiscard]] bool has_protection_keys(const AnyFormat& format);
[[nodiscard]] unsigned top_level(const AnyFormat& format, Half half);
/// Entries of a root of `half` that belong to user mode: see PagingFormat::root_slots.
[[nodiscard]] std::size_t user_slots(const AnyFormat& format, Half half);
/// Whether `gva` belongs to the upper half.
[[nodiscard]] bool is_upper(const AnyFormat& format, Gva gva);

}  // namespace sealvisor::arch
