#include "arch/any_format.h"

namespace sealvisor::arch {

Arch arch_of(const AnyFormat& format) {
  return std::holds_alternative<x86_64::Format>(format) ? Arch::X86_64 : Arch::Arm64;
}

Walk walk(const AnyFormat& format, const TableReader& reader, Frame root, Gva gva) {
  return std::visit([&](const auto& one) { return walk(one, reader, root, gva); }, format);
}

VisitSummary visit(const AnyFormat& format, const TableReader& reader, Frame root, Half half,
                   Visitor& visitor, const VisitLimits& limits) {
  return std::visit(
      [&](const auto& one) { return visit(one, reader, root, half, visitor, limits); }, format);
}

Entry decode(const AnyFormat& format, std::uint64_t entry, unsigned level, Half half) {
  return std::visit([&](const auto& one) { return one.decode(entry, level, half); }, format);
}

std::uint64_t hardware_bits(const AnyFormat& format, unsigned level) {
  return std::visit([&](const auto& one) { return one.hardware_bits(level); }, format);
}

bool has_protection_keys(const AnyFormat& format) {
  return std::visit([](const auto& one) { return one.has_protection_keys(); }, format);
}

unsigned top_level(const AnyFormat& format, Half half) {
  return std::visit([&](const auto& one) { return one.top_level(half); }, format);
}

std::size_t user_slots(const AnyFormat& format, Half half) {
  return std::visit([&](const auto& one) { return one.root_slots(half, Scope::UserHalf); }, format);
}

bool is_upper(const AnyFormat& format, Gva gva) {
  return std::visit([&](const auto& one) { return one.half_of(gva) == Half::Upper; }, format);
}

}  // namespace sealvisor::arch
