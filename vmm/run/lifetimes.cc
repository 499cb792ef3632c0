#include "vmm/run/lifetimes.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace sealvisor::run {

using arch::EntryKind;
using arch::Frame;
using arch::Gpa;
using report::Effect;
using seal::Cause;

namespace {

/// What the kernel did by itself, if it is a change in a process's life.
bool is_kernels(Cause cause) {
  return cause != Cause::OwnCall && cause != Cause::Outside && cause != Cause::UserStore &&
         cause != Cause::Unknown;
}

/// Space of a write of which it was never seen whose it is; ids begin with 1.
constexpr std::uint64_t kNoSpace = 0;

/// Whether something is in a page's own place after it, if nothing was before.
bool fills_in(Effect effect) {
  return effect == Effect::FilledIn || effect == Effect::OtherFrame || effect == Effect::Permission;
}

std::string text_of(const event::Event& event) {
  return fmt::format("entry at {:#x}, level {}: {:#x} -> {:#x}", event.gpa, event.level,
                     event.old_value, event.new_value);
}

}  // namespace

void Lifetimes::on_stack(const event::Event& copy, const arch::Table& stack) {
  stack_ = copy;
  stack_path_ = paths_.of(copy, stack);
}

const seal::CauseFacts& Lifetimes::facts(std::size_t path) {
  const auto known = facts_.find(path);
  if (known != facts_.end()) return known->second;
  const CallPath& of = paths_.path(path);
  return facts_.emplace(path, seal::cause_of(of.functions, of.complete)).first->second;
}

report::MappingLife& Lifetimes::life_of(std::size_t mapping) {
  const model::SystemMapping& facts = identities_.all()[mapping];
  report::MappingLife& life = lives_[facts.name];
  life.mapping = facts.name;
  life.claims_sealed = facts.claims_sealed;
  return life;
}

Effect Lifetimes::effect_of(const arch::AnyFormat& format, const event::Event& event,
                            const model::MappingPage& page, unsigned level) const {
  if (event.old_value == event.new_value) return Effect::Rewritten;
  const arch::Entry was = arch::decode(format, event.old_value, level, arch::Half::Lower);
  const arch::Entry is = arch::decode(format, event.new_value, level, arch::Half::Lower);
  const bool leaf = was.kind == EntryKind::Leaf || is.kind == EntryKind::Leaf;
  if (level > 1 && !leaf) return Effect::Upper;
  if (is.kind == EntryKind::Absent) return Effect::Removed;
  if (is.kind != EntryKind::Leaf) return Effect::Permission;
  const model::SystemMapping& mapping = identities_.all()[page.mapping];
  if (was.kind == EntryKind::Leaf) {
    if (was.output != is.output) return Effect::OtherFrame;
    return was.permissions == is.permissions ? Effect::Rewritten : Effect::Permission;
  }
  const auto& expected = mapping.frames[page.page];
  if (!expected || *expected != arch::frame_of(is.output)) return Effect::OtherFrame;
  return is.permissions == mapping.permissions ? Effect::FilledIn : Effect::Permission;
}

Lifetimes::Open Lifetimes::make(const event::Event& event, model::MappingPage page, Effect effect) {
  Open open;
  open.page = page;
  open.effect = effect;
  open.scenario = scenario_;
  open.example = text_of(event);
  ++writes_;
  if ((event.flags & event::kUserMode) != 0) {
    open.path = paths_.of_pc(event.pc);
    open.cause = {Cause::UserStore, "a store of user mode"};
    return open;
  }
  const bool with_stack = stack_ && stack_->pc == event.pc && stack_->icount == event.icount;
  if (!with_stack) ++without_stack_;
  open.path = with_stack ? stack_path_ : paths_.of_pc(event.pc);
  open.cause = facts(open.path);
  return open;
}

bool Lifetimes::room() {
  if (open_count_ < kMostOpen) {
    ++open_count_;
    return true;
  }
  incomplete_ = true;
  return false;
}

