#include "vmm/model/table_tracker.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace sealvisor::model {

using arch::EntryKind;
using arch::Frame;
using arch::Gpa;
using arch::Half;
using arch::kTableEntries;
using event::Event;
using event::Kind;

namespace {
std::size_t half_index(Half half) { return half == Half::Upper ? 1 : 0; }
}  // namespace

std::optional<Frame> child_table(const arch::AnyFormat& format, RamRange ram, std::uint64_t entry,
                                 unsigned level, Half half) {
  if (entry == 0) return std::nullopt;
  const arch::Entry decoded = arch::decode(format, entry, level, half);
  if (decoded.kind != EntryKind::Table) return std::nullopt;
  const Frame frame = arch::frame_of(decoded.output);
  if (!ram.contains(frame)) return std::nullopt;
  return frame;
}

TableTracker::TableTracker(const arch::TableReader& memory, RamRange ram, EventSink& sink)
    : memory_(memory), ram_(ram), sink_(sink), watch_(ram.frames) {}

void TableTracker::set_format(const arch::AnyFormat& format) {
  if (format_.has_value() && *format_ == format) return;
  while (!roots_.empty()) drop_root(roots_.size() - 1);
  current_ = {};
  format_ = format;
  ++changes_;
  ++upper_changes_;
}

void TableTracker::set_format(const arch::AnyFormat& format, const StoreSource& source) {
  source_ = source;
  set_format(format);
}

std::size_t TableTracker::user_slots(Half half) const { return arch::user_slots(*format_, half); }

TableTracker::Watched* TableTracker::find(Frame frame) const {
  return ram_.contains(frame) ? watch_[frame.number - ram_.first.number].get() : nullptr;
}

TableTracker::Watched* TableTracker::watch(Frame frame) {
  if (!ram_.contains(frame)) return nullptr;
  auto& place = watch_[frame.number - ram_.first.number];
  if (place == nullptr) {
    auto fresh = std::make_unique<Watched>();
    fresh->frame = frame;
    if (!memory_.read_table(frame, fresh->shadow)) return nullptr;
    place = std::move(fresh);
    ++changes_;
    ++upper_changes_;
  }
  return place.get();
}

void TableTracker::unwatch_if_idle(Watched& watched) {
  if (watched.content) return;
  for (const auto& level : watched.links) {
    if (level[0] != 0 || level[1] != 0) return;
  }
  watch_[watched.frame.number - ram_.first.number].reset();
}

void TableTracker::emit(Kind kind, Gpa gpa, unsigned level, std::uint64_t value, unsigned flags) {
  Event event{};
  event.kind = kind;
  event.level = static_cast<std::uint8_t>(level);
  event.vcpu = source_.vcpu;
  event.flags = static_cast<std::uint8_t>(flags);
  event.icount = source_.icount;
  event.pc = source_.pc;
  event.root = source_.root;
  event.gpa = gpa.value;
  event.new_value = value;
  sink_.emit(event);
}

std::optional<Frame> TableTracker::child(std::uint64_t entry, unsigned level, Half half) const {
  return child_table(*format_, ram_, entry, level, half);
}

Half TableTracker::half_below(unsigned level, Half half, std::size_t index) const {
  const bool root = level == arch::top_level(*format_, half);
  return root && index >= user_slots(half) ? Half::Upper : half;
}

void TableTracker::link(Frame frame, unsigned level, Half half) {
  const bool known = find(frame) != nullptr;
  if (!known && tables_ >= kMaxTables) {
    if (!limit_reported_) {
      limit_reported_ = true;
      Event event{};
      event.kind = Kind::Limit;
      event.vcpu = source_.vcpu;
      event.icount = source_.icount;
      event.pc = source_.pc;
      event.root = source_.root;
      event.gpa = frame.gpa().value;
      event.aux = static_cast<std::uint64_t>(event::Limit::TableFrames);
      sink_.emit(event);
    }
    return;
  }
  Watched* watched = watch(frame);
  if (watched == nullptr) return;
  auto& count = watched->links[level][half_index(half)];
  if (++count > 1) return;
  ++tables_;
  most_tables_ = std::max(most_tables_, tables_);
  emit(Kind::TableAdded, frame.gpa(), level, half_index(half));
  // The shadow is read again only for a frame that was not watched before: while it is watched,
  // the stores that were seen are the truth and a difference is for the re-walk to find.
  for (std::size_t i = 0; i < kTableEntries; ++i) {
    const std::uint64_t entry = watched->shadow[i];
    if (entry == 0) continue;
    const bool upper = half_below(level, half, i) == Half::Upper;
    emit(Kind::EntryFound, frame.slot(i), level, entry, upper ? event::kUpperHalf : 0);
  }
  if (level <= 1) return;
  // A copy: what is linked below may be this very frame.
  const arch::Table content = watched->shadow;
  for (std::size_t i = 0; i < kTableEntries; ++i) {
    if (auto next = child(content[i], level, half)) {
      link(*next, level - 1, half_below(level, half, i));
    }
  }
}

