// Which frames hold page tables, followed from root to leaf by what is linked, and every store to
// them. Runs inside the engine, on the vCPU's thread; knows nothing of QEMU.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "arch/any_format.h"
#include "arch/walk.h"
#include "vmm/event/event.h"

namespace sealvisor::model {

/// Where the tracker's records go. `emit` may block the vCPU; it never drops a record.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void emit(const event::Event& event) = 0;
};

/// The part of guest-physical space that is RAM, in frames.
struct RamRange {
  arch::Frame first{};
  std::uint64_t frames = 0;
  [[nodiscard]] bool contains(arch::Frame frame) const {
    return frame.number - first.number < frames;
  }
};

/// The table in RAM that an entry of a table of `level` links; nullopt: none.
[[nodiscard]] std::optional<arch::Frame> child_table(const arch::AnyFormat& format, RamRange ram,
                                                     std::uint64_t entry, unsigned level,
                                                     arch::Half half);

/// What the engine knows about the instruction that stored.
struct StoreSource {
  std::uint64_t pc = 0;
  std::uint64_t icount = 0;
  std::uint64_t root = 0;  ///< Raw root register of the vCPU.
  /// event::user_instructions(); 0: not counted.
  std::uint64_t user_instructions = 0;
  std::uint8_t vcpu = 0;
  bool user_mode = false;
};

/// One store, or the part of one that lies in a single frame.
struct StorePart {
  arch::Gpa gpa{};          ///< First byte.
  std::uint32_t bytes = 0;  ///< Bytes in this frame.
  std::uint32_t whole = 0;  ///< Bytes of the whole store.
  std::uint32_t part = 0;   ///< Number of the first slot of this part within the whole store.
  std::uint32_t parts = 0;  ///< Slots that the whole store touches.
};

/// Watches every table frame that is reachable from a registered root.
///
/// Invariant: a frame is watched at (level, half) exactly while some watched entry, or a root
/// registration, links it there; its shadow is its content as of the last store. A frame can be a
/// table at several levels at once (a self-mapped table): links are counted per level and half.
///
/// Bounds: at most kMaxTables frames are watched; past that a Limit event is emitted once and
/// further tables are not followed. Entries that point outside RAM are not followed.
class TableTracker {
 public:
  static constexpr std::size_t kMaxTables = 8192;
  static constexpr std::size_t kMaxContent = 256;

  /// `memory` and `sink` must outlive the tracker.
  TableTracker(const arch::TableReader& memory, RamRange ram, EventSink& sink);

  /// The format that entries are decoded with from now on. If it differs from the one before, all
  /// roots are dropped and must be loaded again.
  void set_format(const arch::AnyFormat& format);
  /// The same, with what made it so: stamps the removals.
  void set_format(const arch::AnyFormat& format, const StoreSource& source);
  [[nodiscard]] const std::optional<arch::AnyFormat>& format() const { return format_; }

  /// The vCPU of `source` loads `root` for `half`. Registers it if it is new, and drops a root that
  /// it replaces if the user half of that one is empty and no other vCPU has it loaded.
  /// Preconditions: a format is set; source.vcpu < event::kMostVcpus. Returns whether the user half
  /// of the new root holds anything.
  bool load_root(arch::Frame root, arch::Half half, const StoreSource& source);
  /// No root is in use for `half` on `vcpu` until its next load: the one that was is dropped once
  /// its user half is empty, as all others are.
  void leave(arch::Half half, std::uint8_t vcpu = 0);
  /// Whether `root` was loaded for `half` and not dropped since.
  [[nodiscard]] bool has_root(arch::Frame root, arch::Half half) const;

  /// Hot path: whether a store to `frame` must be reported.
  [[nodiscard]] bool is_watched(arch::Frame frame) const {
    const std::uint64_t index = frame.number - ram_.first.number;
    return index < watch_.size() && watch_[index] != nullptr;
  }

