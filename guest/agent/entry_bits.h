// Page-table entries of this architecture, as much of them as tampering needs. Levels are counted
// from the leaves: 1 maps a page, 4 is the root (48-bit addresses, which the guests have).
#pragma once

#include <cstdint>

#include "guest/agent/physical.h"

namespace sealvisor::agent::entry {

inline constexpr unsigned kRootLevel = 4;
inline constexpr std::uint64_t kValid = 1;

/// Bytes that an entry of `level` maps.
[[nodiscard]] constexpr std::uint64_t reach_of(unsigned level) { return kPage << 9 * (level - 1); }
/// Of the entry of `level` that translates `gva`, in its table.
[[nodiscard]] constexpr std::size_t index_of(std::uint64_t gva, unsigned level) {
  return static_cast<std::size_t>(gva / reach_of(level) % Words::extent);
}
[[nodiscard]] constexpr std::uint64_t address_of(std::uint64_t entry) {
  return entry & kAddressBits;
}
/// The entry with another address.
[[nodiscard]] constexpr std::uint64_t showing(std::uint64_t entry, std::uint64_t gpa) {
  return (entry & ~kAddressBits) | gpa;
}

#if defined(__aarch64__)

// Arm ARM D8.3 and D8.4: valid, table or page, AP[1] (EL0), AP[2] (read-only), AF, UXN, and of
// tables APTable[0] (no EL0) and UXNTable. Bits 55 to 58 are software's.
inline constexpr std::uint64_t kTableOrPage = 2;
inline constexpr std::uint64_t kUser = std::uint64_t{1} << 6;
inline constexpr std::uint64_t kReadOnly = std::uint64_t{1} << 7;
inline constexpr std::uint64_t kUserNever = std::uint64_t{1} << 54;
inline constexpr std::uint64_t kTableNoUser = std::uint64_t{1} << 61;
inline constexpr std::uint64_t kTableUserNever = std::uint64_t{1} << 60;
inline constexpr std::uint64_t kSoftware = std::uint64_t{1} << 57;

[[nodiscard]] constexpr bool is_table(std::uint64_t value, unsigned level) {
  return level > 1 && (value & (kValid | kTableOrPage)) == (kValid | kTableOrPage);
}
[[nodiscard]] constexpr std::uint64_t with_write(std::uint64_t leaf) { return leaf & ~kReadOnly; }
[[nodiscard]] constexpr bool is_writable(std::uint64_t leaf) { return (leaf & kReadOnly) == 0; }
[[nodiscard]] constexpr std::uint64_t with_execute(std::uint64_t leaf) {
  return leaf & ~kUserNever;
}
[[nodiscard]] constexpr std::uint64_t without_execute(std::uint64_t leaf) {
  return leaf | kUserNever;
}
[[nodiscard]] constexpr std::uint64_t execute_turned(std::uint64_t leaf) {
  return leaf ^ kUserNever;
}
[[nodiscard]] constexpr std::uint64_t without_user(std::uint64_t leaf) { return leaf & ~kUser; }
[[nodiscard]] constexpr std::uint64_t table_without_user(std::uint64_t table) {
  return table | kTableNoUser;
}
[[nodiscard]] constexpr std::uint64_t table_without_execute(std::uint64_t table) {
  return table | kTableUserNever;
}
/// A block where there is none (D8.3: level 0 of the manual's numbers).
[[nodiscard]] constexpr std::uint64_t reserved(std::uint64_t root_entry) {
  return root_entry & ~kTableOrPage;
}
/// A leaf of `level` with the permissions of a page's entry.
[[nodiscard]] constexpr std::uint64_t large_leaf(std::uint64_t page_entry, std::uint64_t gpa) {
  return showing(page_entry, gpa) & ~kTableOrPage;
}
[[nodiscard]] constexpr std::uint64_t table_at(std::uint64_t gpa) {
  return gpa | kTableOrPage | kValid;
}

#else

// Intel SDM vol. 3A, 4.5.4: present, R/W, U/S, PS, XD, protection key (62:59). Bits 9 to 11 and 52
// to 58 are software's.
inline constexpr std::uint64_t kWritable = std::uint64_t{1} << 1;
inline constexpr std::uint64_t kUser = std::uint64_t{1} << 2;
inline constexpr std::uint64_t kLarge = std::uint64_t{1} << 7;
inline constexpr std::uint64_t kExecuteDisable = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kSoftware = std::uint64_t{1} << 57;

[[nodiscard]] constexpr bool is_table(std::uint64_t value, unsigned level) {
  return level > 1 && (value & kValid) != 0 && (value & kLarge) == 0;
}
[[nodiscard]] constexpr std::uint64_t with_write(std::uint64_t leaf) { return leaf | kWritable; }
[[nodiscard]] constexpr bool is_writable(std::uint64_t leaf) { return (leaf & kWritable) != 0; }
[[nodiscard]] constexpr std::uint64_t with_execute(std::uint64_t leaf) {
  return leaf & ~kExecuteDisable;
}
[[nodiscard]] constexpr std::uint64_t without_execute(std::uint64_t leaf) {
  return leaf | kExecuteDisable;
}
[[nodiscard]] constexpr std::uint64_t execute_turned(std::uint64_t leaf) {
  return leaf ^ kExecuteDisable;
}
[[nodiscard]] constexpr std::uint64_t without_user(std::uint64_t leaf) { return leaf & ~kUser; }
[[nodiscard]] constexpr std::uint64_t table_without_user(std::uint64_t table) {
  return table & ~kUser;
}
[[nodiscard]] constexpr std::uint64_t table_without_execute(std::uint64_t table) {
  return table | kExecuteDisable;
}
/// A large page where there is none (table 4-15: reserved, must be 0).
[[nodiscard]] constexpr std::uint64_t reserved(std::uint64_t root_entry) {
  return root_entry | kLarge;
}
/// A leaf of an upper level with the permissions of a page's entry.
[[nodiscard]] constexpr std::uint64_t large_leaf(std::uint64_t page_entry, std::uint64_t gpa) {
  return showing(page_entry, gpa) | kLarge;
}
[[nodiscard]] constexpr std::uint64_t table_at(std::uint64_t gpa) {
  return gpa | kUser | kWritable | kValid;
}
[[nodiscard]] constexpr std::uint64_t with_key(std::uint64_t leaf, std::uint64_t key) {
  return (leaf & ~(std::uint64_t{15} << 59)) | key << 59;
}

#endif

[[nodiscard]] constexpr std::uint64_t not_present(std::uint64_t value) { return value & ~kValid; }

}  // namespace sealvisor::agent::entry