void TableTracker::unlink(Frame frame, unsigned level, Half half) {
  Watched* watched = find(frame);
  // A link past the bound was never counted.
  if (watched == nullptr || watched->links[level][half_index(half)] == 0) return;
  auto& count = watched->links[level][half_index(half)];
  if (--count > 0) return;
  --tables_;
  emit(Kind::TableRemoved, frame.gpa(), level, half_index(half));
  if (level > 1) {
    const arch::Table content = watched->shadow;
    for (std::size_t i = 0; i < kTableEntries; ++i) {
      if (auto next = child(content[i], level, half)) {
        unlink(*next, level - 1, half_below(level, half, i));
      }
    }
  }
  // The frame may have gone in the loop above if it linked itself.
  if (Watched* still = find(frame)) unwatch_if_idle(*still);
}

unsigned TableTracker::lowest_level(const Watched& watched) {
  for (unsigned level = 1; level < kLevels; ++level) {
    if (watched.links[level][0] != 0 || watched.links[level][1] != 0) return level;
  }
  return 0;
}

bool TableTracker::is_upper(const Watched& watched, std::size_t index) const {
  const auto linked_upper = [](const auto& level) { return level[1] != 0; };
  if (std::any_of(watched.links.begin(), watched.links.end(), linked_upper)) return true;
  return std::any_of(roots_.begin(), roots_.end(), [&](const Root& root) {
    return root.frame == watched.frame && index >= user_slots(root.half);
  });
}

void TableTracker::relink(const Watched& watched, std::size_t index, std::uint64_t old_value,
                          std::uint64_t new_value) {
  const auto links = watched.links;
  const Frame frame = watched.frame;
  for (unsigned level = 2; level < kLevels; ++level) {
    for (const Half half : {Half::Lower, Half::Upper}) {
      if (links[level][half_index(half)] == 0) continue;
      const auto before = child(old_value, level, half);
      const auto after = child(new_value, level, half);
      // New first: a table that only moves to another slot stays watched throughout.
      const Half below = half_below(level, half, index);
      if (after) link(*after, level - 1, below);
      if (before) unlink(*before, level - 1, below);
    }
  }
  for (std::size_t i = 0; i < roots_.size(); ++i) {
    Root& root = roots_[i];
    if (root.frame != frame || index >= user_slots(root.half)) continue;
    if (old_value == 0) {
      ++root.user_entries;
    } else if (new_value == 0) {
      --root.user_entries;
    }
    if (root.user_entries == 0 && !in_use(root.frame, root.half)) {
      drop_root(i);
      break;
    }
  }
}

void TableTracker::drop_root(std::size_t position) {
  const Root root = roots_[position];
  roots_.erase(roots_.begin() + static_cast<std::ptrdiff_t>(position));
  unlink(root.frame, arch::top_level(*format_, root.half), root.half);
}

bool TableTracker::load_root(Frame frame, Half half, const StoreSource& source) {
  assert(format_.has_value() && source.vcpu < event::kMostVcpus);
  source_ = source;
  auto& current = current_[source.vcpu][half_index(half)];
  const auto matches = [&](const Root& root) { return root.frame == frame && root.half == half; };
  auto found = std::find_if(roots_.begin(), roots_.end(), matches);
  if (found == roots_.end()) {
    link(frame, arch::top_level(*format_, half), half);
    const Watched* watched = find(frame);
    if (watched == nullptr) return false;  // outside RAM or past the bound
    ++roots_seen_;
    Root root{frame, half, 0};
    for (std::size_t i = 0; i < user_slots(half); ++i) {
      if (watched->shadow[i] != 0) ++root.user_entries;
    }
    roots_.push_back(root);
  }
  const std::optional<Frame> previous = current;
  current = frame;
  if (previous) drop_if_empty(*previous, half);
  // Dropping moves the roots, but never one that is loaded.
  found = std::find_if(roots_.begin(), roots_.end(), matches);
  assert(found != roots_.end());
  return found->user_entries != 0;
}