  /// A store touched a watched frame. Reads the new bytes from memory, emits one record a slot, and
  /// follows what it linked and unlinked.
  /// Precondition: is_watched(frame_of(part.gpa)).
  void stored(const StorePart& part, const StoreSource& source);

  /// Watches the content of `frame` too (code of a system mapping). Returns false past the bound or
  /// outside RAM.
  bool watch_content(arch::Frame frame);

  /// What `frame` held after the last store that was told; null if it is not watched. Valid until
  /// the next call that changes the tracker.
  [[nodiscard]] const arch::Table* shadow(arch::Frame frame) const;

  /// Slots in which `now` differs from the shadow of `frame`, hardware's own bits left out.
  [[nodiscard]] std::uint64_t differing_slots(arch::Frame frame, const arch::Table& now) const;

  [[nodiscard]] std::size_t tables() const { return tables_; }
  [[nodiscard]] std::size_t most_tables() const { return most_tables_; }
  [[nodiscard]] std::uint64_t roots_seen() const { return roots_seen_; }
  /// Incremented whenever a frame becomes watched or a watched entry changes: what the caller has
  /// cached about virtual pages may be stale.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  /// Incremented only when a frame becomes watched or an upper-half entry changes.
  [[nodiscard]] std::uint64_t upper_changes() const { return upper_changes_; }

 private:
  static constexpr std::size_t kLevels = 6;  // 1..5 are used
  struct Watched {
    arch::Frame frame{};
    arch::Table shadow{};
    std::array<std::array<std::uint32_t, 2>, kLevels> links{};
    bool content = false;
  };
  struct Root {
    arch::Frame frame{};
    arch::Half half{};
    std::uint32_t user_entries = 0;
  };

  [[nodiscard]] Watched* find(arch::Frame frame) const;
  Watched* watch(arch::Frame frame);
  void unwatch_if_idle(Watched& watched);
  void link(arch::Frame frame, unsigned level, arch::Half half);
  void unlink(arch::Frame frame, unsigned level, arch::Half half);
  /// Precondition: the values differ.
  void relink(const Watched& watched, std::size_t index, std::uint64_t old_value,
              std::uint64_t new_value);
  [[nodiscard]] std::optional<arch::Frame> child(std::uint64_t entry, unsigned level,
                                                 arch::Half half) const;
  [[nodiscard]] std::size_t user_slots(arch::Half half) const;
  /// Half that the child at `index` belongs to: one x86-64 root has both.
  [[nodiscard]] arch::Half half_below(unsigned level, arch::Half half, std::size_t index) const;
  void drop_root(std::size_t position);
  /// Drops a root that no vCPU has loaded if its user half is empty.
  void drop_if_empty(arch::Frame frame, arch::Half half);
  /// Whether a vCPU has `root` loaded for `half`.
  [[nodiscard]] bool in_use(arch::Frame root, arch::Half half) const;
  void emit(event::Kind kind, arch::Gpa gpa, unsigned level, std::uint64_t value,
            unsigned flags = 0);
  [[nodiscard]] static unsigned lowest_level(const Watched& watched);
  /// Whether entry `index` translates addresses of the upper half.
  [[nodiscard]] bool is_upper(const Watched& watched, std::size_t index) const;

  const arch::TableReader& memory_;
  RamRange ram_;
  EventSink& sink_;
  std::optional<arch::AnyFormat> format_;
  std::vector<std::unique_ptr<Watched>> watch_;  // one a RAM frame; null = not watched
  std::vector<Root> roots_;
  std::array<std::array<std::optional<arch::Frame>, 2>, event::kMostVcpus>
      current_;         // then by half
  StoreSource source_;  // of the event in progress: stamps the records that it causes
  std::size_t tables_ = 0;
  std::size_t most_tables_ = 0;
  std::size_t content_frames_ = 0;
  std::uint64_t roots_seen_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t upper_changes_ = 0;
  bool limit_reported_ = false;
};

}  // namespace sealvisor::model
