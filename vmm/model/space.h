// Address spaces, where system mappings lie in them, and how that changes. No opinion on right or
// wrong: that is vmm/seal.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arch/any_format.h"
#include "vmm/event/event.h"
#include "vmm/model/identity.h"
#include "vmm/model/mirror.h"

namespace sealvisor::model {

/// What the tables say of one page of a placed mapping, at one moment.
struct PageView {
  arch::WalkEnd end = arch::WalkEnd::Absent;
  arch::Frame frame{};              ///< Leaf only.
  arch::Permissions permissions{};  ///< Leaf only.
  std::uint64_t value = 0;          ///< The entry where the walk ended.
  unsigned level = 0;
  friend bool operator==(const PageView&, const PageView&) = default;
};

/// One page of a placed mapping, over the life of its address space.
struct PageRecord {
  PageView now;
  std::optional<PageView> first;  ///< As first seen populated: the baseline.
  std::uint32_t zaps = 0;         ///< Times that user mode ran while it was absent again.
  std::uint32_t refaults = 0;     ///< Times that it came back as it was.
  /// Entries that the last walk read, root first.
  std::array<arch::Gpa, arch::kMaxLevels> path{};
  unsigned path_length = 0;
};

/// A system mapping at its place in one address space.
struct Placement {
  std::size_t mapping = 0;
  arch::Gva base{};
  std::vector<PageRecord> pages;
  [[nodiscard]] arch::Gva gva(std::size_t page) const {
    return arch::Gva{base.value + page * arch::kPageSize};
  }
};

/// A user-reachable translation of a system mapping's frame that is not at its place.
struct Elsewhere {
  MappingPage page;
  arch::Gva gva{};
  arch::Permissions permissions{};
  std::uint64_t size = 0;
  friend bool operator==(const Elsewhere&, const Elsewhere&) = default;
};

/// One address space: a root frame in one generation.
struct AddressSpace {
  std::uint64_t id = 0;  ///< Unique in a run.
  arch::Frame root{};
  std::uint64_t born = 0;  ///< icount of the first load.
  std::uint64_t user_entries = 0;
  std::uint32_t vcpus = 0;  ///< Bit n: user mode was judged in it on vCPU n.
  std::vector<Placement> placements;
  std::vector<Elsewhere> elsewhere;
  /// Where the process that this one was forked from has its mappings: (mapping, base). A frame
  /// that appears there is judged as a page of that place, not as the beginning of another.
  std::vector<std::pair<std::size_t, arch::Gva>> inherited;
  std::uint64_t seen_epoch = 0;
  std::uint64_t seen_upper_epoch = 0;
  std::optional<arch::Frame> seen_upper_root;  ///< Of the upper half, where that has its own.
  std::uint64_t seen_changes = 0;
  bool looked_at = false;
  std::uint64_t last_look = 0;  ///< For who looks: when, as it counts.

  [[nodiscard]] const Placement* placement(std::size_t mapping) const;
};

/// A page's view changed between two moments at which user mode could look.
struct PageTransition {
  std::uint64_t space = 0;
  MappingPage page;
  arch::Gva gva{};
  PageView before;
  PageView after;
  bool baseline = false;  ///< First time populated in this address space: `after` is the baseline.
};

/// What one look at an address space found.
struct Look {
  std::vector<PageTransition> transitions;
  std::vector<Elsewhere> new_elsewhere;
};

/// A write on the path of a placed page, or one that maps a system mapping's frame somewhere.
struct MappingChange {
  std::uint64_t space = 0;
  MappingPage page;
  arch::Gva gva{};  ///< 0 where the address is not known (a new translation not yet walked).
  /// A SlotWrite; or an EntryFound, where a table came that maps a frame in an entry that it has.
  event::Event write{};
  unsigned level = 0;
};

/// What an address space that ended had.
struct SpaceEnd {
  std::uint64_t space = 0;
  std::uint64_t user_entries = 0;   ///< As AddressSpace has it.
  std::uint64_t pages_present = 0;  ///< Populated at the last look: their removal is teardown.
  std::uint64_t pages_zapped = 0;   ///< Absent again at the last look and never touched since.
  std::uint64_t pages_never = 0;
  std::uint64_t refaults = 0;
  std::vector<Placement> placements{};  ///< As they were at the last look.
};

/// Follows address spaces through the event stream.
class Spaces {
 public:
  Spaces(const Mirror& mirror, const Identities& identities)
      : mirror_(mirror), identities_(identities) {}

  void set_format(arch::Arch arch, const arch::AnyFormat& format);
  [[nodiscard]] const std::optional<arch::AnyFormat>& format() const { return format_; }

  /// Applies one event. Preconditions: the mirror has applied all earlier events and not this one;
  /// event.vcpu < event::kMostVcpus.
  /// Returns the changes that it makes to system mappings.
  std::vector<MappingChange> on_event(const event::Event& event);