bool TableTracker::in_use(Frame root, Half half) const {
  return std::any_of(current_.begin(), current_.end(),
                     [&](const auto& loaded) { return loaded[half_index(half)] == root; });
}

void TableTracker::drop_if_empty(Frame frame, Half half) {
  if (in_use(frame, half)) return;
  const auto root = std::find_if(roots_.begin(), roots_.end(), [&](const Root& one) {
    return one.frame == frame && one.half == half && one.user_entries == 0;
  });
  if (root != roots_.end()) drop_root(static_cast<std::size_t>(root - roots_.begin()));
}

void TableTracker::leave(Half half, std::uint8_t vcpu) {
  assert(vcpu < event::kMostVcpus);
  const std::optional<Frame> previous =
      std::exchange(current_[vcpu][half_index(half)], std::nullopt);
  if (previous) drop_if_empty(*previous, half);
}

bool TableTracker::has_root(Frame frame, Half half) const {
  return std::any_of(roots_.begin(), roots_.end(),
                     [&](const Root& root) { return root.frame == frame && root.half == half; });
}

void TableTracker::stored(const StorePart& part, const StoreSource& source) {
  source_ = source;
  const Frame frame = arch::frame_of(part.gpa);
  assert(find(frame) != nullptr);
  const std::size_t first = arch::slot_index(part.gpa);
  const std::size_t last = arch::slot_index(Gpa{part.gpa.value + part.bytes - 1});
  std::uint32_t number = part.part;
  for (std::size_t i = first; i <= last; ++i, ++number) {
    Watched* const watched = find(frame);
    if (watched == nullptr) return;  // an earlier slot of this very store unlinked the frame
    std::uint64_t value = 0;
    if (!memory_.read_entry(frame.slot(i), value)) return;
    const std::uint64_t old_value = watched->shadow[i];
    watched->shadow[i] = value;
    ++changes_;

    Event event{};
    const bool table = std::any_of(watched->links.begin(), watched->links.end(),
                                   [](const auto& l) { return l[0] + l[1] != 0; });
    const bool upper = is_upper(*watched, i);
    event.kind = table ? Kind::SlotWrite : Kind::ContentWrite;
    event.level = static_cast<std::uint8_t>(lowest_level(*watched));
    event.size = static_cast<std::uint8_t>(std::min<std::uint32_t>(part.whole, 255));
    event.offset = static_cast<std::uint8_t>(i == first ? part.gpa.value & 7 : 0);
    event.part = static_cast<std::uint8_t>(number);
    event.parts = static_cast<std::uint8_t>(std::min<std::uint32_t>(part.parts, 255));
    event.vcpu = source.vcpu;
    event.flags = static_cast<std::uint8_t>((source.user_mode ? event::kUserMode : 0) |
                                            (upper ? event::kUpperHalf : 0));
    event.icount = source.icount;
    event.pc = source.pc;
    event.root = source.root;
    event.gpa = frame.slot(i).value;
    event.old_value = old_value;
    event.new_value = value;
    event.aux = source.user_instructions;
    sink_.emit(event);
    if (upper) ++upper_changes_;
    if (old_value != value) relink(*watched, i, old_value, value);
  }
}

const arch::Table* TableTracker::shadow(Frame frame) const {
  const Watched* watched = find(frame);
  return watched == nullptr ? nullptr : &watched->shadow;
}

std::uint64_t TableTracker::differing_slots(Frame frame, const arch::Table& now) const {
  const Watched* watched = find(frame);
  if (watched == nullptr) return 0;
  std::uint64_t ignored = 0;
  for (unsigned level = 1; level < kLevels; ++level) {
    if (watched->links[level][0] + watched->links[level][1] != 0) {
      ignored |= arch::hardware_bits(*format_, level);
    }
  }
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < kTableEntries; ++i) {
    if (((watched->shadow[i] ^ now[i]) & ~ignored) != 0) ++count;
  }
  return count;
}

bool TableTracker::watch_content(Frame frame) {
  Watched* watched = find(frame);
  if (watched != nullptr && watched->content) return true;
  if (content_frames_ >= kMaxContent) return false;
  watched = watch(frame);
  if (watched == nullptr) return false;
  watched->content = true;
  ++content_frames_;
  return true;
}

}  // namespace sealvisor::model
