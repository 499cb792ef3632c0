#include "vmm/model/space.h"

#include <algorithm>
#include <set>
#include <utility>

namespace sealvisor::model {

using arch::Frame;
using arch::Gpa;
using arch::Gva;
using arch::Half;
using arch::WalkEnd;
using event::Event;
using event::Kind;

const Placement* AddressSpace::placement(std::size_t mapping) const {
  for (const Placement& placement : placements) {
    if (placement.mapping == mapping) return &placement;
  }
  return nullptr;
}

void Spaces::set_format(arch::Arch arch, const arch::AnyFormat& format) {
  arch_ = arch;
  format_ = format;
  identities_changed();
}

AddressSpace* Spaces::find(Frame root) {
  const auto found = spaces_.find(root);
  return found == spaces_.end() ? nullptr : &found->second;
}

const AddressSpace* Spaces::find(Frame root) const {
  const auto found = spaces_.find(root);
  return found == spaces_.end() ? nullptr : &found->second;
}

const AddressSpace* Spaces::running() const {
  const std::optional<Frame> current = loaded_[vcpu_].lower;
  if (!current) return nullptr;
  const AddressSpace* space = find(*current);
  if (arch_ != arch::Arch::X86_64 || (space != nullptr && !space->placements.empty())) return space;
  // With page-table isolation the kernel runs on a root of its own, in front of user mode's (6.12:
  // arch/x86/include/asm/pgtable.h, PTI_PGTABLE_SWITCH_BIT), and what it writes is user mode's.
  const AddressSpace* user = find(Frame{current->number | 1});
  return user != nullptr && !user->placements.empty() ? user : space;
}

AddressSpace* Spaces::by_id(std::uint64_t id) {
  for (auto& [root, space] : spaces_) {
    if (space.id == id) return &space;
  }
  return nullptr;
}

std::vector<Frame> Spaces::roots_showing(Gva gva, Frame frame) const {
  std::vector<Frame> roots;
  if (!format_) return roots;
  for (const auto& [root, space] : spaces_) {
    const arch::Walk walk = arch::walk(*format_, mirror_, root, gva);
    if (walk.end == WalkEnd::Leaf && arch::frame_of(walk.output) == frame) roots.push_back(root);
  }
  return roots;
}

std::vector<SpaceEnd> Spaces::take_ended() { return std::exchange(ended_, {}); }

void Spaces::forget_paths(std::uint64_t space) {
  for (auto it = paths_.begin(); it != paths_.end();) {
    std::erase_if(it->second, [&](const PathUse& use) { return use.space == space; });
    it = it->second.empty() ? paths_.erase(it) : std::next(it);
  }
}

void Spaces::end_space(Frame root) {
  const auto found = spaces_.find(root);
  if (found == spaces_.end()) return;
  AddressSpace& space = found->second;
  if (!space.placements.empty()) {
    SpaceEnd end;
    end.space = space.id;
    end.user_entries = space.user_entries;
    for (const Placement& placement : space.placements) {
      for (const PageRecord& page : placement.pages) {
        end.refaults += page.refaults;
        if (!page.first) {
          ++end.pages_never;
        } else if (page.now.end == WalkEnd::Leaf) {
          ++end.pages_present;
        } else {
          ++end.pages_zapped;
        }
      }
    }
    end.placements = std::move(space.placements);
    forget_paths(space.id);
    ended_.push_back(std::move(end));
  }
  spaces_.erase(found);
}

// Decides whether what is reachable where may have changed in a way that only a search finds.
void Spaces::note_relevance(const Event& event) {
  if (!format_ || identities_.empty() || event.new_value == 0) return;
  const bool upper = (event.flags & event::kUpperHalf) != 0;
  const Half half = upper ? Half::Upper : Half::Lower;
  const arch::Entry entry = arch::decode(*format_, event.new_value, event.level, half);
  bool relevant = false;
  if (entry.kind == arch::EntryKind::Leaf) {
    relevant = identities_.intersects(entry.output, entry.size);
  } else if (entry.kind == arch::EntryKind::Table) {
    // A fresh table brings its entries as events of its own; one that was there already, or a
    // changed permission on the way, does not. What a root holds when it is loaded is searched with
    // its address space.
    const bool known = mirror_.table(arch::frame_of(entry.output)) != nullptr;
    const bool root = event.level == arch::top_level(*format_, half);
    relevant = known && (event.kind == Kind::SlotWrite || !root);
  }
  if (!relevant) return;
  ++epoch_;
  if (upper) ++upper_epoch_;
}

std::vector<MappingChange> Spaces::on_event(const Event& event) {
  std::vector<MappingChange> changes;
  vcpu_ = event.vcpu;
  const Frame frame = arch::frame_of(Gpa{event.gpa});
  if (event.kind == Kind::TableAdded || event.kind == Kind::TableRemoved ||
      event.kind == Kind::EntryFound || event.kind == Kind::SlotWrite) {
    ++changes_;
  }
  switch (event.kind) {
    case Kind::RootLoad:
      if ((event.flags & event::kUpperHalf) != 0) {
        loaded_[vcpu_].upper = frame;
        break;
      }
      loaded_[vcpu_].lower = frame;
      if (!spaces_.contains(frame)) {
        if (spaces_.size() >= kMostSpaces) {
          incomplete_ = "more address spaces than can be followed";
          break;
        }
        AddressSpace space;
        space.id = next_id_++;
        space.root = frame;
        space.born = event.icount;
        spaces_.emplace(frame, std::move(space));
      }
      break;
    case Kind::TableRemoved:
      if (format_ && event.new_value == 0 &&
          event.level == arch::top_level(*format_, Half::Lower)) {
        end_space(frame);
      }
      break;
    case Kind::EntryFound:
    case Kind::SlotWrite:
      note_relevance(event);
      changes_of_slot(event, changes);
      break;
    default:
      break;
  }
  return changes;
}

void Spaces::changes_of_slot(const Event& event, std::vector<MappingChange>& changes) {
  const auto used = paths_.find(event.gpa);
  if (used != paths_.end()) {
    // A table that comes anew changes no path: the entry that links it does.
    if (event.kind != Kind::SlotWrite) return;
    for (const PathUse& use : used->second) {
      const AddressSpace* space = by_id(use.space);
      if (space == nullptr) continue;
      const Placement& placement = space->placements[use.placement];
      changes.push_back(
          {use.space, {placement.mapping, use.page}, placement.gva(use.page), event, use.level});
    }
    return;
  }
  const AddressSpace* space = running();
  if (!format_ || identities_.empty() || event.new_value == 0 || space == nullptr) return;
  const Half half = (event.flags & event::kUpperHalf) != 0 ? Half::Upper : Half::Lower;
  const arch::Entry entry = arch::decode(*format_, event.new_value, event.level, half);
  const arch::Permissions& may = entry.permissions;
  // Where the kernel itself maps all memory is no place of user mode's.
  if (entry.kind != arch::EntryKind::Leaf || (!may.read && !may.write && !may.exec) ||
      !identities_.intersects(entry.output, entry.size)) {
    return;
  }
  // A table may come for another process: that one's change is the entry that links it.
  if (event.kind == Kind::EntryFound && half == Half::Lower &&
      !links(space->root, arch::frame_of(Gpa{event.gpa}), event.level)) {
    return;
  }
  for (const auto& [frame, page] : identities_.frames()) {
    if (frame.gpa().value - entry.output.value >= entry.size) continue;
    changes.push_back({space->id, page, Gva{0}, event, event.level});
  }
}

namespace {

/// Collects user-reachable leaves that show a frame of a system mapping.
class Collector final : public arch::Visitor {
 public:
  explicit Collector(const Identities& identities) : identities_(identities) {}