void Lifetimes::on_write(const arch::AnyFormat& format, const event::Event& event,
                         const std::vector<model::MappingChange>& changes) {
  for (const model::MappingChange& change : changes) {
    Open open = make(event, change.page, effect_of(format, event, change.page, change.level));
    if (!room()) return;
    if (change.gva.value != 0) {
      open_[change.space].push_back(std::move(open));
    } else {
      auto [place, fresh] = unplaced_.try_emplace(event.gpa);
      if (fresh) {
        unplaced_slots_[arch::frame_of(Gpa{event.gpa}).number].insert(event.gpa);
      }
      place->second.push_back(std::move(open));
    }
  }
  if (!changes.empty()) return;
  // A page that nobody has looked at yet: only this slot tells that it is one.
  const auto unplaced = unplaced_.find(event.gpa);
  if (unplaced == unplaced_.end() || unplaced->second.empty()) return;
  const model::MappingPage page = unplaced->second.front().page;
  Open open = make(event, page, effect_of(format, event, page, 1));
  if (room()) unplaced->second.push_back(std::move(open));
}

void Lifetimes::on_table_removed(Frame frame) {
  const auto slots = unplaced_slots_.find(frame.number);
  if (slots == unplaced_slots_.end()) return;
  for (const std::uint64_t slot : slots->second) {
    const auto opens = unplaced_.find(slot);
    if (opens == unplaced_.end()) continue;
    for (Open& open : opens->second) close_unplaced(open);
    open_count_ -= opens->second.size();
    unplaced_.erase(opens);
  }
  unplaced_slots_.erase(slots);
}

void Lifetimes::close_unplaced(Open& open) {
  // No process was ever seen with it: it is how a page began in one that never ran.
  open.first = true;
  close(kNoSpace, open, Outcome::AtEnd);
}

void Lifetimes::place(const model::AddressSpace& space) {
  if (unplaced_.empty()) return;
  for (const model::Placement& placement : space.placements) {
    for (const model::PageRecord& record : placement.pages) {
      if (record.path_length == 0) continue;
      const auto found = unplaced_.find(record.path[record.path_length - 1].value);
      if (found == unplaced_.end()) continue;
      for (Open& open : found->second) {
        // What was written before anybody looked is how the page began here.
        open.first = true;
        open_[space.id].push_back(std::move(open));
      }
      unplaced_.erase(found);
    }
  }
}

void Lifetimes::on_look(const model::AddressSpace& space, const model::Look& look, bool entry) {
  place(space);
  const auto opens = open_.find(space.id);
  for (const model::PageTransition& transition : look.transitions) {
    if (!transition.baseline) continue;
    // There when the address space was seen first, and nobody wrote it since: fork copied it.
    const bool written = opens != open_.end() &&
                         std::any_of(opens->second.begin(), opens->second.end(),
                                     [&](const Open& one) { return one.page == transition.page; });
    if (!written) ++life_of(transition.page.mapping).copied;
  }
  if (opens != open_.end()) {
    for (Open& open : opens->second) {
      const auto transition = std::find_if(look.transitions.begin(), look.transitions.end(),
                                           [&](const auto& one) { return one.page == open.page; });
      const bool seen = transition != look.transitions.end();
      if (seen && transition->baseline) open.first = true;
      close(space.id, open, seen ? Outcome::Seen : Outcome::Undone);
    }
    open_count_ -= opens->second.size();
    open_.erase(opens);
  }
  for (const model::Placement& placement : space.placements) {
    const bool populated = std::any_of(placement.pages.begin(), placement.pages.end(),
                                       [](const auto& page) { return page.first.has_value(); });
    if (!populated || !entry) continue;
    report::MappingLife& life = life_of(placement.mapping);
    ++life.entries;
    if (showed_.emplace(space.id, placement.mapping).second) ++life.spaces;
  }
}

