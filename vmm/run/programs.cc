#include "vmm/run/programs.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "arch/describe.h"
#include "vmm/run/protocol_reader.h"

namespace sealvisor::run {

using arch::Frame;
using arch::Gva;
using arch::WalkEnd;
using report::Change;

namespace {

report::Program::Outcome outcome_of(protocol::ProgramOutcome outcome) {
  using Outcome = report::Program::Outcome;
  switch (outcome) {
    case protocol::ProgramOutcome::Exited:
      return Outcome::Exited;
    case protocol::ProgramOutcome::Killed:
      return Outcome::Killed;
    case protocol::ProgramOutcome::TooLong:
      return Outcome::TooLong;
    case protocol::ProgramOutcome::NotRun:
      return Outcome::NotRun;
    case protocol::ProgramOutcome::NotTraced:
      return Outcome::NotTraced;
  }
  return Outcome::CutOff;
}

/// How `now` differs from `first` for user mode; absent is not judged here. `copied`: it shows a
/// copy of the page.
Change change_between(const model::PageView& first, const model::PageView& now, bool copied) {
  switch (now.end) {
    case WalkEnd::Absent:
      return Change::Unchanged;
    case WalkEnd::NonPresent:
      return Change::PermissionChanged;
    case WalkEnd::Leaf:
      if (now.frame != first.frame) {
        return copied && now.permissions == first.permissions ? Change::Privatised
                                                              : Change::Replaced;
      }
      return now.permissions == first.permissions ? Change::Unchanged : Change::PermissionChanged;
    default:
      return Change::Gone;
  }
}

std::string text_of(const model::PageView& first, const model::PageView& now,
                    std::optional<std::uint32_t> copied) {
  if (now.end != WalkEnd::Leaf) return "an entry that is not present";
  if (now.frame != first.frame) {
    return fmt::format("frame {:#x} -> {:#x}{}", first.frame.gpa().value, now.frame.gpa().value,
                       copied ? fmt::format(", a copy but for {} bytes", *copied) : "");
  }
  return fmt::format("{} -> {}", arch::describe_permissions(first.permissions),
                     arch::describe_permissions(now.permissions));
}

/// What a write past the permissions of a mapping breaks: its page is a private copy from then on,
/// and no seal keeps that out.
bool by_force(const report::ProgramSpace& space, const report::ProgramViolation& violation) {
  if (violation.shared || (violation.invariant != "S2" && violation.invariant != "S5"))
    return false;
  return std::any_of(space.mappings.begin(), space.mappings.end(), [&](const auto& one) {
    return one.name == violation.mapping && one.change == Change::Privatised;
  });
}

/// The highest page that user mode reaches: a stack's, unless somebody put something above it.
struct Highest final : arch::Visitor {
  void leaf(const arch::LeafMapping& leaf) override {
    if (!leaf.permissions.read) return;
    gpa = arch::Gpa{leaf.gpa.value + leaf.size - arch::kPageSize};
  }
  std::optional<arch::Gpa> gpa;
};

}  // namespace

std::string Programs::begin(const protocol::ProgramBegin& message) {
  if (message.index != programs_.size() || message.index >= request_.programs.size() ||
      current_ != nullptr) {
    return fmt::format("the agent began program {}, expected {} of {}", message.index,
                       programs_.size(), request_.programs.size());
  }
  const ProgramRequest& asked = request_.programs[message.index];
  report::Program program;
  program.name = asked.name;
  program.command = {asked.run};
  program.command.insert(program.command.end(), asked.arguments.begin(), asked.arguments.end());
  program.traced = message.traced != 0;
  // Never more than there is room for: current_ points into it.
  programs_.reserve(request_.programs.size());
  programs_.push_back(std::move(program));
  current_ = &programs_.back();
  tracked_.clear();
  claims_.clear();
  joined_.clear();
  return "";
}

std::string Programs::end(const protocol::ProgramEnd& message) {
  if (current_ == nullptr || message.index + 1 != programs_.size()) {
    return fmt::format("the agent ended program {}, which does not run", message.index);
  }
  current_->outcome = outcome_of(message.outcome);
  current_->value = message.value;
  current_->left_running = message.left_running;
  current_->output_left_out += message.output_left_out;
  close_all();
  current_ = nullptr;
  return "";
}

void Programs::piece(protocol::Content content, std::string bytes) {
  if (current_ == nullptr) return;
  const bool output = content == protocol::Content::Output;
  std::string& text = output ? current_->output : current_->errors;
  // The agent keeps to the bound; one that does not is not believed.
  const std::size_t most = request_.programs[programs_.size() - 1].output_bytes;
  const std::size_t room = most - std::min<std::size_t>(most, text.size());
  if (bytes.size() > room) {
    current_->output_left_out += bytes.size() - room;
    bytes.resize(room);
  }
  text += bytes;
}

void Programs::process_mapping(std::uint64_t pid, const protocol::MappingClaim& claim) {
  // Of one process at a time, and then its Process message.
  if (claims_.size() >= 16) claims_.clear();
  auto& claims = claims_[static_cast<std::uint32_t>(pid)];
  if (claims.size() >= protocol::kMaxMappings) return;
  claims.push_back({run::text_of(claim.name), claim.start, claim.end, claim.sealed != 0});
}

report::ProgramProcess* Programs::process_of(std::uint32_t pid) {
  auto& all = current_->processes;
  // The last: numbers are given again.
  const auto found = std::find_if(all.rbegin(), all.rend(),
                                  [&](const auto& one) { return one.pid == pid && !one.status; });
  if (found != all.rend()) return &*found;
  if (all.size() >= kMostProcesses) return nullptr;
  all.emplace_back().pid = pid;
  return &all.back();
}

const report::ProgramProcess* Programs::last_with(std::uint32_t pid) const {
  const auto& all = current_->processes;
  const auto found =
      std::find_if(all.rbegin(), all.rend(), [&](const auto& one) { return one.pid == pid; });
  return found == all.rend() ? nullptr : &*found;
}

std::optional<Frame> Programs::process(const protocol::Process& message,
                                       const model::Spaces& spaces, bool isolated) {
  if (current_ == nullptr) return std::nullopt;
  auto claims = std::exchange(claims_[message.pid], {});
  claims_.erase(message.pid);
  report::ProgramProcess* const process = process_of(message.pid);
  if (process == nullptr) {
    if (message.event == protocol::ProcessEvent::Ended) ++current_->processes_left_out;
    return std::nullopt;
  }
  switch (message.event) {
    case protocol::ProcessEvent::Begun:
      process->parent = message.parent;
      return std::nullopt;
    case protocol::ProcessEvent::Ended:
      process->status = message.value;
      return std::nullopt;
    case protocol::ProcessEvent::Exec:
      process->image = run::text_of(message.name);
      process->bits = message.bits;
      process->first = std::move(claims);
      process->last.reset();
      break;
    case protocol::ProcessEvent::Exiting:
      process->last = std::move(claims);
      break;
  }
  if (message.marker_gpa == 0) return std::nullopt;
  std::vector<Frame> roots =
      spaces.roots_showing(Gva{message.marker_gva}, arch::frame_of(arch::Gpa{message.marker_gpa}));
  if (isolated && request_.arch == arch::Arch::X86_64) {
    // Each process has two, side by side. User mode runs on the second.
    for (Frame& root : roots) root.number |= 1;
    roots.erase(std::unique(roots.begin(), roots.end()), roots.end());
  }
  if (roots.size() != 1) return std::nullopt;
  join(message.pid, roots.front());
  if (message.event != protocol::ProcessEvent::Exiting) return std::nullopt;
  return roots.front();
}

void Programs::join(std::uint32_t pid, Frame root) {
  for (auto& [id, tracked] : tracked_) {
    if (tracked.root != root || tracked.space.ended) continue;
    auto& pids = tracked.space.pids;
    if (std::find(pids.begin(), pids.end(), pid) == pids.end()) pids.push_back(pid);
    return;
  }
  // Nobody ran there yet.
  if (joined_.size() >= kMostSpaces) joined_.clear();
  joined_[root] = {pid};
}

void Programs::touched(const model::AddressSpace& space) {
  if (current_ == nullptr) return;
  const auto found = tracked_.find(space.id);
  if (found == tracked_.end()) return;
  Tracked& tracked = found->second;
  tracked.space.touched = true;
  if (tracked.space.pids.empty()) return;
  const report::ProgramProcess* const process = last_with(tracked.space.pids.back());
  if (process == nullptr || !process->last) return;
  tracked.claimed = true;
  for (const model::Placement& placement : tracked.placements) {
    const std::string& name = identities_.all()[placement.mapping].name;
    const bool listed =
        std::any_of(process->last->begin(), process->last->end(), [&](const auto& one) {
          return one.start == placement.base.value && name.starts_with(one.name);
        });
    if (!listed) tracked.unlisted.insert(placement.mapping);
  }
}

std::string Programs::name_on_stack(const model::AddressSpace& space, const arch::AnyFormat& format,
                                    const arch::TableReader& tables) const {
  // fs/exec.c: the name is the first thing that exec puts on a stack, behind a null pointer.
  Highest highest;
  static_cast<void>(arch::visit(format, tables, space.root, arch::Half::Lower, highest,
                                {.scope = arch::Scope::UserHalf}));
  std::array<char, arch::kPageSize> page{};
  if (!highest.gpa || !memory_.read(*highest.gpa, std::as_writable_bytes(std::span(page)))) {
    return "";
  }
  const std::string_view text(page.data(), page.size());
  const std::size_t last = text.find_last_not_of('\0');
  if (last == std::string_view::npos) return "";
  const std::size_t before = text.rfind('\0', last);
  const std::size_t start = before == std::string_view::npos ? 0 : before + 1;
  std::string name(text.substr(start, last + 1 - start));
  const bool good =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  return good && name.size() < 256 ? name : "";
}

void Programs::agents(std::uint64_t space) {
  agents_.insert(space);
  // It may have run already. A violation that was found in it stays, whosesoever it is said to be.
  const auto found = tracked_.find(space);
  if (found != tracked_.end() && found->second.space.violations.empty()) tracked_.erase(found);
}

Programs::Tracked* Programs::track(const model::AddressSpace& space, const arch::AnyFormat& format,
                                   const arch::TableReader& tables) {
  if (agents_.contains(space.id)) return nullptr;
  const auto found = tracked_.find(space.id);
  if (found != tracked_.end()) return &found->second;
  if (space.placements.empty()) return nullptr;  // Not yet, or none of anybody's.
  if (tracked_.size() >= kMostSpaces) {
    ++current_->spaces_left_out;
    agents_.insert(space.id);  // It is counted once.
    return nullptr;
  }
  Tracked& tracked = tracked_[space.id];
  tracked.root = space.root;
  tracked.space.id = space.id;
  tracked.space.image = name_on_stack(space, format, tables);
  if (const auto joined = joined_.find(space.root); joined != joined_.end()) {
    tracked.space.pids = joined->second;
    joined_.erase(joined);
  }
  return &tracked;
}

void Programs::looked(const model::AddressSpace& space, const model::Look& look,
                      const arch::AnyFormat& format, const arch::TableReader& tables) {
  if (current_ == nullptr) return;
  Tracked* const tracked = track(space, format, tables);
  if (tracked == nullptr) return;
  ++tracked->space.user_entries;
  const bool differs = !look.transitions.empty() || !look.new_elsewhere.empty() ||
                       tracked->placements.size() != space.placements.size();
  if (differs) {
    tracked->placements = space.placements;
    tracked->elsewhere = space.elsewhere;
    take_transitions(*tracked, look, format);
  }
  // What was written and does not show was undone.
  tracked->pending.clear();
}

void Programs::take_transitions(Tracked& tracked, const model::Look& look,
                                const arch::AnyFormat& format) {
  const auto tell = [&](report::ProgramMapping& mapping, const Pending& pending) {
    if (mapping.changes.size() >= kMostChanges) {
      ++mapping.changes_left_out;
      return;
    }
    mapping.changes.push_back(
        narrator_.tell(format, identities_, pending.change, pending.code_root));
  };
  for (const model::PageTransition& transition : look.transitions) {
    const model::SystemMapping& identity = identities_.all()[transition.page.mapping];
    report::ProgramMapping& mapping = tracked.mappings[transition.page.mapping];
    model::PageView reference;
    const auto placed =
        std::find_if(tracked.placements.begin(), tracked.placements.end(),
                     [&](const auto& one) { return one.mapping == transition.page.mapping; });
    const bool has_first =
        placed != tracked.placements.end() && placed->pages[transition.page.page].first.has_value();
    if (has_first) reference = *placed->pages[transition.page.page].first;
    if (transition.baseline) {
      // Against what the first process had.
      reference.frame = identity.frames[transition.page.page].value_or(reference.frame);
      reference.permissions = identity.permissions;
    }
    const std::optional<std::uint32_t> copied =
        transition.after.end != WalkEnd::Leaf
            ? std::nullopt
            : seal::copied_bytes(identities_, transition.page, transition.after.frame, compare_);
    const Change change = change_between(reference, transition.after, copied.has_value());
    if (change > Change::Refaulted && change > mapping.change) {
      mapping.change = change;
      mapping.text = text_of(reference, transition.after, copied);
    }
    // A page that is there for the first time was put there, which is no change.
    if (transition.baseline && change <= Change::Refaulted) continue;
    for (const Pending& pending : tracked.pending) {
      if (pending.change.page == transition.page) tell(mapping, pending);
    }
  }
  for (const model::Elsewhere& elsewhere : look.new_elsewhere) {
    for (const Pending& pending : tracked.pending) {
      // Of a new place only the page is known when it is written.
      if (pending.change.page == elsewhere.page && pending.change.gva == Gva{0}) {
        Pending named = pending;
        named.change.gva = elsewhere.gva;
        tell(tracked.mappings[elsewhere.page.mapping], named);
      }
    }
  }
}

void Programs::changed(const model::MappingChange& change, Frame code_root) {
  const auto found = tracked_.find(change.space);
  if (found == tracked_.end()) return;
  if (found->second.pending.size() < 4 * kMostChanges) {
    found->second.pending.push_back({change, code_root});
  }
}

bool Programs::takes(const seal::Violation& violation) {
  if (current_ == nullptr || agents_.contains(violation.space)) return false;
  // Space 0: of what holds the code, which is in all of them.
  auto found = tracked_.find(violation.space);
  if (found == tracked_.end()) {
    if (violation.space != 0 || tracked_.empty()) return false;
    found = std::prev(tracked_.end());
  }
  report::ProgramSpace& space = found->second.space;
  if (space.violations.size() >= kMostViolations) {
    ++space.violations_left_out;
  } else {
    space.violations.push_back({violation.invariant, identities_.all()[violation.page.mapping].name,
                                violation.text, violation.space == 0});
  }
  return true;
}

void Programs::ended(std::uint64_t space) {
  agents_.erase(space);
  const auto found = tracked_.find(space);
  if (found == tracked_.end() || current_ == nullptr) return;
  // What is pending now is teardown.
  found->second.pending.clear();
  found->second.space.ended = true;
}

void Programs::close(Tracked& tracked) {
  for (const model::Placement& placement : tracked.placements) {
    const model::SystemMapping& identity = identities_.all()[placement.mapping];
    report::ProgramMapping& mapping = tracked.mappings[placement.mapping];
    mapping.name = identity.name;
    mapping.place = placement.base.value;
    mapping.pages = static_cast<std::uint32_t>(placement.pages.size());
    std::uint32_t gone = 0;
    bool refaulted = false;
    for (const model::PageRecord& page : placement.pages) {
      if (!page.first) continue;
      ++mapping.seen;
      refaulted = refaulted || page.refaults != 0;
      if (page.now.end != WalkEnd::Absent) continue;
      // Of data the kernel populates nothing for another process: there its list must do.
      const bool proven =
          tracked.space.touched &&
          (identity.code || (tracked.claimed && tracked.unlisted.contains(placement.mapping)));
      ++(proven ? gone : mapping.absent);
    }
    const auto elsewhere =
        std::find_if(tracked.elsewhere.begin(), tracked.elsewhere.end(),
                     [&](const auto& one) { return one.page.mapping == placement.mapping; });
    if (elsewhere != tracked.elsewhere.end()) {
      const bool left = gone + mapping.absent != 0;
      mapping.change = std::max(mapping.change, left ? Change::Moved : Change::Added);
      if (left) mapping.absent = 0;
      mapping.text = fmt::format("at {:#x} {}", elsewhere->gva.value,
                                 arch::describe_permissions(elsewhere->permissions));
    } else if (gone != 0 && mapping.change < Change::Gone) {
      mapping.change = Change::Gone;
      mapping.text = fmt::format("{} of {} pages", gone, mapping.seen);
    }
    if (mapping.change == Change::Unobserved && mapping.seen != 0) {
      mapping.change = refaulted ? Change::Refaulted : Change::Unchanged;
    }
  }
  // Placed once, and forgotten when its address space was.
  for (auto& [index, mapping] : tracked.mappings) {
    if (mapping.name.empty()) mapping.name = identities_.all()[index].name;
    tracked.space.mappings.push_back(std::move(mapping));
  }
  if (!tracked.space.pids.empty()) {
    const report::ProgramProcess* const process = last_with(tracked.space.pids.back());
    if (process != nullptr && !process->image.empty()) tracked.space.image = process->image;
  }
}

void Programs::close_all() {
  for (auto& [id, tracked] : tracked_) {
    close(tracked);
    current_->spaces.push_back(std::move(tracked.space));
  }
  tracked_.clear();
}

void Programs::add_findings(report::Run& run) const {
  const auto add = [&](const std::string& program, const std::string& mapping,
                       const std::string& invariant, const std::string& text) {
    std::string id = fmt::format("{}/{}/program/{}/{}/{}", arch::name_of(request_.arch),
                                 request_.recipe, program, mapping, invariant);
    const bool known = std::any_of(run.findings.begin(), run.findings.end(),
                                   [&](const auto& one) { return one.id == id; });
    if (!known) run.findings.push_back({std::move(id), invariant, text, false, ""});
  };
  const auto sealed = [&](const std::string& name) {
    if (request_.expectations) return request_.sealed;
    const auto index = identities_.named(name);
    return index && identities_.all()[*index].claims_sealed.value_or(false);
  };
  for (const report::Program& program : programs_) {
    for (const report::ProgramSpace& space : program.spaces) {
      for (const report::ProgramViolation& violation : space.violations) {
        // Code that all processes share must not change, sealed or not.
        const bool allowed = !sealed(violation.mapping) || by_force(space, violation);
        if (allowed && !violation.shared) continue;
        add(program.name, violation.mapping, violation.invariant, violation.text);
      }
      for (const report::ProgramMapping& mapping : space.mappings) {
        if (mapping.change != Change::Gone || !sealed(mapping.name)) continue;
        add(program.name, mapping.name, "S1",
            fmt::format("{} at {:#x} in {}: {}", mapping.name, mapping.place,
                        space.image.empty() ? "a process" : space.image,
                        "was populated, touched again, and is gone"));
      }
    }
    for (const report::ProgramProcess& process : program.processes) {
      for (const report::ProcessMapping& mapping : process.first) {
        const bool known = identities_.named(mapping.name).has_value();
        if (!known || !request_.expectations || mapping.sealed == request_.sealed) continue;
        add(program.name, mapping.name, "claim",
            fmt::format("smaps of {} shows {} {}, expected {}", process.image, mapping.name,
                        mapping.sealed ? "with sl" : "without sl",
                        request_.sealed ? "a seal" : "none"));
      }
    }
  }
}

void Programs::finish(report::Run& run) {
  if (current_ != nullptr) {
    close_all();
    current_ = nullptr;
  }
  const std::size_t begun = programs_.size();
  for (std::size_t i = begun; i < request_.programs.size(); ++i) {
    report::Program program;
    program.name = request_.programs[i].name;
    program.command = {request_.programs[i].run};
    programs_.push_back(std::move(program));
  }
  for (const report::Program& program : programs_) {
    if (!run.ending.good || program.outcome != report::Program::Outcome::CutOff) continue;
    run.findings.push_back({fmt::format("{}/{}/program/{}/monitor", arch::name_of(request_.arch),
                                        request_.recipe, program.name),
                            "monitor", "the agent never ran it, or never said how it ended", false,
                            ""});
  }
  add_findings(run);
  run.programs = std::move(programs_);
}

}  // namespace sealvisor::run