  void leaf(const arch::LeafMapping& mapping) override {
    const arch::Permissions& may = mapping.permissions;
    if (!may.read && !may.write && !may.exec) return;
    if (mapping.size == arch::kPageSize) {
      if (const auto page = identities_.find(arch::frame_of(mapping.gpa))) {
        found.push_back({*page, mapping.gva, may, mapping.size});
      }
      return;
    }
    for (const auto& [frame, page] : identities_.frames()) {
      const std::uint64_t offset = frame.gpa().value - mapping.gpa.value;
      if (offset < mapping.size) {
        found.push_back({page, Gva{mapping.gva.value + offset}, may, mapping.size});
      }
    }
  }

  std::vector<Elsewhere> found;

 private:
  const Identities& identities_;
};

}  // namespace

void Spaces::inherit(AddressSpace& child, const AddressSpace& parent) {
  child.inherited.clear();
  for (const Placement& placement : parent.placements) {
    child.inherited.emplace_back(placement.mapping, placement.base);
  }
}

void Spaces::place(AddressSpace& space, const Elsewhere& found) const {
  Placement placement;
  placement.mapping = found.page.mapping;
  placement.base = Gva{found.gva.value - found.page.page * arch::kPageSize};
  placement.pages.resize(identities_.all()[found.page.mapping].frames.size());
  for (const auto& [mapping, base] : space.inherited) {
    if (mapping == placement.mapping &&
        found.gva.value - base.value < placement.pages.size() * arch::kPageSize) {
      placement.base = base;
    }
  }
  space.placements.push_back(std::move(placement));
}

void Spaces::search(AddressSpace& space, Look& look) {
  Collector collector(identities_);
  const bool upper_changed =
      space.seen_upper_epoch != upper_epoch_ || space.seen_upper_root != upper_root();
  const auto visit = [&](Frame root, Half half, arch::Scope scope) {
    const auto summary = arch::visit(*format_, mirror_, root, half, collector, {.scope = scope});
    if (!summary.budget_exceeded) return;
    incomplete_ = "more ways through the tables than can be searched";
    exhausted_ = true;
  };
  // A root of one half alone has the same entries in either scope.
  visit(space.root, Half::Lower, upper_changed ? arch::Scope::All : arch::Scope::UserHalf);
  if (upper_changed && upper_root()) visit(*upper_root(), Half::Upper, arch::Scope::All);
  std::vector<Elsewhere> elsewhere;
  for (const Elsewhere& found : collector.found) {
    // What another process has for itself has no place here.
    const std::uint64_t owner = identities_.all()[found.page.mapping].owner;
    const bool may_have = owner == 0 || owner == space.id;
    if (may_have && space.placement(found.page.mapping) == nullptr) place(space, found);
    const Placement* const placement = space.placement(found.page.mapping);
    if (placement != nullptr && placement->gva(found.page.page) == found.gva) continue;
    elsewhere.push_back(found);
    if (std::find(space.elsewhere.begin(), space.elsewhere.end(), found) == space.elsewhere.end()) {
      look.new_elsewhere.push_back(found);
    }
  }
  if (!upper_changed) {
    // The upper half was not searched again: what was found there still stands.
    for (const Elsewhere& known : space.elsewhere) {
      if (arch::is_upper(*format_, known.gva)) elsewhere.push_back(known);
    }
  }
  space.elsewhere = std::move(elsewhere);
  space.seen_epoch = epoch_;
  space.seen_upper_epoch = upper_epoch_;
  space.seen_upper_root = upper_root();
}

void Spaces::follow_path(const AddressSpace& space, std::size_t placement, std::uint32_t page,
                         PageRecord& record, const arch::Walk& walk) {
  bool same = record.path_length == walk.count;
  for (unsigned i = 0; same && i < walk.count; ++i) same = record.path[i] == walk.steps[i].slot;
  if (same) return;
  for (unsigned i = 0; i < record.path_length; ++i) {
    const auto used = paths_.find(record.path[i].value);
    if (used == paths_.end()) continue;
    std::erase_if(used->second, [&](const PathUse& use) {
      return use.space == space.id && use.placement == placement && use.page == page;
    });
    if (used->second.empty()) paths_.erase(used);
  }
  for (unsigned i = 0; i < walk.count; ++i) {
    record.path[i] = walk.steps[i].slot;
    paths_[walk.steps[i].slot.value].push_back({space.id, placement, page, walk.steps[i].level});
  }
  record.path_length = walk.count;
}

void Spaces::walk_page(AddressSpace& space, std::size_t placement_index, std::uint32_t page,
                       Look& look) {
  Placement& placement = space.placements[placement_index];
  const Gva gva = placement.gva(page);
  const arch::Walk walk = arch::walk(*format_, mirror_, space.root, gva);
  follow_path(space, placement_index, page, placement.pages[page], walk);
  PageView view;
  view.end = walk.end;
  view.level = walk.level;
  view.value = walk.count == 0 ? 0 : walk.last().value;
  if (walk.end == WalkEnd::Leaf) {
    view.frame = arch::frame_of(walk.output);
    view.permissions = walk.permissions;
    view.value &= ~arch::hardware_bits(*format_, walk.level);
  }
  PageRecord& record = placement.pages[page];
  if (record.now == view) return;
  if (!record.first && view.end == WalkEnd::Absent) {
    record.now = view;
    return;
  }
  PageTransition transition{space.id, {placement.mapping, page}, gva, record.now, view, false};
  if (!record.first) {
    if (view.end == WalkEnd::Leaf) {
      record.first = view;
      transition.baseline = true;
    }
  } else if (view.end == WalkEnd::Absent) {
    ++record.zaps;
  } else if (record.now.end == WalkEnd::Absent && view.frame == record.first->frame &&
             view.permissions == record.first->permissions) {
    ++record.refaults;
  }
  record.now = view;
  look.transitions.push_back(transition);
}

bool Spaces::links(Frame root, Frame table, unsigned level) const {
  std::vector<Frame> tables = {root};
  for (unsigned at = arch::top_level(*format_, Half::Lower); at > level; --at) {
    std::set<Frame> below;  // each once, however often it is linked
    for (const Frame frame : tables) {
      const arch::Table* const entries = mirror_.table(frame);
      if (entries == nullptr) continue;
      for (const std::uint64_t value : *entries) {
        if (value == 0) continue;
        const arch::Entry entry = arch::decode(*format_, value, at, Half::Lower);
        if (entry.kind == arch::EntryKind::Table) below.insert(arch::frame_of(entry.output));
      }
    }
    tables.assign(below.begin(), below.end());
  }
  return std::find(tables.begin(), tables.end(), table) != tables.end();
}

bool Spaces::share_a_table(Frame one, Frame other) const {
  const arch::Table* const first = mirror_.table(one);
  const arch::Table* const second = mirror_.table(other);
  if (first == nullptr || second == nullptr) return false;
  const unsigned level = arch::top_level(*format_, Half::Lower);
  for (std::size_t i = 0; i < arch::user_slots(*format_, Half::Lower); ++i) {
    if ((*first)[i] == 0 || (*second)[i] == 0) continue;
    const arch::Entry here = arch::decode(*format_, (*first)[i], level, Half::Lower);
    const arch::Entry there = arch::decode(*format_, (*second)[i], level, Half::Lower);
    if (here.kind == arch::EntryKind::Table && there.kind == arch::EntryKind::Table &&
        here.output == there.output) {
      return true;
    }
  }
  return false;
}

void Spaces::continue_another(AddressSpace& space) {
  for (const auto& [root, other] : spaces_) {
    // Its own has no places yet.
    if (other.placements.empty() || !share_a_table(space.root, root)) continue;
    space.placements = other.placements;
    space.elsewhere = other.elsewhere;
    space.inherited = other.inherited;
    space.last_look = other.last_look;
    // The paths are the other one's: each page is walked anew.
    for (Placement& placement : space.placements) {
      for (PageRecord& page : placement.pages) page.path_length = 0;
    }
    return;
  }
}

arch::Walk Spaces::walk(const AddressSpace& space, Gva gva) const {
  const bool upper = arch_ == arch::Arch::Arm64 && arch::is_upper(*format_, gva);
  const Frame root = upper ? upper_root().value_or(Frame{}) : space.root;
  return arch::walk(*format_, mirror_, root, gva);
}

void Spaces::drop_stale(AddressSpace& space) const {
  std::erase_if(space.elsewhere, [&](const Elsewhere& known) {
    const arch::Walk walk = this->walk(space, known.gva);
    // One with another size or other permissions is found by a search, as another one.
    return walk.end != WalkEnd::Leaf || identities_.find(arch::frame_of(walk.output)) != known.page;
  });
}

AddressSpace* Spaces::look(Frame root, Look& look) {
  AddressSpace* space = find(root);
  if (space == nullptr || !format_) return space;
  if (!std::exchange(space->looked_at, true)) continue_another(*space);
  if (space->seen_changes != changes_ && !exhausted_) drop_stale(*space);
  // What changes the upper half's epoch changes the other one too.
  const bool searched = space->seen_epoch == epoch_ && space->seen_upper_root == upper_root();
  if (!searched && !exhausted_) {
    search(*space, look);
  } else if (space->seen_changes == changes_) {
    return space;
  }
  space->seen_changes = changes_;
  for (std::size_t i = 0; i < space->placements.size(); ++i) {
    const auto pages = static_cast<std::uint32_t>(space->placements[i].pages.size());
    for (std::uint32_t page = 0; page < pages; ++page) walk_page(*space, i, page, look);
  }
  return space;
}

}  // namespace sealvisor::model
