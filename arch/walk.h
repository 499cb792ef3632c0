// The one page-table walker: single addresses and whole roots, over any paging format.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/address.h"
#include "arch/format.h"

namespace sealvisor::arch {

/// A copy of one table, entry 0 first, in host byte order.
using Table = std::array<std::uint64_t, kTableEntries>;

/// The walker's only way to guest memory. Every entry is read once; decisions are made on the copy.
class TableReader {
 public:
  virtual ~TableReader() = default;
  /// Reads the 8-byte entry at `slot` (a multiple of 8) with one access. False: no readable memory
  /// there; `value` is then left alone.
  [[nodiscard]] virtual bool read_entry(Gpa slot, std::uint64_t& value) const = 0;
  /// Copies the table in `frame`, each entry with one access. False: no readable memory there;
  /// `copy` is then unspecified.
  [[nodiscard]] virtual bool read_table(Frame frame, Table& copy) const = 0;
  /// Whether the table in `frame` is readable and each of its entries is as in `known`, in those
  /// `bits`. For a caller that knows that nobody writes there now: nothing is decided on what was
  /// read.
  [[nodiscard]] virtual bool holds(Frame frame, const Table& known, std::uint64_t bits) const {
    Table copy;
    if (!read_table(frame, copy)) return false;
    std::uint64_t differs = 0;
    for (std::size_t i = 0; i < kTableEntries; ++i) differs |= copy[i] ^ known[i];
    return (differs & bits) == 0;
  }

 protected:
  TableReader() = default;
  TableReader(const TableReader&) = default;
  TableReader& operator=(const TableReader&) = default;
};

/// How the walk of one address ended.
enum class WalkEnd : std::uint8_t {
  Leaf,          ///< Mapped: output, size and permissions say how.
  Absent,        ///< An all-zero entry.
  NonPresent,    ///< A non-zero entry that hardware does not translate through.
  Malformed,     ///< A reserved bit or an undefined encoding.
  Unreadable,    ///< A table lies outside readable memory.
  NonCanonical,  ///< The format translates no such address. Nothing was read.
};

/// One entry that a walk read.
struct WalkStep {
  Gpa slot{};
  std::uint64_t value = 0;
  unsigned level = 0;
  friend constexpr bool operator==(const WalkStep&, const WalkStep&) = default;
};

/// The walk of one address, root first.
struct Walk {
  WalkEnd end = WalkEnd::NonCanonical;
  /// The entries read; the first `count` are valid and the last of them is where the walk ended.
  /// With Unreadable the last one is the slot that could not be read, and its value is 0.
  std::array<WalkStep, kMaxLevels> steps{};
  unsigned count = 0;
  /// Leaf: what user mode may do, combined over all levels. Else nothing.
  Permissions permissions{};
  /// Leaf: the gpa of the walked gva itself (not of the start of its page). Else 0.
  Gpa output{};
  /// Leaf: bytes that the leaf maps. Else 0.
  std::uint64_t size = 0;
  /// Level of the last step; 0 if there is none.
  unsigned level = 0;

  /// The last step. Precondition: count > 0.
  [[nodiscard]] constexpr const WalkStep& last() const { return steps[count - 1]; }
  friend constexpr bool operator==(const Walk&, const Walk&) = default;
};

/// One translation of a root.
struct LeafMapping {
  Gva gva{};                  ///< First byte.
  Gpa gpa{};                  ///< Its guest-physical address.
  std::uint64_t size = 0;     ///< Bytes mapped: 4 KiB, 2 MiB, 1 GiB.
  Permissions permissions{};  ///< For user mode, combined over all levels.
  Gpa slot{};                 ///< Where the leaf entry lies.
  std::uint64_t value = 0;    ///< The leaf entry.
  unsigned level = 0;         ///< Its level: 1 for 4 KiB.
  friend constexpr bool operator==(const LeafMapping&, const LeafMapping&) = default;
};

/// Told what visit() finds, in address order; a table before what it holds. Absent entries are not
/// told: table() gives all 512. Each default does nothing.
class Visitor {
 public:
  virtual ~Visitor() = default;
  /// A table was read. `first` is the first gva that its entry 0 translates. `table` lives until
  /// the call returns.
  virtual void table(Frame /*frame*/, unsigned /*level*/, Gva /*first*/, const Table& /*table*/) {}
  virtual void leaf(const LeafMapping& /*mapping*/) {}
  /// A non-zero entry that hardware does not translate through. `gva` is the first one it covers.
  virtual void non_present(Gva /*gva*/, Gpa /*slot*/, std::uint64_t /*value*/, unsigned /*level*/) {
  }
  /// A reserved bit or an undefined encoding.
  virtual void malformed(Gva /*gva*/, Gpa /*slot*/, std::uint64_t /*value*/, unsigned /*level*/) {}
  /// The table of `level` in `frame` is not readable memory. `first` as for table().
  virtual void unreadable(Frame /*frame*/, unsigned /*level*/, Gva /*first*/) {}

