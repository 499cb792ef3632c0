#include "vmm/run/timelines.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "arch/describe.h"

namespace sealvisor::run {

using report::MomentKind;
using report::Phase;

namespace {

/// Whether user mode may do another thing, or with another page: a kernel that notes by itself that
/// a page was used (arm64 without FEAT_HAFDBS; mm/memory.c, handle_pte_fault) changes nothing.
bool is_change(const arch::AnyFormat& format, const model::MappingChange& change) {
  const bool upper = (change.write.flags & event::kUpperHalf) != 0;
  const arch::Half half = upper ? arch::Half::Upper : arch::Half::Lower;
  const arch::Entry before = arch::decode(format, change.write.old_value, change.level, half);
  const arch::Entry after = arch::decode(format, change.write.new_value, change.level, half);
  return before.kind != after.kind || before.output != after.output || before.size != after.size ||
         before.permissions != after.permissions;
}
bool is_change(const model::PageTransition& transition) {
  return transition.before.end != transition.after.end ||
         transition.before.frame != transition.after.frame ||
         transition.before.permissions != transition.after.permissions;
}

/// What user mode sees of a page.
std::string text_of(const arch::AnyFormat& format, const model::PageView& view) {
  if (view.end != arch::WalkEnd::Leaf) {
    return arch::describe_entry(format, view.value, std::max(view.level, 1U));
  }
  return fmt::format("{} gpa {:#x}", arch::describe_permissions(view.permissions),
                     view.frame.gpa().value);
}

}  // namespace

void Timelines::scenario(std::string name) {
  scenario_ = std::move(name);
  unchanged_ = 0;
}

Timelines::Held* Timelines::find(std::uint64_t space) {
  const auto found = live_.find(space);
  return found == live_.end() ? nullptr : &found->second;
}

Timelines::Held& Timelines::hold(const model::AddressSpace& space) {
  const auto [place, fresh] = live_.try_emplace(space.id);
  if (fresh) {
    report::Process& process = place->second.process;
    process.id = space.id;
    process.root = space.root.gpa().value;
    process.began = space.born;
    process.scenario = scenario_;
  }
  return place->second;
}

void Timelines::add(Held& held, Item item) {
  if (held.items.size() >= report::kMostMoments || held_items_ >= kMostHeld) {
    ++held.process.moments_left_out;
    return;
  }
  ++held_items_;
  held.items.push_back(std::move(item));
}

void Timelines::victim(std::uint64_t space, std::uint32_t cell) {
  if (Held* held = find(space)) held->process.cell = cell;
}

bool Timelines::is_populated(const Held& held, model::MappingPage page) const {
  return std::any_of(held.placed.begin(), held.placed.end(), [&](const Placed& placed) {
    return placed.mapping == page.mapping && page.page < placed.populated.size() &&
           placed.populated[page.page];
  });
}

void Timelines::written(const arch::AnyFormat& format, const model::MappingChange& change) {
  Held* held = find(change.space);
  const bool installs = held == nullptr || change.gva.value == 0 ||
                        (change.level == 1 && !is_populated(*held, change.page));
  if (installs) {
    // Guests fill tables of processes that never run; what is not asked for soon never is.
    if (pending_.size() >= kMostPending) pending_.clear();
    pending_.insert_or_assign(change.write.gpa, change);
    return;
  }
  Item item;
  item.kind = MomentKind::Written;
  item.phase = is_populated(*held, change.page) ? Phase::Life : Phase::Installation;
  item.told = true;
  item.icount = change.write.icount;
  item.page = change.page;
  item.gva = change.gva;
  item.level = change.level;
  item.write = change.write;
  held->written_to = held->written_to || (item.phase == Phase::Life && is_change(format, change));
  add(*held, std::move(item));
}

void Timelines::take_pending(Item& item, arch::Gpa slot) {
  const auto found = pending_.find(slot.value);
  if (found == pending_.end()) return;
  item.told = true;
  item.level = found->second.level;
  item.write = found->second.write;
  item.icount = item.write.icount;
  pending_.erase(found);
}

void Timelines::place(Held& held, const model::AddressSpace& space, std::uint64_t icount) {
  for (const model::Placement& placement : space.placements) {
    const bool known =
        std::any_of(held.placed.begin(), held.placed.end(),
                    [&](const Placed& placed) { return placed.mapping == placement.mapping; });
    if (known) continue;
    held.placed.push_back(
        {placement.mapping, placement.base, std::vector<bool>(placement.pages.size())});
    Item item;
    item.kind = MomentKind::Found;
    item.phase = Phase::Installation;
    item.icount = icount;
    item.page = {placement.mapping, 0};
    item.gva = placement.base;
    const std::size_t pages = placement.pages.size();
    item.text = fmt::format("{} page{}", pages, pages == 1 ? "" : "s");
    add(held, std::move(item));
  }
}

void Timelines::change_page(Held& held, const arch::AnyFormat& format,
                            const model::AddressSpace& space,
                            const model::PageTransition& transition, std::uint64_t icount) {
  // Who wrote what is told in any case.
  if (!transition.baseline && !is_change(transition)) return;
  Item item;
  item.icount = icount;
  item.page = transition.page;
  item.gva = transition.gva;
  if (!transition.baseline) {
    item.kind = MomentKind::Seen;
    item.phase = Phase::Life;
    item.text = text_of(format, transition.before) + " -> " + text_of(format, transition.after);
    held.process.changed = true;
    add(held, std::move(item));
    return;
  }
  item.kind = MomentKind::Populated;
  item.phase = Phase::Installation;
  for (Placed& placed : held.placed) {
    if (placed.mapping == transition.page.mapping) placed.populated[transition.page.page] = true;
  }
  const model::Placement* placement = space.placement(transition.page.mapping);
  const model::PageRecord& record = placement->pages[transition.page.page];
  if (record.path_length != 0) take_pending(item, record.path[record.path_length - 1]);
  // The write says it, where there is one.
  if (!item.told) item.text = text_of(format, transition.after);
  add(held, std::move(item));
}

void Timelines::looked(const arch::AnyFormat& format, const model::AddressSpace& space,
                       const model::Look& look, std::uint64_t icount) {
  if (space.placements.empty()) return;
  Held& held = hold(space);
  // What was written since the last look, and does not show now, was undone before user mode ran.
  for (std::size_t i = held.looked_at; i < held.items.size(); ++i) {
    Item& item = held.items[i];
    if (item.kind != MomentKind::Written) continue;
    item.transient = std::none_of(
        look.transitions.begin(), look.transitions.end(),
        [&](const model::PageTransition& transition) { return transition.page == item.page; });
  }
  held.process.changed = held.process.changed || std::exchange(held.written_to, false);
  place(held, space, icount);
  for (const model::PageTransition& transition : look.transitions) {
    change_page(held, format, space, transition, icount);
  }
  held.looked_at = held.items.size();
}

void Timelines::elsewhere(std::uint64_t space, const model::Elsewhere& found, arch::Gpa slot,
                          std::uint64_t icount) {
  Held* held = find(space);
  if (held == nullptr) return;
  Item item;
  item.kind = MomentKind::Elsewhere;
  item.phase = Phase::Life;
  item.icount = icount;
  item.page = found.page;
  item.gva = found.gva;
  item.text = fmt::format("page {} shows here too, {}", found.page.page,
                          arch::describe_permissions(found.permissions));
  take_pending(item, slot);
  held->process.changed = true;
  add(*held, std::move(item));
  held->looked_at = held->items.size();
}

void Timelines::broken(const seal::Violation& violation, std::uint64_t icount) {
  Held* held = find(violation.space);
  if (held == nullptr) return;
  Item item;
  item.kind = MomentKind::Broken;
  item.phase = Phase::Life;
  item.icount = icount;
  item.page = violation.page;
  item.gva = violation.gva;
  item.text = fmt::format("{}: {}", violation.invariant, violation.text);
  held->process.changed = true;
  add(*held, std::move(item));
  held->looked_at = held->items.size();
}

void Timelines::ended(const model::SpaceEnd& end, std::uint64_t icount) {
  const auto found = live_.find(end.space);
  if (found == live_.end()) return;
  Held held = std::move(found->second);
  live_.erase(found);
  leave(held);
  held.process.ended = icount;
  held.process.user_entries = end.user_entries;
  Item item;
  item.kind = MomentKind::Ended;
  item.phase = Phase::Exit;
  item.icount = icount;
  item.text = fmt::format("{} pages were there, {} were gone, {} had never been populated",
                          end.pages_present, end.pages_zapped, end.pages_never);
  add(held, std::move(item));
  keep(std::move(held));
}

void Timelines::leave(Held& held) {
  for (std::size_t i = held.looked_at; i < held.items.size(); ++i) {
    held.items[i].phase = Phase::Exit;
  }
}

void Timelines::keep(Held held) {
  const auto drop_items = [&] {
    held.process.moments_left_out += held.items.size();
    held_items_ -= held.items.size();
    held.items.clear();
    held.items.shrink_to_fit();
  };
  const bool changed = held.process.changed;
  const bool room = kept_.size() < report::kMostProcesses;
  const bool enough = unchanged_ >= kMostUnchanged || unchanged_in_all_ >= kMostUnchangedInAll;
  if (!room || (!changed && enough)) {
    ++(changed ? left_out_.changed : left_out_.unchanged);
    drop_items();
    return;
  }
  // Nothing happened to any of them: the first one's timeline says what the others' would.
  if (!changed) {
    ++unchanged_in_all_;
    if (unchanged_++ != 0) drop_items();
  }
  kept_.push_back(std::move(held));
}

report::Moment Timelines::told(const Item& item, const Tell& tell) const {
  report::Moment moment;
  moment.kind = item.kind;
  moment.phase = item.phase;
  moment.icount = item.icount;
  if (item.kind != MomentKind::Ended) {
    moment.mapping = identities_.all()[item.page.mapping].name;
    moment.gva = item.gva.value;
  }
  moment.text = item.text;
  if (item.told) {
    moment.write = tell({0, item.page, item.gva, item.write, item.level});
    moment.write->transient = item.transient;
  }
  return moment;
}

report::Process Timelines::told(Held& held, const Tell& tell) const {
  report::Process process = std::move(held.process);
  for (const Placed& placed : held.placed) {
    const auto populated = std::count(placed.populated.begin(), placed.populated.end(), true);
    process.mappings.push_back({identities_.all()[placed.mapping].name, placed.base.value,
                                static_cast<std::uint32_t>(placed.populated.size()),
                                static_cast<std::uint32_t>(populated)});
  }
  // A page that was looked at may have been written long before.
  std::stable_sort(held.items.begin(), held.items.end(),
                   [](const Item& one, const Item& other) { return one.icount < other.icount; });
  const Item* last = nullptr;
  for (const Item& item : held.items) {
    // One entry is on the way to many pages.
    const bool same = last != nullptr && item.kind == MomentKind::Written &&
                      last->kind == MomentKind::Written && item.write.gpa == last->write.gpa &&
                      item.icount == last->icount && item.write.new_value == last->write.new_value;
    last = &item;
    if (same) {
      report::Moment& moment = process.timeline.back();
      ++moment.pages;
      moment.write->transient = moment.write->transient && item.transient;
      continue;
    }
    process.timeline.push_back(told(item, tell));
  }
  return process;
}

void Timelines::finish(report::Run& run, const Tell& tell) {
  unchanged_ = 0;
  for (auto& [space, held] : live_) {
    leave(held);
    keep(std::move(held));
  }
  live_.clear();
  for (Held& held : kept_) {
    run.processes.push_back(told(held, tell));
    held = {};
  }
  kept_.clear();
  std::sort(run.processes.begin(), run.processes.end(),
            [](const auto& one, const auto& other) { return one.id < other.id; });
  run.processes_left_out = left_out_;
}

}  // namespace sealvisor::run
