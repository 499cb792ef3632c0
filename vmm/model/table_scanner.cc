#include "vmm/model/table_scanner.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "vmm/model/paging.h"

namespace sealvisor::model {

using arch::Frame;
using arch::Gpa;
using arch::Half;
using arch::kTableEntries;
using event::Event;
using event::Kind;

TableScanner::TableScanner(const arch::TableReader& memory, RamRange ram, EventSink& sink)
    : memory_(memory), ram_(ram), sink_(sink) {}

void TableScanner::set_format(const arch::AnyFormat& format) {
  if (format_ == format) return;
  release(upper_, true);
  for (auto& [frame, owner] : roots_) release(owner, true);
  roots_.clear();
  current_.reset();
  upper_root_.reset();
  format_ = format;
}

unsigned TableScanner::top(const Owner& owner) const {
  return arch::top_level(*format_, owner.half);
}

Event TableScanner::stamp(Kind kind, Gpa gpa, unsigned level) const {
  Event event{};
  event.kind = kind;
  event.level = static_cast<std::uint8_t>(level);
  event.vcpu = source_.vcpu;
  event.icount = source_.icount;
  event.pc = source_.pc;
  event.root = source_.root;
  event.gpa = gpa.value;
  return event;
}

void TableScanner::emit_link(Kind kind, const Owner& owner, const Link& link) {
  Event event = stamp(kind, link.frame.gpa(), link.level);
  event.new_value = owner.half == Half::Upper ? 1 : 0;
  sink_.emit(event);
}

std::optional<Frame> TableScanner::child(std::uint64_t entry, unsigned level, Half half) const {
  return child_table(*format_, ram_, entry, level, half);
}

void TableScanner::begin(const StoreSource& source) {
  source_ = source;
  ++scan_;
}

void TableScanner::scan_user(std::uint64_t raw, const StoreSource& source) {
  assert(format_.has_value());
  begin(source);
  const Frame root = root_of(arch::arch_of(*format_), raw);
  if (!ram_.contains(root)) return;
  // Each time: a process that was killed leaves without another entry, and the next one may get its
  // root with the very same tables.
  end_exchanged(current_ == root ? current_ : std::nullopt);
  Owner& owner = roots_.try_emplace(root, Owner{Half::Lower, root, {}}).first->second;
  if (current_ != root) {
    Event event = stamp(Kind::RootLoad, root.gpa(), top(owner));
    event.root = raw;
    sink_.emit(event);
    current_ = root;
  }
  visit(owner, root, top(owner), {0, arch::user_slots(*format_, Half::Lower)});
  sweep(owner);
}

void TableScanner::scan_upper(std::uint64_t raw_upper, const StoreSource& source) {
  assert(format_.has_value());
  if (!current_) return;
  begin(source);
  if (arch::arch_of(*format_) == arch::Arch::X86_64) {
    // The upper half of the root itself: its tables are linked from every root alike.
    const auto root = held_.find(*current_);
    if (root == held_.end()) return;
    const unsigned level = arch::top_level(*format_, Half::Lower);
    compare(root->second, *current_, level,
            {arch::user_slots(*format_, Half::Lower), kTableEntries});
    visit_below(upper_, root->second, level,
                {arch::user_slots(*format_, Half::Lower), kTableEntries});
  } else {
    const Frame root = root_of(arch::Arch::Arm64, raw_upper);
    if (!ram_.contains(root)) return;
    if (upper_root_ != root) {
      Event event = stamp(Kind::RootLoad, root.gpa(), top(upper_));
      event.root = raw_upper;
      event.flags = event::kUpperHalf;
      sink_.emit(event);
      upper_root_ = root;
    }
    visit(upper_, root, top(upper_), {});
  }
  sweep(upper_);
}

TableScanner::Held* TableScanner::link(Owner& owner, Frame frame, unsigned level) {
  take_from_stale(frame);
  if (links_ >= kMaxTables) {
    if (!std::exchange(limit_reported_, true)) {
      Event event = stamp(Kind::Limit, frame.gpa(), level);
      event.aux = static_cast<std::uint64_t>(event::Limit::TableFrames);
      sink_.emit(event);
    }
    return nullptr;
  }
  Held& held = held_[frame];
  if (held.uses == 0) {
    if (!memory_.read_table(frame, held.shadow)) {
      held_.erase(frame);
      return nullptr;
    }
    ++tables_read_;
    held.compared = scan_;
  }
  ++held.uses;
  ++links_;
  most_links_ = std::max(most_links_, links_);
  owner.links.emplace(Link{frame, level}, scan_);
  emit_link(Kind::TableAdded, owner, {frame, level});
  const std::size_t user =
      level == top(owner) ? arch::user_slots(*format_, Half::Lower) : kTableEntries;
  for (std::size_t i = 0; i < kTableEntries; ++i) {
    if (held.shadow[i] == 0) continue;
    Event event = stamp(Kind::EntryFound, frame.slot(i), level);
    event.new_value = held.shadow[i];
    event.flags = owner.half == Half::Upper || i >= user ? event::kUpperHalf : std::uint8_t{0};
    sink_.emit(event);
  }
  return &held;
}

void TableScanner::compare(Held& held, Frame frame, unsigned level, Range range) {
  ++tables_read_;
  const std::uint64_t own = ~arch::hardware_bits(*format_, level);
  if (memory_.holds(frame, held.shadow, own)) return;
  arch::Table now;
  if (!memory_.read_table(frame, now)) return;
  // Whoever comes by first tells it for all who link the table.
  const bool in_upper = links(upper_, frame);
  const bool is_root = roots_.contains(frame);
  const std::size_t user = arch::user_slots(*format_, Half::Lower);
  for (std::size_t i = range.first; i < range.last; ++i) {
    if (((now[i] ^ held.shadow[i]) & own) == 0) continue;
    Event event = stamp(Kind::SlotWrite, frame.slot(i), level);
    event.size = 8;
    event.parts = 1;
    event.flags = in_upper || (is_root && i >= user) ? event::kUpperHalf : std::uint8_t{0};
    event.old_value = held.shadow[i];
    event.new_value = now[i];
    held.shadow[i] = now[i];
    ++held.changes;
    held.filled.reset();
    sink_.emit(event);
  }
}

void TableScanner::visit(Owner& owner, Frame frame, unsigned level, Range range) {
  const auto known = owner.links.find({frame, level});
  Held* held = nullptr;
  if (known != owner.links.end()) {
    if (known->second == scan_) return;  // linked more than once
    known->second = scan_;
    const auto found = held_.find(frame);
    assert(found != held_.end());
    held = &found->second;
  } else {
    held = link(owner, frame, level);
    if (held == nullptr) return;
  }
  if (held->compared != scan_) {
    compare(*held, frame, level, range);
    // Of a root it may be a part, and the rest is looked at where the root is a table of another
    // level too.
    if (range.last - range.first == kTableEntries) held->compared = scan_;
  }
  if (level > 1) visit_below(owner, *held, level, range);
}

void TableScanner::visit_below(Owner& owner, Held& held, unsigned level, Range range) {
  // Taken out of `held`, which stays where it is, for `owner` links it: what is linked below may be
  // this very table, and its first comparison in this scan.
  std::vector<std::uint16_t> filled;
  if (held.filled) {
    filled = *std::exchange(held.filled, std::nullopt);
  } else {
    for (std::size_t i = 0; i < kTableEntries; ++i) {
      if (held.shadow[i] != 0) filled.push_back(static_cast<std::uint16_t>(i));
    }
  }
  const std::uint64_t changes = held.changes;
  for (const std::uint16_t i : filled) {
    if (i < range.first || i >= range.last) continue;
    if (const auto next = child(held.shadow[i], level, owner.half)) {
      visit(owner, *next, level - 1, {});
    }
  }
  if (held.changes == changes) held.filled = std::move(filled);
}

void TableScanner::unlink(const Owner& owner, const Link& link) {
  emit_link(Kind::TableRemoved, owner, link);
  --links_;
  const auto held = held_.find(link.frame);
  assert(held != held_.end());
  if (--held->second.uses == 0) held_.erase(held);
}

void TableScanner::sweep(Owner& owner) {
  std::erase_if(owner.links, [&](const auto& item) {
    if (item.second == scan_) return false;
    unlink(owner, item.first);
    return true;
  });
}

void TableScanner::release(Owner& owner, bool with_root) {
  std::erase_if(owner.links, [&](const auto& item) {
    if (!with_root && item.first == Link{owner.root, top(owner)}) return false;
    unlink(owner, item.first);
    return true;
  });
}

bool TableScanner::links(const Owner& owner, Frame frame) {
  const auto first = owner.links.lower_bound(Link{frame, 0});
  return first != owner.links.end() && first->first.frame == frame;
}

void TableScanner::take_from_stale(Frame frame) {
  if (!held_.contains(frame)) return;
  for (auto it = roots_.begin(); it != roots_.end();) {
    Owner& other = it->second;
    if (other.root == current_ || !links(other, frame)) {
      ++it;
      continue;
    }
    // A root that became a table of another one is a root no more.
    const bool ended = other.root == frame;
    release(other, ended);
    it = ended ? roots_.erase(it) : std::next(it);
  }
}

bool TableScanner::is_exchanged(const Owner& owner) const {
  const auto held = held_.find(owner.root);
  if (held == held_.end()) return true;
  // One table that is still there settles it: first the one that was there last time.
  const auto still_linked = [&](std::size_t i) {
    const auto before = child(held->second.shadow[i], top(owner), Half::Lower);
    std::uint64_t now = 0;
    return before && memory_.read_entry(owner.root.slot(i), now) &&
           child(now, top(owner), Half::Lower) == before;
  };
  if (still_linked(owner.linked_slot)) return false;
  bool linked = false;
  for (std::size_t i = 0; i < arch::user_slots(*format_, Half::Lower); ++i) {
    if (!child(held->second.shadow[i], top(owner), Half::Lower)) continue;
    linked = true;
    if (!still_linked(i)) continue;
    owner.linked_slot = i;
    return false;
  }
  return linked;
}

void TableScanner::end_exchanged(std::optional<Frame> but) {
  for (auto it = roots_.begin(); it != roots_.end();) {
    if (it->first == but || !is_exchanged(it->second)) {
      ++it;
      continue;
    }
    release(it->second, true);
    it = roots_.erase(it);
  }
}

}  // namespace sealvisor::model