void Lifetimes::on_elsewhere(const model::AddressSpace& space, Gpa slot) {
  const auto found = unplaced_.find(slot.value);
  if (found == unplaced_.end()) return;
  for (Open& open : found->second) {
    if (open.effect == Effect::FilledIn) open.effect = Effect::Place;
    close(space.id, open, Outcome::Seen);
  }
  open_count_ -= found->second.size();
  unplaced_.erase(found);
}

void Lifetimes::on_content(const event::Event& write, const seal::Violation& violation) {
  close(violation.space, make(write, violation.page, Effect::Content), Outcome::Seen);
}

void Lifetimes::close(std::uint64_t space, const Open& open, Outcome outcome) {
  seal::CauseFacts cause = open.cause;
  if (space != kNoSpace) {
    const auto page = std::tuple(space, open.page.mapping, open.page.page);
    const auto remover = removers_.find(page);
    if (open.effect == Effect::Removed) {
      constexpr std::size_t kMostRemovers = 65'536;
      if (remover != removers_.end()) {
        remover->second = cause;
      } else if (removers_.size() < kMostRemovers) {
        removers_.emplace(page, cause);
      }
    } else if (remover != removers_.end()) {
      // The fault only does what the removal was for. Once: what becomes of the page from then on
      // is somebody else's doing.
      if (cause.cause == Cause::Fault && open.effect != Effect::FilledIn && !open.first) {
        cause = remover->second;
      }
      if (fills_in(open.effect)) removers_.erase(remover);
    }
  }
  const Key key{identities_.all()[open.page.mapping].name,
                open.effect,
                cause.cause,
                cause.by,
                open.path,
                open.first};
  auto found = groups_.find(key);
  if (found == groups_.end()) {
    if (groups_.size() >= kMostGroups) {
      incomplete_ = true;
      return;
    }
    found = groups_.emplace(key, Group{}).first;
    found->second.example = open.example;
  }
  Group& group = found->second;
  ++group.writes;
  ++group.scenarios[open.scenario];
  if (space != kNoSpace) group.spaces.insert(space);
  report::MappingLife& life = life_of(open.page.mapping);
  switch (outcome) {
    case Outcome::Seen:
      ++group.seen;
      break;
    case Outcome::Undone:
      ++group.undone;
      break;
    case Outcome::AtEnd:
      ++group.at_end;
      break;
  }
  if (open.effect == Effect::FilledIn) ++life.filled_in;
  if (open.effect == Effect::Removed && outcome == Outcome::AtEnd) {
    if (cause.cause == Cause::Exit) ++life.removed_at_exit;
    if (cause.cause == Cause::Exec) ++life.removed_at_exec;
  }
}

void Lifetimes::on_end(std::uint64_t space, const std::vector<model::Placement>& placements) {
  const auto opens = open_.find(space);
  if (opens != open_.end()) {
    for (const Open& open : opens->second) close(space, open, Outcome::AtEnd);
    open_count_ -= opens->second.size();
    open_.erase(opens);
  }
  for (const model::Placement& placement : placements) {
    report::MappingLife& life = life_of(placement.mapping);
    for (const model::PageRecord& page : placement.pages) {
      life.refaulted += page.refaults;
      if (!page.first) {
        ++life.pages_never;
        continue;
      }
      ++life.pages_populated;
      ++(page.now.end == arch::WalkEnd::Leaf ? life.pages_kept : life.pages_gone);
    }
    showed_.erase({space, placement.mapping});
    removers_.erase(removers_.lower_bound({space, 0, 0}), removers_.lower_bound({space + 1, 0, 0}));
  }
}

bool Lifetimes::takes(const seal::Violation& violation) {
  const std::string_view invariant = violation.invariant;
  return invariant >= "S1" && invariant <= "S6";
}