 protected:
  Visitor() = default;
  Visitor(const Visitor&) = default;
  Visitor& operator=(const Visitor&) = default;
};

/// What to visit and how much work to spend on it.
struct VisitLimits {
  Scope scope = Scope::All;
  /// Tables to read, the root included. Tables that point at each other make a walk of up to
  /// 512^4 tables out of one frame, so hostile input is bounded here and not by depth alone.
  std::uint64_t table_budget = std::uint64_t{1} << 16;
  /// Entries of level 1 are not looked at: for a visitor that only cares for tables.
  bool tables_only = false;
};

/// What a visit did.
struct VisitSummary {
  /// Tables read or found unreadable; one that is linked n times counts n times.
  std::uint64_t tables = 0;
  /// True if the budget ran out: the visitor was told everything up to the table that was one too
  /// many, and nothing after it.
  bool budget_exceeded = false;
  friend constexpr bool operator==(const VisitSummary&, const VisitSummary&) = default;
};

/// Walks `gva` from the root table in `root`. Reads at most top_level entries, each once.
template <PagingFormat Format>
[[nodiscard]] Walk walk(const Format& format, const TableReader& reader, Frame root, Gva gva) {
  Walk result;
  if (!format.is_canonical(gva)) return result;
  const Half half = format.half_of(gva);
  Permissions above{true, true, true, 0};
  Frame table = root;
  for (unsigned level = format.top_level(half); level >= 1; --level) {
    WalkStep& step = result.steps[result.count++];
    step = {table.slot(format.index(gva, level)), 0, level};
    result.level = level;
    if (!reader.read_entry(step.slot, step.value)) {
      result.end = WalkEnd::Unreadable;
      return result;
    }
    const Entry entry = format.decode(step.value, level, half);
    switch (entry.kind) {
      case EntryKind::Absent:
        result.end = WalkEnd::Absent;
        return result;
      case EntryKind::NonPresent:
        result.end = WalkEnd::NonPresent;
        return result;
      case EntryKind::Malformed:
        result.end = WalkEnd::Malformed;
        return result;
      case EntryKind::Leaf:
        result.end = WalkEnd::Leaf;
        result.permissions = format.combine(above, entry.permissions);
        result.output = Gpa{entry.output.value + (gva.value & (entry.size - 1))};
        result.size = entry.size;
        return result;
      case EntryKind::Table:
        above = format.combine(above, entry.permissions);
        table = frame_of(entry.output);
        break;
    }
  }
  // A format never decodes a Table at level 1, so this is reached only by a broken format.
  result.end = WalkEnd::Malformed;
  return result;
}

namespace detail {

/// State of one visit. table() and entry() recurse into each other, at most kMaxLevels deep.
template <PagingFormat Format>
class Visit {
 public:
  Visit(const Format& format, const TableReader& reader, Half half, Visitor& visitor,
        const VisitLimits& limits)
      : format_(format), reader_(reader), half_(half), visitor_(visitor), limits_(limits) {}

  /// Visits the first `count` entries of the table. False once the budget is exceeded.
  bool table(Frame frame, unsigned level, Gva first, std::size_t count, const Permissions& above) {
    if (summary_.tables == limits_.table_budget) {
      summary_.budget_exceeded = true;
      return false;
    }
    ++summary_.tables;
    Table copy;
    if (!reader_.read_table(frame, copy)) {
      visitor_.unreadable(frame, level, first);
      return true;
    }
    visitor_.table(frame, level, first, copy);
    if (limits_.tables_only && level == 1) return true;
    const bool root = level == format_.top_level(half_);
    for (std::size_t index = 0; index < count; ++index) {
      if (copy[index] == 0) continue;
      // Only the root's entries need not follow each other: x86-64 sign-extends.
      const Gva gva =
          root ? format_.root_slot_gva(half_, index) : Gva{first.value + index * level_size(level)};
      if (!entry(frame.slot(index), copy[index], level, gva, above)) return false;
    }
    return true;
  }

  [[nodiscard]] const VisitSummary& summary() const { return summary_; }

 private:
  bool entry(Gpa slot, std::uint64_t value, unsigned level, Gva gva, const Permissions& above) {
    const Entry decoded = format_.decode(value, level, half_);
    switch (decoded.kind) {
      case EntryKind::Absent:
        break;
      case EntryKind::NonPresent:
        visitor_.non_present(gva, slot, value, level);
        break;
      case EntryKind::Malformed:
        visitor_.malformed(gva, slot, value, level);
        break;
      case EntryKind::Leaf:
        visitor_.leaf({gva, decoded.output, decoded.size,
                       format_.combine(above, decoded.permissions), slot, value, level});
        break;
      case EntryKind::Table:
        return table(frame_of(decoded.output), level - 1, gva, kTableEntries,
                     format_.combine(above, decoded.permissions));
    }
    return true;
  }

  const Format& format_;
  const TableReader& reader_;
  Half half_;
  Visitor& visitor_;
  VisitLimits limits_;
  VisitSummary summary_{};
};

}  // namespace detail

/// Walks everything under the root table in `root`, depth first, in address order, and tells
/// `visitor`. `half` says which root it is (arm64 TTBR0 or TTBR1; x86-64 ignores it). Ends on any
/// input: depth is bounded by the format's levels and work by limits.table_budget.
template <PagingFormat Format>
VisitSummary visit(const Format& format, const TableReader& reader, Frame root, Half half,
                   Visitor& visitor, const VisitLimits& limits = {}) {
  const std::size_t count = format.root_slots(half, limits.scope);
  if (count == 0) return {};
  detail::Visit<Format> state(format, reader, half, visitor, limits);
  state.table(root, format.top_level(half), format.root_slot_gva(half, 0), count,
              Permissions{true, true, true, 0});
  return state.summary();
}

}  // namespace sealvisor::arch
