// Page tables as they are when user mode is about to run: what changed since the last look, told as
// the same events that an engine emits which sees every store.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "arch/any_format.h"
#include "arch/walk.h"
#include "vmm/event/event.h"
#include "vmm/model/table_tracker.h"

namespace sealvisor::model {

/// Compares the tables of a root with what they held at the last scan, and emits RootLoad,
/// TableAdded, EntryFound, SlotWrite and TableRemoved for what differs. Who wrote, and what was
/// written in between, it can't tell: `pc` of the source is passed on as it is (0).
///
/// The tables of a root that is not scanned may be freed and used for anything; nothing is read
/// there. A table that turns up under another root is taken away from the one that had it, which
/// gets it back, or not, at its own next scan.
///
/// A generation ends when, at the scan of another root or when it is scanned after another one, no
/// user-half entry of its root links the table that it linked before. So a root whose user half was
/// exchanged as a whole while another one ran counts as a new address space.
///
/// Bits that the hardware sets by itself (accessed, dirty) are no change.
class TableScanner {
 public:
  /// Tables known at once; past that a Limit event is emitted once and further ones are not
  /// followed.
  static constexpr std::size_t kMaxTables = TableTracker::kMaxTables;

  /// `memory` and `sink` must outlive the scanner.
  TableScanner(const arch::TableReader& memory, RamRange ram, EventSink& sink);

  /// The format that entries are decoded with from now on. If it differs from the one before,
  /// everything is forgotten.
  void set_format(const arch::AnyFormat& format);
  [[nodiscard]] const std::optional<arch::AnyFormat>& format() const { return format_; }

  /// User mode is about to run on the root register value `raw`, or does: looks at the user half.
  /// Preconditions: a format is set; the vCPU does not run.
  void scan_user(std::uint64_t raw, const StoreSource& source);
  /// Looks at the upper half: of the last scanned root (x86-64), or of `raw_upper` (arm64,
  /// TTBR1_EL1). Precondition: as scan_user, which was called before.
  void scan_upper(std::uint64_t raw_upper, const StoreSource& source);

  [[nodiscard]] std::size_t tables() const { return links_; }
  [[nodiscard]] std::size_t most_tables() const { return most_links_; }
  /// Tables read so far, for the cost that is reported.
  [[nodiscard]] std::uint64_t tables_read() const { return tables_read_; }

 private:
  struct Held {
    arch::Table shadow{};        ///< As it was told.
    std::uint32_t uses = 0;      ///< Links to it.
    std::uint64_t compared = 0;  ///< Scan in which all of it was compared last.
    std::uint64_t changes = 0;   ///< Of the shadow, so far.
    /// Slots of the shadow that are not 0, in order: few are in most tables. nullopt: not known.
    std::optional<std::vector<std::uint16_t>> filled;
  };
  /// A table at one level.
  struct Link {
    arch::Frame frame{};
    unsigned level = 0;
    // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that it means is the compiler's own
    friend auto operator<=>(const Link&, const Link&) = default;
  };
  /// Who links tables: a root for its user half, or the upper half, which all roots share.
  struct Owner {
    arch::Half half{};
    arch::Frame root{};
    std::map<Link, std::uint64_t> links{};  ///< The scan that came by last.
    /// An entry of the root that linked a table when it was looked for last.
    mutable std::size_t linked_slot = 0;
  };
  struct Range {
    std::size_t first = 0;
    std::size_t last = arch::kTableEntries;
  };

  void begin(const StoreSource& source);
  /// Visits the tables from `frame` down; entries of it outside `range` are not looked at.
  void visit(Owner& owner, arch::Frame frame, unsigned level, Range range);
  /// Visits the tables that `held` links in `range`.
  void visit_below(Owner& owner, Held& held, unsigned level, Range range);
  void compare(Held& held, arch::Frame frame, unsigned level, Range range);
  /// The table, linked by `owner` at `level`. nullptr: outside RAM, unreadable, or past the bound.
  Held* link(Owner& owner, arch::Frame frame, unsigned level);
  /// Forgets what the last scan of `owner` did not come by.
  void sweep(Owner& owner);
  void unlink(const Owner& owner, const Link& link);
  /// Forgets all tables of `owner`, its root only `with_root`.
  void release(Owner& owner, bool with_root);
  /// Whether `owner` links `frame`, at any level.
  [[nodiscard]] static bool links(const Owner& owner, arch::Frame frame);
  /// Takes `frame` away from roots that were not scanned last.
  void take_from_stale(arch::Frame frame);
  /// Whether no entry of the user half links the table that it linked at the last scan.
  [[nodiscard]] bool is_exchanged(const Owner& owner) const;
  void end_exchanged(std::optional<arch::Frame> but);
  [[nodiscard]] std::optional<arch::Frame> child(std::uint64_t entry, unsigned level,
                                                 arch::Half half) const;
  [[nodiscard]] unsigned top(const Owner& owner) const;
  event::Event stamp(event::Kind kind, arch::Gpa gpa, unsigned level) const;
  void emit_link(event::Kind kind, const Owner& owner, const Link& link);

  const arch::TableReader& memory_;
  RamRange ram_;
  EventSink& sink_;
  std::optional<arch::AnyFormat> format_;
  std::unordered_map<arch::Frame, Held> held_;
  std::map<arch::Frame, Owner> roots_;
  Owner upper_{arch::Half::Upper, {}, {}};
  std::optional<arch::Frame> current_;
  std::optional<arch::Frame> upper_root_;  // arm64
  StoreSource source_;
  std::uint64_t scan_ = 0;
  std::size_t links_ = 0;
  std::size_t most_links_ = 0;
  std::uint64_t tables_read_ = 0;
  bool limit_reported_ = false;
};

}  // namespace sealvisor::model