bool Lifetimes::in_life(Effect effect, Cause cause, bool first, const Group& group) {
  switch (effect) {
    case Effect::FilledIn:
    case Effect::Rewritten:
      return false;
    case Effect::Upper:
      // By itself nothing: it counts by what user mode saw of it.
      return group.seen != 0 && !seal::is_lifecycle(cause);
    case Effect::Removed:
      // The end of a process is one only if it does not run again.
      return !((cause == Cause::Exit || cause == Cause::Exec) && group.seen == 0);
    case Effect::OtherFrame:
    case Effect::Permission:
    case Effect::Place:
      // What a child has of its parent, and what a page shows the first time, is no change of it.
      // What a fork does to a page of the parent's is one.
      return !(first && (cause == Cause::Fork || cause == Cause::Fault));
    case Effect::Content:
      return true;
  }
  return true;
}

void Lifetimes::judge(report::Lifetime& result) const {
  for (report::MappingLife& life : result.mappings) {
    std::uint64_t unknown = 0;
    for (const report::LifeChange& change : result.changes) {
      if (change.mapping != life.mapping || !change.in_life) continue;
      if (change.cause == seal::name_of(Cause::Unknown)) unknown += change.writes;
      if (!change.by_kernel) continue;
      std::string by = fmt::format("{} ({})", change.cause, change.by);
      if (std::find(life.changed_by.begin(), life.changed_by.end(), by) == life.changed_by.end()) {
        life.changed_by.push_back(std::move(by));
      }
    }
    const std::string watched = report::watched_of(life);
    if (life.spaces == 0) {
      life.verdict = report::LifeVerdict::Unobserved;
      life.text = "user mode was never judged with a page of it";
    } else if (unknown != 0 || incomplete_) {
      life.verdict = report::LifeVerdict::NotKnown;
      life.text = unknown != 0 ? fmt::format("{} writes have no known cause", unknown)
                               : std::string("the watch was incomplete");
    } else if (!life.changed_by.empty()) {
      life.verdict = report::LifeVerdict::Changed;
      life.text =
          fmt::format("changed by {}; watched in {}", fmt::join(life.changed_by, ", "), watched);
    } else {
      life.verdict = report::LifeVerdict::NeverChanged;
      life.text = "never changed by the kernel itself in " + watched;
    }
  }
}

report::Lifetime Lifetimes::finish() {
  for (const auto& [space, opens] : std::exchange(open_, {})) {
    for (const Open& open : opens) close(space, open, Outcome::AtEnd);
  }
  for (auto& [slot, opens] : std::exchange(unplaced_, {})) {
    for (Open& open : opens) close_unplaced(open);
  }
  // One that no process ever showed is said to be unobserved, rather than not mentioned.
  for (std::size_t mapping = 0; mapping < identities_.all().size(); ++mapping) {
    (void)life_of(mapping);
  }
  report::Lifetime result;
  for (const auto& [key, group] : groups_) {
    const auto& [mapping, effect, cause, by, path, first] = key;
    report::LifeChange change;
    change.mapping = mapping;
    change.effect = effect;
    change.cause = seal::name_of(cause);
    change.by = by;
    change.path = paths_.path(path).functions;
    change.path_complete = paths_.path(path).complete;
    change.in_life = in_life(effect, cause, first, group);
    change.by_kernel = change.in_life && is_kernels(cause);
    change.writes = group.writes;
    change.seen = group.seen;
    change.undone = group.undone;
    change.at_end = group.at_end;
    change.spaces = group.spaces.size();
    change.scenarios = group.scenarios;
    change.example = group.example;
    result.changes.push_back(std::move(change));
  }
  for (auto& [name, life] : lives_) result.mappings.push_back(std::move(life));
  result.writes = writes_;
  result.without_stack = without_stack_;
  result.paths = paths_.size();
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    if (!paths_.path(i).complete) ++result.paths_incomplete;
  }
  judge(result);
  // What says most first: changes in life, then by how often.
  std::stable_sort(
      result.changes.begin(), result.changes.end(),
      [](const report::LifeChange& one, const report::LifeChange& other) {
        return std::tuple(!one.in_life, one.mapping, -static_cast<std::int64_t>(one.writes)) <
               std::tuple(!other.in_life, other.mapping, -static_cast<std::int64_t>(other.writes));
      });
  return result;
}

}  // namespace sealvisor::run