  /// Address spaces that ended since the last call.
  [[nodiscard]] std::vector<SpaceEnd> take_ended();

  /// Looks at the space of `root` as user mode would now on the vCPU of the last event: finds new
  /// placements and second translations if anything relevant changed, and walks every placed page.
  /// Precondition: the mirror is up to date. nullptr if the root was never loaded.
  AddressSpace* look(arch::Frame root, Look& look);
  /// Identities were added: every space is searched at its next look.
  void identities_changed() {
    ++epoch_;
    ++upper_epoch_;
  }

  /// The process of `child` was forked from that of `parent`.
  static void inherit(AddressSpace& child, const AddressSpace& parent);

  [[nodiscard]] AddressSpace* find(arch::Frame root);
  [[nodiscard]] const AddressSpace* find(arch::Frame root) const;
  /// The space of the process on whose behalf the kernel runs, on the vCPU of the last event;
  /// nullptr: none that is known.
  [[nodiscard]] const AddressSpace* running() const;
  [[nodiscard]] AddressSpace* by_id(std::uint64_t id);
  /// All that have not ended, by root.
  [[nodiscard]] const std::map<arch::Frame, AddressSpace>& all() const { return spaces_; }
  /// Roots of address spaces in which user mode finds `frame` at `gva`.
  [[nodiscard]] std::vector<arch::Frame> roots_showing(arch::Gva gva, arch::Frame frame) const;
  [[nodiscard]] std::uint64_t generations() const { return next_id_ - 1; }
  /// Root of the upper half on the vCPU of the last event, where that half has its own.
  [[nodiscard]] std::optional<arch::Frame> upper_root() const { return loaded_[vcpu_].upper; }
  /// The walk of `gva` in `space`, from the upper half's root if `gva` is of that half and it has
  /// one of its own. Precondition: a format is set.
  [[nodiscard]] arch::Walk walk(const AddressSpace& space, arch::Gva gva) const;
  /// What a guest overstepped, so that from then on something may be missed; empty: nothing.
  [[nodiscard]] const std::string& incomplete() const { return incomplete_; }
  /// A search ran out of its budget. There are no more from then on: each would cost a second, at
  /// every change that a hostile guest makes, and could say no more.
  [[nodiscard]] bool exhausted() const { return exhausted_; }

  /// Most address spaces at once. A guest with the memory for it has some hundreds.
  static constexpr std::size_t kMostSpaces = 16'384;

 private:
  struct PathUse {
    std::uint64_t space;
    std::size_t placement;
    std::uint32_t page;
    unsigned level;
  };

  /// The roots that a vCPU has loaded.
  struct Loaded {
    std::optional<arch::Frame> lower;
    std::optional<arch::Frame> upper;
  };

  void changes_of_slot(const event::Event& event, std::vector<MappingChange>& changes);
  /// Root tables that link one and the same table of the user half are of one process: the kernel
  /// gives each process tables of its own. What lay where under the other root is what this one is
  /// judged by.
  void continue_another(AddressSpace& space);
  /// Whether the lower half of `root` links `table` as one of `level`.
  [[nodiscard]] bool links(arch::Frame root, arch::Frame table, unsigned level) const;
  [[nodiscard]] bool share_a_table(arch::Frame one, arch::Frame other) const;
  /// Forgets second translations that are no more: one that comes back is new.
  void drop_stale(AddressSpace& space) const;
  void search(AddressSpace& space, Look& look);
  /// A place for the mapping of `found`, which has none in `space` yet.
  void place(AddressSpace& space, const Elsewhere& found) const;
  void walk_page(AddressSpace& space, std::size_t placement, std::uint32_t page, Look& look);
  void follow_path(const AddressSpace& space, std::size_t placement, std::uint32_t page,
                   PageRecord& record, const arch::Walk& walk);
  void end_space(arch::Frame root);
  void forget_paths(std::uint64_t space);
  void note_relevance(const event::Event& event);

  const Mirror& mirror_;
  const Identities& identities_;
  arch::Arch arch_{};
  std::optional<arch::AnyFormat> format_;
  std::map<arch::Frame, AddressSpace> spaces_;
  std::array<Loaded, event::kMostVcpus> loaded_;
  std::size_t vcpu_ = 0;  ///< Of the last event.
  // Slots on the path of placed pages -> who uses them. Watching every level of the path is what
  // makes an upper-level change count as a change to the page (S6).
  std::unordered_map<std::uint64_t, std::vector<PathUse>> paths_;
  std::vector<SpaceEnd> ended_;
  std::string incomplete_;
  bool exhausted_ = false;
  std::uint64_t next_id_ = 1;
  std::uint64_t epoch_ = 1;
  std::uint64_t upper_epoch_ = 1;
  std::uint64_t changes_ = 1;  ///< Of tables: what a look found stands until the next one.
};

}  // namespace sealvisor::model
